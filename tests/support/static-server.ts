/** Files over HTTP, with ranges, and with what may go wrong on the way. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
};

/** What becomes of one response. */
export interface Fault {
  /** The connection ends behind so many bytes, or stays open without any more. */
  readonly cutAt?: number;
  readonly hangAt?: number;
  /** The byte at this place is another one. */
  readonly flip?: number;
}

export interface StaticServer {
  readonly url: string;
  /** Paths that were asked for, with their ranges. */
  readonly requests: { readonly path: string; readonly range: string | undefined }[];
  /** By path: what happens to the next responses, in order. */
  readonly faults: Map<string, Fault[]>;
  close(): void;
}

/** @param folders what lies below `/NAME/` */
export async function serveFolders(folders: Readonly<Record<string, string>>): Promise<StaticServer> {
  const requests: StaticServer["requests"] = [];
  const faults: StaticServer["faults"] = new Map();
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url!, "http://x").pathname));
    const { range } = request.headers;
    requests.push({ path, range });
    const [, name = "", ...rest] = path.split("/");
    const file = join(folders[name] ?? "/nowhere", ...rest);
    if (!existsSync(file) || !statSync(file).isFile()) return void response.writeHead(404).end();
    const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    send(response, file, from, faults.get(path)?.shift());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    faults,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function send(response: ServerResponse, file: string, from: number, { cutAt, hangAt, flip }: Fault = {}): void {
  const all = Uint8Array.from(readFileSync(file));
  if (flip !== undefined) all[flip]! ^= 1;
  const bytes = all.subarray(from);
  response.writeHead(from > 0 ? 206 : 200, {
    "content-type": TYPES[extname(file)] ?? "application/octet-stream",
    "content-length": bytes.length,
    "cache-control": "no-store",
    ...(from > 0 ? { "content-range": `bytes ${from}-${all.length - 1}/${all.length}` } : {}),
  });
  if (hangAt !== undefined) response.write(bytes.subarray(0, hangAt));
  else if (cutAt === undefined) response.end(bytes);
  else response.write(bytes.subarray(0, cutAt), () => setTimeout(() => response.destroy(), 200));
}

/** A module that runs in a page of Chromium, with its methods to call from here. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { build, stop } from "esbuild";
import { openChromium } from "../../tests/support/chromium.ts";

/** Calls of the methods of `globalThis.page`, arguments and results as JSON. */
export interface ChromiumPage<P> {
  call<X>(method: keyof P & string, ...args: readonly unknown[]): Promise<X>;
  close(): Promise<void>;
}

const TYPES: Readonly<Record<string, string>> = { ".html": "text/html", ".wasm": "application/wasm" };

/**
 * Bundles the module and opens it.
 * @param entry a module that sets `globalThis.page`
 * @param peer the folder with the packages of others; its node_modules are served below /peers
 */
export async function openChromiumPage<P>(entry: string, peer: string): Promise<ChromiumPage<P>> {
  const peerModules = resolve(peer, "node_modules");
  const folder = mkdtempSync(join(tmpdir(), "dskc-bench-"));
  await build({
    entryPoints: { page: entry },
    outdir: folder,
    bundle: true,
    splitting: true,
    format: "esm",
    nodePaths: [peerModules],
  });
  await stop();
  writeFileSync(join(folder, "index.html"), '<!doctype html><script type="module" src="/page.js"></script>');
  const server = createServer((request, response) => {
    const path = new URL(request.url!, "http://localhost").pathname;
    const file = path.startsWith("/peers/") ? join(peerModules, path.slice(7)) : join(folder, path);
    readFile(file).then(
      (bytes) => response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "text/javascript" }).end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const browser = await openChromium();
  const close = async (): Promise<void> => {
    await browser.close();
    server.close();
    rmSync(folder, { recursive: true });
  };
  try {
    const tab = await browser.context.newPage();
    tab.on("console", (message) => {
      if (message.type() === "error") process.stderr.write(`${message.text()}\n`);
    });
    await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/index.html`);
    await tab.waitForFunction("globalThis.page !== undefined");
    return {
      close,
      call: async <X>(method: keyof P & string, ...args: readonly unknown[]): Promise<X> =>
        (await tab.evaluate(
          ([name, given]) =>
            (globalThis as unknown as { page: Record<string, (...x: unknown[]) => unknown> }).page[name]!(...given),
          [method, args] as const,
        )) as X,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

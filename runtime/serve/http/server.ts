import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { Server, ServerResponse } from "node:http";
import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import type { Engine } from "../engine/engine.ts";
import { createApp } from "./app.ts";
import { Metrics } from "./metrics.ts";
import { readPage } from "./page.ts";
import type { Service } from "./service.ts";

export interface ServerOptions {
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  /** What requests call the model. */
  readonly model: string;
  readonly vocabulary: number;
  /** `127.0.0.1` */
  readonly host?: string;
  /** 8000; 0 for any that is free. */
  readonly port?: number;
  readonly apiKey?: string;
  readonly defaults?: Partial<Service["defaults"]>;
  /** False for a model that was not trained on conversations: the page offers to continue texts. */
  readonly talks?: boolean;
  /** The folder of the chat page; no page without it. */
  readonly page?: string;
  /** 4 MiB */
  readonly maxBody?: number;
  readonly origins?: readonly string[];
  /** Milliseconds that a request may take; no limit without it. */
  readonly timeout?: number;
}

export interface RunningServer {
  /** `http://127.0.0.1:8000` */
  readonly url: string;
  /**
   * Ends the server: new requests get 503, those that run go on for at most so many milliseconds, then they are aborted.
   * Resolves when everything is closed.
   */
  drain(milliseconds: number): Promise<void>;
}

/** Serves a model over HTTP. Resolves when it listens. @throws Error when the port cannot be had */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { engine, tokenizer, model, vocabulary, host = "127.0.0.1", port = 8000, timeout } = options;
  const service: Service = {
    engine,
    tokenizer,
    model,
    vocabulary,
    metrics: new Metrics(engine),
    created: Math.floor(Date.now() / 1000),
    talks: (options.talks ?? true) && tokenizer.chat !== undefined,
    defaults: { temperature: 1, topP: 1, topK: 0, ...options.defaults },
    active: new Set(),
    ...(timeout === undefined ? {} : { timeout }),
  };
  const app = createApp(service, {
    maxBody: options.maxBody ?? 4 * 2 ** 20,
    origins: options.origins ?? [],
    page: options.page === undefined ? new Map() : readPage(options.page),
    ...(options.apiKey === undefined ? {} : { apiKey: options.apiKey }),
  });
  const server = createAdaptorServer({ fetch: app.fetch }) as Server;
  server.keepAliveTimeout = KEPT;
  const responses = responsesOf(server);
  await listen(server, host, port);
  const { port: bound } = server.address() as AddressInfo;
  const name = host.includes(":") ? `[${host}]` : host;
  return { url: `http://${name}:${bound}`, drain: (milliseconds) => drain(server, responses, service, milliseconds) };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, 4096, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** For how long a connection without a request is kept, in milliseconds: longer than clients rest between two messages. */
const KEPT = 65_000;

/** For how long clients may read what was generated, in milliseconds. */
const READING = 5000;

async function drain(
  server: Server,
  responses: ReadonlySet<ServerResponse>,
  { engine, active }: Service,
  milliseconds: number,
): Promise<void> {
  const drained = engine.drain();
  const late = setTimeout(() => {
    for (const canceling of active) canceling.abort(new Error("the server is shutting down"));
  }, milliseconds);
  await drained;
  clearTimeout(late);
  // Closing a server cuts connections whose response has ended, even when the end is not sent yet.
  const end = performance.now() + READING;
  while (responses.size > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}

/** The responses that are on their way: until they were sent, or their connection was closed. */
function responsesOf(server: Server): ReadonlySet<ServerResponse> {
  const responses = new Set<ServerResponse>();
  server.on("request", (_, response: ServerResponse) => {
    responses.add(response);
    response.on("close", () => responses.delete(response));
  });
  return responses;
}

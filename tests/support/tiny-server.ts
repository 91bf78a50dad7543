import { resolve } from "node:path";
import type { Session } from "../../runtime/device/session.ts";
import { Engine } from "../../runtime/serve/engine/engine.ts";
import type { EngineOptions } from "../../runtime/serve/engine/options.ts";
import { type RunningServer, type ServerOptions, startServer } from "../../runtime/serve/http/server.ts";
import { tinyTokenizer } from "./tiny-tokenizer.ts";

export const TINY_MODEL = "tiny-v3";

export interface TinyServer extends RunningServer {
  readonly engine: Engine;
  readonly session: Session;
}

/** The tiny model behind real HTTP, on a port that is free. */
export async function startTiny(
  options: Partial<EngineOptions>,
  server: Partial<ServerOptions>,
  session: Session,
  reopen?: () => Promise<Session>,
): Promise<TinyServer> {
  const engine = new Engine(session, { pageSize: 8, ...options }, undefined, reopen);
  const running = await startServer({
    engine,
    tokenizer: tinyTokenizer(),
    model: TINY_MODEL,
    vocabulary: 160,
    port: 0,
    page: resolve(import.meta.dirname, "../../runtime/serve/page"),
    ...server,
  });
  return { ...running, engine, session };
}

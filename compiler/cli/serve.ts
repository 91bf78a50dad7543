/** `dskc serve FILE [NAME]`: serves a model over HTTP. */
import { join } from "node:path";
import type { Command } from "commander";
import { startServer } from "../../runtime/serve/http/server.ts";
import { installation } from "./installation.ts";
import { collect, examples, InputError, natural, positive, remark } from "./io.ts";
import { type EngineArguments, engineOptions, openEngine } from "./open-engine.ts";
import { StopSignal } from "./stop-signal.ts";

interface Options extends EngineArguments {
  readonly host?: string;
  readonly port?: number;
  readonly name?: string;
  readonly apiKey?: string;
  readonly origin: readonly string[];
  readonly timeout?: number;
  readonly drain: number;
}

export function register(command: Command): void {
  engineOptions(command.argument("<file>", "a spec").argument("[name]", "a serve section; the first one without this"))
    .option("--host <address>", "where it listens; what the section says without this")
    .option("--port <number>", "0 for any that is free", natural)
    .option("--name <name>", "what requests call the model; its name in the file without this")
    .option("--api-key <key>", "requests need this key; DSKC_API_KEY does the same")
    .option("--origin <url>", "pages of this origin may use the API too; can be repeated", collect, [])
    .option("--timeout <seconds>", "the longest that a request may take", positive)
    .option("--drain <seconds>", "how long answers go on after SIGTERM", positive, 30)
    .action(run);
  examples(
    command,
    ["dskc serve specs/quickstart.dsk", "on 127.0.0.1:8000, with a chat page"],
    ["dskc serve model.dsk --weights DIR --port 9000", "another checkpoint, another port"],
  );
}

async function run(file: string, section: string | undefined, options: Options): Promise<void> {
  const opened = await openEngine(file, section, options);
  if (opened === undefined) return;
  const { engine, session, plan, vocabulary } = opened;
  const model = options.name ?? opened.name;
  const apiKey = options.apiKey ?? process.env["DSKC_API_KEY"];
  const server = await startServer({
    engine,
    tokenizer: opened.tokenizer(),
    model,
    vocabulary,
    host: options.host ?? plan.host,
    port: options.port ?? plan.port,
    defaults: plan,
    talks: opened.talks,
    page: join(installation(), "runtime", "serve", "page"),
    origins: options.origin,
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout * 1000 }),
  }).catch((error: NodeJS.ErrnoException) => {
    session.close();
    throw error.syscall === "listen" || error.code === "ERR_SOCKET_BAD_PORT"
      ? new InputError(`cannot listen: ${error.message}`)
      : error;
  });
  remark(`${model} at ${server.url}: a page for people, the API of OpenAI at /v1, /health, /metrics`);
  const mebibytes = (session.cacheRows * session.cacheRowBytes) / 2 ** 20;
  const cache = `${session.cacheRows.toLocaleString("en-US")} tokens of cache (${mebibytes.toFixed(1)} MiB)`;
  remark(`context ${engine.options.context.toLocaleString("en-US")}, ${cache}`);
  const stop = new StopSignal(() => {
    const busy = engine.running + engine.waiting;
    if (busy > 0) remark(`${busy} answers are finished, for ${options.drain} s at most; a second signal ends them`);
  });
  await new Promise((resolve) => stop.signal.addEventListener("abort", resolve));
  await server.drain(options.drain * 1000);
  stop.close();
  session.close();
}

/** `dskc serve FILE [NAME]`: serves a model over HTTP. */
import type { Command } from "commander";
import { withoutUndefined } from "../../runtime/package/without-undefined.ts";
import { collect, examples, InputError, natural, positive, remark } from "./io.ts";
import { type ModelArguments, modelArguments, openForAnswers } from "./open-model.ts";
import { StopSignal } from "./stop-signal.ts";

interface Options extends ModelArguments {
  readonly host?: string;
  readonly port?: number;
  readonly name?: string;
  readonly apiKey?: string;
  readonly origin: readonly string[];
  readonly timeout?: number;
  readonly drain: number;
}

export function register(command: Command): void {
  modelArguments(command)
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
    ["dskc serve package", "a package with weights"],
  );
}

async function run(file: string, section: string | undefined, options: Options): Promise<void> {
  const model = await openForAnswers(file, section, options);
  if (model === undefined) return;
  if (model.tokenizer === undefined) throw new InputError("there is no tokenizer beside the weights: use --tokenizer");
  const { host, port, name, timeout, apiKey = process.env["DSKC_API_KEY"] } = options;
  const milliseconds = timeout === undefined ? undefined : timeout * 1000;
  const how = withoutUndefined({ host, port, name, apiKey, origins: options.origin, timeout: milliseconds });
  const server = await model.serve(how).catch(async (error: NodeJS.ErrnoException) => {
    await model.close();
    throw error.syscall === "listen" || error.code === "ERR_SOCKET_BAD_PORT"
      ? new InputError(`cannot listen: ${error.message}`)
      : error;
  });
  remark(`${name ?? model.name} at ${server.url}: a page for people, the API of OpenAI at /v1, /health, /metrics`);
  const { cacheRows, cacheBytes } = model.memory().serving!;
  const cache = `${cacheRows.toLocaleString("en-US")} tokens of cache (${(cacheBytes / 2 ** 20).toFixed(1)} MiB)`;
  remark(`context ${model.context.toLocaleString("en-US")}, ${cache}`);
  const stop = new StopSignal(() => {
    const busy = server.pending;
    if (busy > 0)
      remark(
        `finishing ${busy} ${busy === 1 ? "answer" : "answers"}, for ${options.drain} s at most; a second signal ends them`,
      );
  });
  await new Promise((resolve) => stop.signal.addEventListener("abort", resolve));
  await server.drain(options.drain * 1000);
  stop.close();
  await model.close();
}

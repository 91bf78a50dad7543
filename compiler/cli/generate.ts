/** `dskc generate FILE`: continues a text, answers a question, or continues rows of tokens. */
import { randomInt } from "node:crypto";
import type { Command } from "commander";
import type { GenerateOptions, Generation } from "../../runtime/package/answer.ts";
import type { Model } from "../../runtime/package/model.ts";
import { withoutUndefined } from "../../runtime/package/without-undefined.ts";
import {
  collect,
  examples,
  InputError,
  natural,
  number,
  positive,
  print,
  printJson,
  readSource,
  remark,
  UsageError,
} from "./io.ts";
import { answering, type ModelArguments, modelArguments, openForAnswers } from "./open-model.ts";
import { readRows } from "./rows-file.ts";
import { StopSignal } from "./stop-signal.ts";

interface Options extends ModelArguments {
  readonly prompt?: string;
  readonly chat?: boolean;
  readonly tokens?: string;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly seed?: number;
  readonly stop: readonly string[];
  readonly ignoreEos?: boolean;
  readonly json?: boolean;
}

export function register(command: Command): void {
  modelArguments(command)
    .option("--prompt <text>", "the text to continue; `-` for stdin")
    .option("--chat", "the prompt is a question: it goes through the chat template")
    .option("--tokens <file>", 'rows to continue: `{"tokens": [[...], ...]}`; prints the same form')
    .option("--max-tokens <n>", "the longest answer; as long as the context has room without this", positive)
    .option("--temperature <x>", "0 takes the likeliest token; what the section says without this", number(0))
    .option("--top-p <x>", "draw from the likeliest tokens that have this share", number(0, 1))
    .option("--top-k <n>", "draw from so many of the likeliest tokens; 0 for all", natural)
    .option("--min-p <x>", "drop tokens less likely than this times the likeliest", number(0, 1))
    .option("--seed <n>", "the same seed gives the same text", natural)
    .option("--stop <text>", "ends the answer; can be repeated", collect, [])
    .option("--ignore-eos", "go on behind the end of the text")
    .option("--json", "print one JSON document when the answer is complete")
    .action(run);
  examples(
    command,
    ['dskc generate specs/quickstart.dsk --prompt "Once upon a time"', "with the weights of its run"],
    ["dskc generate model.dsk --weights DIR --tokens rows.json --temperature 0", "tokens in, tokens out"],
    ['dskc generate package --prompt "Hello" --chat', "of a package with weights"],
  );
}

async function run(file: string, section: string | undefined, options: Options): Promise<void> {
  if ((options.prompt === undefined) === (options.tokens === undefined))
    throw new UsageError("give one of --prompt and --tokens");
  const model = await openForAnswers(file, section, options);
  if (model === undefined) return;
  const stop = new StopSignal(() => undefined);
  try {
    if (options.tokens !== undefined) await continueRows(model, options.tokens, options, stop.signal);
    else await continueText(model, options.prompt!, options, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    process.exitCode = stop.exitCode;
  } finally {
    stop.close();
    await model.close();
  }
}

/** Prints the text as it comes. */
async function continueText(model: Model, given: string, options: Options, signal: AbortSignal): Promise<void> {
  if (model.tokenizer === undefined) throw new InputError("there is no tokenizer beside the weights: use --tokenizer");
  const prompt = given === "-" ? readSource("-").text : given;
  const how = { ...sampling(options), signal };
  const answer = options.chat
    ? model.chat([{ role: "user", content: prompt }], how)
    : model.generate(prompt, { ...how, logprobs: options.json ?? false });
  const started = performance.now();
  let first = started;
  const tokens: { readonly token: number; readonly text: string; readonly logprob?: number }[] = [];
  await answering(async () => {
    for await (const { token, text, logprob } of answer) {
      if (tokens.length === 0) first = performance.now();
      tokens.push({ token, text, ...(logprob === undefined ? {} : { logprob }) });
      if (options.json !== true) process.stdout.write(text);
    }
  });
  const seconds = { first: (first - started) / 1000, all: (performance.now() - started) / 1000 };
  const rate = tokens.length > 1 ? (tokens.length - 1) / (seconds.all - seconds.first) : undefined;
  const { reason, promptTokens, generatedTokens } = answer.end!;
  if (options.json) {
    const text = tokens.map((token) => token.text).join("");
    const speed = rate === undefined ? {} : { tokensPerSecond: rate };
    return printJson({ prompt, text, tokens, reason, promptTokens, generatedTokens, seconds, ...speed });
  }
  process.stdout.write("\n");
  const speed = rate === undefined ? "" : `, ${rate.toFixed(1)} tokens/s`;
  const { draftedTokens: guesses = 0, acceptedTokens: right = 0 } = model.counts ?? {};
  const guessed = guesses > 0 ? `, ${Math.round((100 * right) / guesses)} % of ${guesses} guesses right` : "";
  remark(
    `${promptTokens} + ${generatedTokens} tokens, the first after ${seconds.first.toFixed(2)} s${speed}${guessed}`,
  );
}

/** All rows at the same time. */
async function continueRows(model: Model, path: string, options: Options, signal: AbortSignal): Promise<void> {
  const rows = readRows(path, model.vocabulary);
  const answers = rows.map((row): Generation => model.generate(row, { ...sampling(options), ignoreEos: true, signal }));
  print(JSON.stringify({ tokens: await answering(() => Promise.all(answers.map((answer) => answer.tokens()))) }));
}

function sampling({ maxTokens, temperature, topP, topK, minP, seed, stop, ignoreEos }: Options): GenerateOptions {
  const drawn = seed ?? randomInt(2 ** 47);
  return withoutUndefined({ maxTokens, temperature, topP, topK, minP, seed: drawn, stop, ignoreEos });
}

/** `dskc generate FILE`: continues a text, answers a question, or continues rows of tokens. */
import { randomInt } from "node:crypto";
import type { Command } from "commander";
import type { Tokenizer } from "../../runtime/data/tokenizer/tokenizer.ts";
import { ContextError, type EngineRequest } from "../../runtime/serve/engine/request.ts";
import type { Sampling } from "../../runtime/serve/sampling/sampling.ts";
import { generateTexts } from "../../runtime/serve/text/generate.ts";
import {
  collect,
  examples,
  InputError,
  natural,
  number,
  positive,
  print,
  readSource,
  remark,
  UsageError,
} from "./io.ts";
import { type EngineArguments, engineOptions, type OpenedEngine, openEngine } from "./open-engine.ts";
import { readRows } from "./rows-file.ts";
import { StopSignal } from "./stop-signal.ts";

interface Options extends EngineArguments {
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
}

export function register(command: Command): void {
  engineOptions(command.argument("<file>", "a spec").argument("[name]", "a serve section; the first one without this"))
    .option("--prompt <text>", "the text to continue; `-` for stdin")
    .option("--chat", "the prompt is a question: it goes through the chat template")
    .option("--tokens <file>", 'rows to continue: `{"tokens": [[...], ...]}`; prints the same form')
    .option("--max-tokens <n>", "the longest answer; as long as the context has room without this", positive)
    .option("--temperature <x>", "0 takes the likeliest token; what the section says without this", number(0))
    .option("--top-p <x>", "draw from the likeliest tokens that have this share", number(0, 1))
    .option("--top-k <n>", "draw from so many of the likeliest tokens; 0 for all", natural)
    .option("--min-p <x>", "drop tokens less likely than this times the likeliest", number(0, 1), 0)
    .option("--seed <n>", "the same seed gives the same text", natural)
    .option("--stop <text>", "ends the answer; can be repeated", collect, [])
    .option("--ignore-eos", "go on behind the end of the text")
    .action(run);
  examples(
    command,
    ['dskc generate specs/quickstart.dsk --prompt "Once upon a time"', "with the weights of its run"],
    ["dskc generate model.dsk --weights DIR --tokens rows.json --temperature 0", "tokens in, tokens out"],
  );
}

async function run(file: string, section: string | undefined, options: Options): Promise<void> {
  if ((options.prompt === undefined) === (options.tokens === undefined))
    throw new UsageError("give one of --prompt and --tokens");
  const opened = await openEngine(file, section, options);
  if (opened === undefined) return;
  const stop = new StopSignal(() => undefined);
  try {
    if (options.tokens !== undefined) await continueRows(opened, options.tokens, options, stop.signal);
    else await continueText(opened, options.prompt!, options, stop.signal);
  } catch (error) {
    if (stop.signal.aborted) process.exitCode = stop.exitCode;
    else throw error instanceof ContextError ? new InputError(error.message) : error;
  } finally {
    stop.close();
    opened.session.close();
  }
}

/** Prints the text as it comes. */
async function continueText(opened: OpenedEngine, given: string, options: Options, signal: AbortSignal): Promise<void> {
  const tokenizer = opened.tokenizer();
  const text = given === "-" ? readSource("-").text : given;
  const prompt = options.chat ? question(tokenizer, text) : [...beginning(tokenizer), ...tokenizer.encode(text)];
  const request = { ...requestOf(opened, prompt, options, tokenizer.eos), signal, stops: options.stop };
  const started = performance.now();
  let first = started;
  let tokens = 0;
  const [result] = generateTexts(opened.engine, tokenizer, [
    {
      ...request,
      onPiece: (piece) => void process.stdout.write(piece.text),
      onToken: () => {
        if (tokens++ === 0) first = performance.now();
      },
    },
  ]);
  await result;
  process.stdout.write("\n");
  const rate = tokens > 1 ? `, ${((tokens - 1) / ((performance.now() - first) / 1000)).toFixed(1)} tokens/s` : "";
  const { draftedTokens: guesses, acceptedTokens: right } = opened.engine.counts;
  const guessed = guesses > 0 ? `, ${Math.round((100 * right) / guesses)} % of ${guesses} guesses right` : "";
  remark(
    `${prompt.length} + ${tokens} tokens, the first after ${((first - started) / 1000).toFixed(2)} s${rate}${guessed}`,
  );
}

/** What documents begin with. */
function beginning({ bos }: Tokenizer): number[] {
  return bos === undefined ? [] : [bos];
}

function question(tokenizer: Tokenizer, content: string): number[] {
  if (tokenizer.chat === undefined) throw new InputError("the tokenizer has no chat template: leave out --chat");
  const messages = [{ role: "user", content }];
  return tokenizer.encodeWithSpecials(tokenizer.chat.render(messages, { addGenerationPrompt: true }));
}

/** All rows at the same time. */
async function continueRows(opened: OpenedEngine, path: string, options: Options, signal: AbortSignal): Promise<void> {
  const rows = readRows(path, opened.vocabulary);
  const answers = rows.map((): number[] => []);
  const requests = rows.map((prompt, i): EngineRequest => {
    const onToken: EngineRequest["onToken"] = ({ token }) => answers[i]!.push(token) < 0;
    return { ...requestOf(opened, prompt, options, undefined), signal, onToken };
  });
  await Promise.all(opened.engine.submit(requests));
  print(JSON.stringify({ tokens: answers }));
}

function requestOf(
  { plan, engine, vocabulary }: OpenedEngine,
  prompt: readonly number[],
  options: Options,
  eos: number | undefined,
): Omit<EngineRequest, "onToken"> {
  const room = engine.options.context - prompt.length;
  const sampling: Sampling = {
    temperature: options.temperature ?? plan.temperature,
    topP: options.topP ?? plan.topP,
    topK: options.topK ?? plan.topK,
    minP: options.minP ?? 0,
    frequencyPenalty: 0,
    presencePenalty: 0,
    repetitionPenalty: 1,
    logitBias: new Map(),
    seed: options.seed ?? randomInt(2 ** 47),
    choice: 0,
  };
  const ends = eos === undefined || options.ignoreEos || eos >= vocabulary ? [] : [eos];
  return { prompt, maxTokens: options.maxTokens ?? room, sampling, stopTokens: new Set(ends) };
}

/** Answers of a model, token by token. */
import type { Tokenizer } from "../data/tokenizer/tokenizer.ts";
import type { Engine } from "../serve/engine/engine.ts";
import type { EngineRequest } from "../serve/engine/request.ts";
import { Outbox } from "../serve/outbox.ts";
import type { ServePlan } from "../serve/plan.ts";
import type { Sampling } from "../serve/sampling/sampling.ts";
import { type GeneratedToken, TokenTexts } from "../serve/text/token-texts.ts";
import { answerOf, type GenerateOptions, type Generation, type GenerationEnd } from "./answer.ts";
import { ModelError } from "./model-error.ts";

/** What an answer is made with. */
export interface Generator {
  readonly engine: Engine;
  readonly plan: ServePlan;
  readonly tokenizer: Tokenizer | undefined;
  /** Token numbers are below it. */
  readonly vocabulary: number;
}

/**
 * @param open what it is made with, asked when the answer is read
 * @param promptOf the prompt, for the tokenizer of the generator
 */
export function generation(
  open: () => Promise<Generator>,
  promptOf: (generator: Generator) => readonly number[],
  options: GenerateOptions,
): Generation {
  return answerOf(() => generated(open, promptOf, options));
}

async function* generated(
  open: () => Promise<Generator>,
  promptOf: (generator: Generator) => readonly number[],
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, GenerationEnd, undefined> {
  const generator = await open();
  const prompt = promptOf(generator);
  const left = new AbortController();
  const { signal } = options;
  const request = requestOf(generator, prompt, options);
  const texts = new TokenTexts(generator.tokenizer, stopsOf(options));
  const outbox = new Outbox<GeneratedToken>();
  let [generatedTokens, stopped] = [0, false];
  const onToken: EngineRequest["onToken"] = (sampled) => {
    generatedTokens++;
    if (request.stopTokens.has(sampled.token)) return true;
    const given = texts.push(sampled);
    for (const token of given.ready) outbox.put(token);
    stopped = given.stopped;
    return stopped;
  };
  const canceled = signal === undefined ? left.signal : AbortSignal.any([left.signal, signal]);
  const [result] = generator.engine.submit([{ ...request, signal: canceled, onToken }]);
  const finished = result!.finally(() => {
    if (!stopped) for (const token of texts.end()) outbox.put(token);
    outbox.end();
  });
  // Who stops reading is told nothing of the end.
  finished.catch(() => undefined);
  try {
    for await (const tokens of outbox) yield* tokens;
    return { ...(await finished), promptTokens: prompt.length, generatedTokens };
  } finally {
    left.abort(new Error("nobody reads the answer"));
  }
}

function requestOf(
  { engine, plan, tokenizer, vocabulary }: Generator,
  prompt: readonly number[],
  options: GenerateOptions,
): Omit<EngineRequest, "onToken" | "signal"> {
  checkTokens("the prompt", prompt, vocabulary);
  checkOptions(options, vocabulary);
  const room = Math.max(1, engine.options.context - prompt.length);
  const { logprobs = false } = options;
  const alternatives = logprobs === false ? undefined : logprobs === true ? 0 : logprobs;
  const sampling: Sampling = {
    temperature: options.temperature ?? plan.temperature,
    topP: options.topP ?? plan.topP,
    topK: options.topK ?? plan.topK,
    minP: options.minP ?? 0,
    frequencyPenalty: options.frequencyPenalty ?? 0,
    presencePenalty: options.presencePenalty ?? 0,
    repetitionPenalty: options.repetitionPenalty ?? 1,
    logitBias: new Map(Object.entries(options.logitBias ?? {}).map(([token, bias]) => [Number(token), bias])),
    seed: options.seed ?? randomSeed(),
    choice: 0,
    ...(alternatives === undefined ? {} : { alternatives }),
  };
  const eos = tokenizer?.eos;
  const ends = eos === undefined || options.ignoreEos === true ? [] : [eos];
  const stopTokens = new Set([...ends, ...(options.stopTokens ?? [])]);
  return { prompt, maxTokens: options.maxTokens ?? room, sampling, stopTokens };
}

function randomSeed(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high! % 2 ** 15) * 2 ** 32 + low!;
}

function stopsOf({ stop = [] }: GenerateOptions): readonly string[] {
  return typeof stop === "string" ? [stop] : stop;
}

/** @throws ModelError when there are none, and for one that the model does not have */
export function checkTokens(what: string, tokens: readonly number[], vocabulary: number): void {
  if (tokens.length === 0) throw new ModelError(`${what} is empty`);
  const stranger = tokens.find((token) => !Number.isSafeInteger(token) || token < 0 || token >= vocabulary);
  if (stranger !== undefined)
    throw new ModelError(`${what} has the token ${stranger}; the model has tokens 0 to ${vocabulary - 1}`);
}

type Bounds = readonly [least: number, most: number, whole?: "whole"];

/** What numbers may be. */
const BOUNDS = {
  maxTokens: [1, Infinity, "whole"],
  temperature: [0, 1e6],
  topP: [0, 1],
  topK: [0, Infinity, "whole"],
  minP: [0, 1],
  frequencyPenalty: [-1e6, 1e6],
  presencePenalty: [-1e6, 1e6],
  repetitionPenalty: [1e-6, 1e6],
  seed: [0, Number.MAX_SAFE_INTEGER, "whole"],
} as const satisfies Partial<Record<keyof GenerateOptions, Bounds>>;

/** @throws ModelError that names the option */
function checkOptions(options: GenerateOptions, vocabulary: number): void {
  for (const [name, [least, most, whole]] of Object.entries<Bounds>(BOUNDS)) {
    const value = options[name as keyof typeof BOUNDS];
    if (value === undefined) continue;
    if (value >= least && value <= most && (whole === undefined || Number.isSafeInteger(value))) continue;
    const kind = whole === undefined ? "a number" : "a whole number";
    const bounds = most === Infinity ? `from ${least} on` : `from ${least} to ${most}`;
    throw new ModelError(`\`${name}\` is ${String(value)}, not ${kind} ${bounds}`);
  }
  const biased = Object.keys(options.logitBias ?? {}).map(Number);
  if (biased.length > 0) checkTokens("`logitBias`", biased, vocabulary);
}

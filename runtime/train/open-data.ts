/** The data of a training and the tokenizer that it is read with. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { DataError } from "../data/data-error.ts";
import { type Data, openData } from "../data/data.ts";
import { learnTokenizer } from "../data/learn-tokenizer.ts";
import type { Progress } from "../data/prepare.ts";
import { loadTokenizer, saveTokenizer, TOKENIZER_FILES } from "../data/tokenizer/load.ts";
import { LEAST_VOCABULARY } from "../data/tokenizer/new-tokenizer.ts";
import type { Tokenizer } from "../data/tokenizer/tokenizer.ts";
import { replaceFile } from "../io/replace-file.ts";
import type { TrainingPlan } from "./plan.ts";
import { RunFolder } from "./run-folder.ts";

export interface TrainingDataOptions {
  /** What globs are relative to. */
  readonly root: string;
  /** The run's folder. It keeps the tokenizer. */
  readonly run: string;
  /** A folder with tokenizer.json; without it one is learned from the data. */
  readonly tokenizer?: string | undefined;
  /** The folder of tokenized data; `.data` beside the run when not given. */
  readonly cache?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told what a user should know: what is learned, how much data there are. */
  readonly remark: (text: string) => void;
}

/** Milliseconds between two remarks about the progress. */
const EVERY = 3000;

/**
 * Finds the tokenizer of a training and opens its data, which may mean to tokenize it.
 * @throws DataError for files that cannot be used; the signal's reason
 */
export async function openTrainingData(
  plan: TrainingPlan,
  vocabulary: number,
  options: TrainingDataOptions,
): Promise<Data> {
  const { root, run, signal, remark, cache = join(dirname(resolve(run)), ".data") } = options;
  const tokenizer = await tokenizerOf(plan, vocabulary, options);
  const { data: source, length, seed } = plan;
  const read = { root, cache, tokenizer, vocabulary, length, seed, progress: progressOn(remark) };
  const data = await openData(source, { ...read, ...(signal === undefined ? {} : { signal }) });
  for (const text of data.remarks) remark(text);
  const count = (tokens: number): string => tokens.toLocaleString("en-US");
  remark(`data: ${count(data.train.tokens)} tokens, ${count(data.valid.tokens)} more are held out`);
  return data;
}

/** The tokenizer of the run, the one that was named, or one that is learned. */
async function tokenizerOf(
  { data }: TrainingPlan,
  vocabulary: number,
  { root, run, tokenizer, signal, remark }: TrainingDataOptions,
): Promise<Tokenizer> {
  if (new RunFolder(run).isBegun) return load(run);
  if (tokenizer !== undefined) {
    const found = load(tokenizer);
    for (const name of TOKENIZER_FILES) {
      const from = join(tokenizer, name);
      if (existsSync(from)) replaceFile(join(run, name), readFileSync(from, "utf8"));
    }
    return found;
  }
  if (vocabulary < LEAST_VOCABULARY)
    throw new DataError([
      `a tokenizer of ${vocabulary} tokens cannot be learned: bytes and marks alone are ${LEAST_VOCABULARY}; name one`,
    ]);
  remark(`a tokenizer of ${vocabulary.toLocaleString("en-US")} tokens is learned from the data`);
  const how = { root, size: vocabulary, progress: progressOn(remark) };
  saveTokenizer(run, await learnTokenizer(data, { ...how, ...(signal === undefined ? {} : { signal }) }));
  return load(run);
}

function load(folder: string): Tokenizer {
  try {
    return loadTokenizer(folder);
  } catch (error) {
    throw new DataError([(error as Error).message]);
  }
}

function progressOn(remark: (text: string) => void): (progress: Progress) => void {
  let last = performance.now();
  return ({ file, doneBytes, totalBytes }) => {
    if (performance.now() - last < EVERY) return;
    last = performance.now();
    remark(`reads ${file} (${Math.floor((100 * doneBytes) / totalBytes)} %)`);
  };
}

/** The data of a training and the tokenizer that it is read with. */
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { type Data, openData } from "../../runtime/data/data.ts";
import type { Progress } from "../../runtime/data/prepare.ts";
import { learnTokenizer } from "../../runtime/data/learn-tokenizer.ts";
import { loadTokenizer, saveTokenizer } from "../../runtime/data/tokenizer/load.ts";
import { LEAST_VOCABULARY } from "../../runtime/data/tokenizer/new-tokenizer.ts";
import type { Tokenizer } from "../../runtime/data/tokenizer/tokenizer.ts";
import { replaceFile } from "../../runtime/io/replace-file.ts";
import type { TrainingPlan } from "../../runtime/train/plan.ts";
import { RunFolder } from "../../runtime/train/run-folder.ts";
import { InputError, readSource, remark } from "./io.ts";

export interface TrainDataOptions {
  /** The path of the spec: what globs are relative to. */
  readonly spec: string;
  /** The run's folder. It keeps spec and tokenizer. */
  readonly run: string;
  /** A folder with tokenizer.json; without it one is learned from the data. */
  readonly tokenizer?: string;
  /** The folder of tokenized data; `.data` beside the run when not given. */
  readonly cache?: string;
  readonly signal: AbortSignal;
}

/** Milliseconds between two remarks about the progress. */
const EVERY = 3000;

/**
 * Finds the tokenizer of a training and opens its data, which may mean to tokenize it.
 * @throws DataError, InputError for files that cannot be used; the signal's reason
 */
export async function trainData(plan: TrainingPlan, vocabulary: number, options: TrainDataOptions): Promise<Data> {
  const { spec, run, signal, cache = join(dirname(resolve(run)), ".data") } = options;
  const root = dirname(resolve(spec));
  replaceFile(join(run, basename(spec)), readSource(spec).text);
  const tokenizer = await tokenizerOf(plan, vocabulary, root, options);
  const { data: source, length, seed } = plan;
  const read = { root, cache, tokenizer, vocabulary, length, seed, signal, progress: progress() };
  const data = await openData(source, read);
  for (const text of data.remarks) remark(text);
  const count = (tokens: number): string => tokens.toLocaleString("en-US");
  remark(`data: ${count(data.train.tokens)} tokens, ${count(data.valid.tokens)} more are held out`);
  return data;
}

/** The tokenizer of the run, the one that was named, or one that is learned. */
async function tokenizerOf(
  { data }: TrainingPlan,
  vocabulary: number,
  root: string,
  { run, tokenizer, signal }: TrainDataOptions,
): Promise<Tokenizer> {
  if (new RunFolder(run).isBegun) return load(run);
  if (tokenizer !== undefined) {
    const found = load(tokenizer);
    for (const name of ["tokenizer_config.json", "chat_template.jinja", "tokenizer.json"]) {
      const from = join(tokenizer, name);
      if (existsSync(from)) replaceFile(join(run, name), readSource(from).text);
    }
    return found;
  }
  if (vocabulary < LEAST_VOCABULARY)
    throw new InputError(
      `a tokenizer of ${vocabulary} tokens cannot be learned: bytes and marks alone are ${LEAST_VOCABULARY}; name one with --tokenizer`,
    );
  remark(`a tokenizer of ${vocabulary.toLocaleString("en-US")} tokens is learned from the data`);
  saveTokenizer(run, await learnTokenizer(data, { root, size: vocabulary, signal, progress: progress() }));
  return load(run);
}

function load(folder: string): Tokenizer {
  try {
    return loadTokenizer(folder);
  } catch (error) {
    throw new InputError((error as Error).message);
  }
}

function progress(): (progress: Progress) => void {
  let last = performance.now();
  return ({ file, doneBytes, totalBytes }) => {
    if (performance.now() - last < EVERY) return;
    last = performance.now();
    remark(`reads ${file} (${Math.floor((100 * doneBytes) / totalBytes)} %)`);
  };
}

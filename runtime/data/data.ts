import type { Sequence } from "./batch.ts";
import type { SequenceStream, StreamState } from "./stream.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

export interface DataOptions {
  /** What globs are relative to: the folder of the `.dsk` file. */
  readonly root: string;
  readonly tokenizer: Tokenizer;
  /** Tokens of a sequence. */
  readonly length: number;
  /** Where order and infilling start. */
  readonly seed: number;
  /** The folder of tokenized documents; it may be shared by trainings. */
  readonly cache: string;
  /** The share of documents that are held out, by their hash: 0.01 when not given. */
  readonly valid?: number;
  /** Called now and then while files are tokenized. */
  readonly progress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export interface Progress {
  readonly file: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface Amounts {
  readonly documents: number;
  readonly tokens: number;
}

/** The tokenized data of a training. */
export interface Data {
  readonly train: Amounts;
  readonly valid: Amounts;
  /** Things that a user should know: conversations that were cut, empty files. */
  readonly remarks: readonly string[];
  /**
   * Training sequences.
   * @param lookAhead how many tokens ahead the model predicts beside the next one
   * @param epochs where the stream ends; without end when not given
   * @throws Error when the state is of other data
   */
  stream(options: {
    readonly lookAhead: number;
    readonly epochs?: number;
    readonly state?: StreamState;
  }): SequenceStream;
  /** Held-out sequences, always the same ones in the same order, up to about `tokens` tokens. */
  validation(options: { readonly lookAhead: number; readonly tokens?: number }): Sequence[];
  close(): void;
}

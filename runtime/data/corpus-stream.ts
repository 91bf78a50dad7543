import type { Sequence } from "./batch.ts";
import type { Documents } from "./documents.ts";
import { bestFit } from "./pack.ts";
import { permutation } from "./permutation.ts";
import { Pieces } from "./pieces.ts";
import type { StreamState } from "./stream.ts";

export interface CorpusStreamOptions {
  readonly documents: Documents;
  /** Tokens of a sequence. */
  readonly length: number;
  readonly pack: boolean;
  /** What the order depends on: the seed and the number of the corpus. */
  readonly key: readonly number[];
  /** Tokens behind a piece that are predicted from it. */
  readonly ahead: number;
}

/** Sequences that the pieces of a window fill, about: packing wastes a part of one of them. */
const SEQUENCES_OF_WINDOW = 64;
const [LEAST_WINDOW, LARGEST_WINDOW] = [256, 65_536];

/**
 * The sequences of one corpus, pass after pass without end. Pieces come in an order of its own in every pass; what is packed
 * together comes from a window of them, which is worked out anew after a stop.
 */
export class CorpusStream {
  readonly #options: CorpusStreamOptions;
  readonly #pieces: Pieces;
  readonly #window: number;
  #epoch: number;
  /** The current window, and which of its sequences comes next. */
  #number: number;
  #next: number;
  #tokens: number;
  /** Pieces by sequence of the current window. */
  #sequences: readonly (readonly number[])[] | undefined;

  constructor(options: CorpusStreamOptions, state?: StreamState["parts"][number]) {
    const { documents, length } = options;
    this.#options = options;
    this.#pieces = new Pieces(documents, length);
    const mean = documents.tokens / this.#pieces.count;
    const wanted = Math.ceil((SEQUENCES_OF_WINDOW * length) / mean);
    this.#window = Math.min(LARGEST_WINDOW, Math.max(LEAST_WINDOW, wanted));
    this.#epoch = state?.epoch ?? 0;
    this.#number = state?.window ?? 0;
    this.#next = state?.sequence ?? 0;
    this.#tokens = state?.tokens ?? 0;
  }

  get state(): StreamState["parts"][number] {
    return { epoch: this.#epoch, window: this.#number, sequence: this.#next, tokens: this.#tokens };
  }

  /** Tokens that were given, over all passes. */
  get tokens(): number {
    return this.#tokens;
  }

  next(): Sequence {
    const sequences = (this.#sequences ??= this.#pack());
    const sequence = sequences[this.#next]!.map((piece) => this.#pieces.read(piece, this.#options.ahead));
    for (const { length } of sequence) this.#tokens += length;
    if (++this.#next === sequences.length) this.#advance();
    return sequence;
  }

  #advance(): void {
    this.#sequences = undefined;
    this.#next = 0;
    if (++this.#number * this.#window < this.#pieces.count) return;
    this.#number = 0;
    this.#epoch++;
  }

  /** The sequences of the current window. */
  #pack(): number[][] {
    const { key, length, pack } = this.#options;
    const order = permutation(this.#pieces.count, [...key, this.#epoch]);
    const start = this.#number * this.#window;
    const count = Math.min(this.#window, this.#pieces.count - start);
    const window = Array.from({ length: count }, (_, i) => order(start + i));
    if (!pack) return window.map((piece) => [piece]);
    const lengths = window.map((piece) => this.#pieces.lengthOf(piece));
    return bestFit(lengths, length).map((sequence) => sequence.map((i) => window[i]!));
  }
}

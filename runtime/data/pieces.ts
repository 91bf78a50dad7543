/** Documents cut to the length of a sequence. */
import type { Piece } from "./batch.ts";
import type { Documents } from "./documents.ts";

/** Pieces of all documents, numbered in order; each but the last one of a document has `length` tokens. */
export class Pieces {
  readonly count: number;
  readonly #documents: Documents;
  readonly #length: number;
  /** The first piece of each document, and the number of all. */
  readonly #firsts: Float64Array;

  constructor(documents: Documents, length: number) {
    this.#documents = documents;
    this.#length = length;
    this.#firsts = new Float64Array(documents.count + 1);
    for (let d = 0; d < documents.count; d++)
      this.#firsts[d + 1] = this.#firsts[d]! + Math.ceil(documents.length(d) / length);
    this.count = this.#firsts[documents.count]!;
  }

  /** Tokens of a piece. */
  lengthOf(piece: number): number {
    const { document, from } = this.#placeOf(piece);
    return Math.min(this.#length, this.#documents.length(document) - from);
  }

  /** A piece with as many of the tokens behind it as are predicted: `ahead` at most. */
  read(piece: number, ahead: number): Piece {
    const { document, from } = this.#placeOf(piece);
    const rest = this.#documents.length(document) - from;
    const length = Math.min(this.#length, rest);
    const to = from + Math.min(length + ahead, rest);
    const counted = this.#documents.counted(document, from, to);
    const tokens = this.#documents.read(document, from, to);
    return counted === undefined ? { length, tokens } : { length, tokens, counted };
  }

  #placeOf(piece: number): { readonly document: number; readonly from: number } {
    let [low, high] = [0, this.#documents.count - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#firsts[middle]! <= piece) low = middle;
      else high = middle - 1;
    }
    return { document: low, from: (piece - this.#firsts[low]!) * this.#length };
  }
}

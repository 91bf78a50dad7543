import type { Sequence } from "./batch.ts";
import { CorpusStream, type CorpusStreamOptions } from "./corpus-stream.ts";
import { DataError } from "./data-error.ts";
import type { SequenceStream, StreamState } from "./stream.ts";

export interface StreamPart extends CorpusStreamOptions {
  /** Its share of the tokens. */
  readonly share: number;
}

/**
 * The sequences of several corpora: always the next one of the corpus that is furthest behind its share of the tokens, so
 * every stretch of the stream has the shares.
 */
export class PackedStream implements SequenceStream {
  readonly #identity: string;
  readonly #shares: readonly number[];
  readonly #parts: readonly CorpusStream[];
  /** Tokens of all corpora. */
  readonly #size: number;
  readonly #limit: number;

  /**
   * @param identity a hash of all that the order depends on
   * @param epochs where the stream ends
   * @throws DataError when the state is of another stream
   */
  constructor(identity: string, parts: readonly StreamPart[], epochs = Infinity, state?: StreamState) {
    if (state !== undefined && (state.stream !== identity || state.parts.length !== parts.length)) {
      throw new DataError([
        "the state belongs to other data: files, tokenizer, length, packing or seed have changed since it was saved",
      ]);
    }
    this.#identity = identity;
    this.#shares = parts.map(({ share }) => share);
    this.#parts = parts.map((part, i) => new CorpusStream(part, state?.parts[i]));
    this.#size = parts.reduce((sum, { documents }) => sum + documents.tokens, 0);
    this.#limit = epochs * this.#size;
  }

  get epochs(): number {
    return this.#given() / this.#size;
  }

  next(count: number): Sequence[] {
    const sequences: Sequence[] = [];
    while (sequences.length < count && this.#given() < this.#limit) sequences.push(this.#furthestBehind().next());
    return sequences;
  }

  state(): StreamState {
    return { format: 1, stream: this.#identity, parts: this.#parts.map((part) => part.state) };
  }

  #given(): number {
    return this.#parts.reduce((sum, part) => sum + part.tokens, 0);
  }

  #furthestBehind(): CorpusStream {
    const given = this.#given();
    let [best, most] = [0, -Infinity];
    this.#parts.forEach((part, i) => {
      // Before the first token, the largest share.
      const behind = this.#shares[i]! * Math.max(given, 1) - part.tokens;
      if (behind > most) [best, most] = [i, behind];
    });
    return this.#parts[best]!;
  }
}

/** What both sides of a comparison can do: read tokens of sequences over a cache, and say what follows. */

/** Tokens of a sequence that follow the `from` ones that it has. */
export interface Piece {
  readonly sequence: number;
  readonly from: number;
  readonly tokens: readonly number[];
}

export interface Generator {
  /** One call: reads the pieces, and computes the logits behind the last token of each. What a sequence had from `from` on is forgotten. */
  read(pieces: readonly Piece[]): Promise<void>;
  /** The logits behind each piece of the last call. */
  logits(): Promise<Float32Array[]>;
  close(): Promise<void>;
}

/** From packed sequences to the inputs of `train_step` and `score`. */

/** A run of one document's tokens. */
export interface Piece {
  /** Tokens of the sequence; the rest of `tokens` lies behind them in the document and is only predicted. */
  readonly length: number;
  /** `length` tokens and as many of the next ones as look-ahead needs and the document has. */
  readonly tokens: Int32Array;
  /** For each of `tokens` whether it is a target; all are when it is not given. */
  readonly counted?: Uint8Array;
}

/** What shares the `length` of a training: one piece, or several that do not see each other. */
export type Sequence = readonly Piece[];

export interface Batch {
  /** Tokens (`T`, and as many positions `S`) and pieces (`B`). */
  readonly sizes: { readonly T: number; readonly S: number; readonly B: number };
  /**
   * All i32[T]. `tokens`; `pos`, from 0 on in each piece; `seq`, the number of the piece; `target.k`, the token k ahead, and
   * `ahead.k`, the same without regard to what counts, both -1 where the document ends before.
   */
  readonly inputs: Readonly<Record<string, Int32Array>>;
  /** Packed sequences. */
  readonly sequences: number;
  /** Tokens with a `target.1`: what `next_token` is the mean over. */
  readonly targets: number;
}

/**
 * The inputs of one call for some sequences, one after the other without padding: `ahead.1` to `ahead.n` and `target.1` to
 * `target.n+1` for n = `lookAhead`.
 */
export function batchOf(sequences: readonly Sequence[], lookAhead: number): Batch {
  const pieces = sequences.flat();
  const total = pieces.reduce((sum, { length }) => sum + length, 0);
  const make = (): Int32Array => new Int32Array(total);
  const inputs: Record<string, Int32Array> = { tokens: make(), pos: make(), seq: make() };
  for (let k = 1; k <= lookAhead + 1; k++) {
    inputs[`target.${k}`] = make();
    if (k <= lookAhead) inputs[`ahead.${k}`] = make();
  }
  let at = 0;
  pieces.forEach((piece, number) => {
    inputs["tokens"]!.set(piece.tokens.subarray(0, piece.length), at);
    inputs["seq"]!.fill(number, at, at + piece.length);
    for (let i = 0; i < piece.length; i++) inputs["pos"]![at + i] = i;
    for (let k = 1; k <= lookAhead + 1; k++) writeAhead(piece, k, at, inputs[`target.${k}`]!, inputs[`ahead.${k}`]);
    at += piece.length;
  });
  const targets = inputs["target.1"]!.reduce((count, target) => count + (target >= 0 ? 1 : 0), 0);
  return { sizes: { T: total, S: total, B: pieces.length }, inputs, sequences: sequences.length, targets };
}

function writeAhead(
  { length, tokens, counted }: Piece,
  k: number,
  at: number,
  target: Int32Array,
  ahead: Int32Array | undefined,
): void {
  for (let i = 0; i < length; i++) {
    const token = tokens[i + k] ?? -1;
    target[at + i] = counted === undefined || counted[i + k] === 1 ? token : -1;
    if (ahead !== undefined) ahead[at + i] = token;
  }
}

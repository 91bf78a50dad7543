import type { Call } from "../../device/session.ts";
import type { Sequence } from "./sequence.ts";

/** What one sequence has in a call. */
export interface Part {
  readonly sequence: Sequence;
  /** The position of the first of its tokens. */
  readonly from: number;
  readonly tokens: readonly number[];
  /** Of how many of its last tokens the logits are wanted: at least one, so that a call has no fewer rows than sequences. */
  readonly wanted: number;
  /** Whether anyone looks at the logits: its last token is the last of the sequence, or a guess behind that. */
  readonly samples: boolean;
}

/**
 * The inputs of a call: the tokens of all parts, one part after the other, and all positions of their sequences up to the last
 * one of the part. Positions are kept together by sequence and in order, so that sums over them are the same in any company.
 */
export function inputsOf(parts: readonly Part[]): Pick<Call, "sizes" | "inputs"> {
  const ends = parts.map(({ from, tokens }) => from + tokens.length);
  const T = parts.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const S = ends.reduce((sum, end) => sum + end, 0);
  const B = parts.reduce((sum, { wanted }) => sum + wanted, 0);
  const [tokens, pos, seq, row] = [new Int32Array(T), new Int32Array(T), new Int32Array(T), new Int32Array(T)];
  const [keyPos, keySeq, slot] = [new Int32Array(S), new Int32Array(S), new Int32Array(S)];
  const rows = new Int32Array(B);
  let [t, s, b] = [0, 0, 0];
  for (const [index, part] of parts.entries()) {
    const end = ends[index]!;
    tokens.set(part.tokens, t);
    seq.fill(index, t, t + part.tokens.length);
    row.set(part.sequence.rows.subarray(part.from, end), t);
    for (let p = part.from; p < end; p++) pos[t++] = p;
    for (let i = t - part.wanted; i < t; i++) rows[b++] = i;
    slot.set(part.sequence.rows.subarray(0, end), s);
    keySeq.fill(index, s, s + end);
    for (let p = 0; p < end; p++) keyPos[s++] = p;
  }
  return {
    sizes: { T, S, B },
    inputs: {
      tokens,
      pos,
      seq,
      "key.pos": keyPos,
      "key.seq": keySeq,
      "cache.slot": slot,
      "cache.row": row,
      rows,
    },
  };
}

/** Calls of the programs of a model, on tokens and weights that are drawn. */
import { batchOf } from "../../../runtime/data/batch.ts";
import { newElements } from "../../../runtime/device/elements.ts";
import type { Call, Elements } from "../../../runtime/device/session.ts";
import { elementsOf, type LaunchProgram, type Sizes } from "../../../runtime/program/launch.ts";
import { philox } from "../../../runtime/program/philox.ts";

/** What a call reads. */
export interface Amount {
  readonly sequences: number;
  /** Tokens of each: all of them new ones, or in `decode` and `draft.k` what is in the cache before one new token. */
  readonly length: number;
}

export interface DrawnCall {
  readonly call: Call;
  /** New tokens. */
  readonly tokens: number;
  /** Positions that a token sees, on average. */
  readonly seen: number;
}

/** @param vocabulary tokens are below it */
export function drawnCall(program: LaunchProgram, amount: Amount, vocabulary: number): DrawnCall {
  const { sequences, length } = amount;
  const steps = program.name === "decode" || program.name.startsWith("draft.");
  const known = program.buffers.some(({ name }) => name === "cache.row")
    ? generating(amount, vocabulary, steps ? 1 : length)
    : whole(amount, vocabulary);
  const inputs: Record<string, Elements> = {};
  for (const spec of program.buffers) {
    if (spec.kind !== "input") continue;
    // A learning rate of 0 and hidden states of 0 cost as much as any others, and nothing diverges.
    inputs[spec.name] = known.inputs[spec.name] ?? newElements(spec.dtype, elementsOf(spec, known.sizes));
  }
  inputs["step"] &&= Float32Array.of(1);
  const tokens = steps ? sequences : sequences * length;
  return {
    call: { program: program.name, sizes: known.sizes, inputs },
    tokens,
    seen: steps ? length + 1 : (length + 1) / 2,
  };
}

interface Drawn {
  readonly sizes: Sizes;
  readonly inputs: Readonly<Record<string, Elements>>;
}

/** A token for a place. */
export function drawnToken(position: number, vocabulary: number): number {
  return philox([position, 0, 0, 0], [1, 2])[0] % vocabulary;
}

/** As scoring and training read: whole sequences, with the tokens that follow. */
function whole({ sequences, length }: Amount, vocabulary: number): Drawn {
  const rows = Array.from({ length: sequences }, (_, row) => [
    { length, tokens: Int32Array.from({ length: length + 8 }, (__, i) => drawnToken(row * length + i, vocabulary)) },
  ]);
  // More look-ahead than any model has: what the program does not use is not given to it.
  return batchOf(rows, 7);
}

/** As generation reads: `fresh` new tokens at the end of each sequence, all before them in the cache. */
function generating({ sequences, length }: Amount, vocabulary: number, fresh: number): Drawn {
  const end = fresh === 1 ? length + 1 : length;
  const [T, S] = [sequences * fresh, sequences * end];
  const each = (count: number, value: (i: number) => number): Int32Array =>
    Int32Array.from({ length: count }, (_, i) => value(i));
  const position = (t: number): number => end - fresh + (t % fresh);
  const sequence = (t: number): number => Math.floor(t / fresh);
  return {
    sizes: { T, S, B: sequences },
    inputs: {
      tokens: each(T, (t) => drawnToken(t, vocabulary)),
      pos: each(T, position),
      seq: each(T, sequence),
      "key.pos": each(S, (s) => s % end),
      "key.seq": each(S, (s) => Math.floor(s / end)),
      "cache.slot": each(S, (s) => s),
      "cache.row": each(T, (t) => sequence(t) * end + position(t)),
      rows: each(sequences, (b) => (b + 1) * fresh - 1),
    },
  };
}

/** Rows of caches that a call needs. */
export function cacheRowsFor({ sequences, length }: Amount): number {
  return sequences * (length + 1);
}

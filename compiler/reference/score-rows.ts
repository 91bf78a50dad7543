import { scoreProgram, type ScoreOptions } from "../elaborate/score.ts";
import { POSITIONS, SEQUENCES, TOKENS } from "../elaborate/sink.ts";
import type { Module } from "../model-ir/types.ts";
import type { Given } from "./border.ts";
import type { Precision } from "./rounding.ts";
import { runProgram } from "./run.ts";
import type { Tensor } from "./tensor.ts";

/** A result as other programs read it: sizes, and elements in memory order. */
export interface Scored {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

export interface RowScores {
  /** `logits` [B, L, V], `loss` [1], `hidden.k` [B, L, D]; rows that are shorter than the longest end in zeros. */
  readonly tensors: ReadonlyMap<string, Scored>;
  /** By the path of the param. */
  readonly gradients: ReadonlyMap<string, Pick<Scored, "data">>;
  /** By path; one row per token, the rows of the batch one after the other without padding. */
  readonly metrics: ReadonlyMap<string, Scored>;
}

/**
 * Scores rows of tokens with the reference interpreter: each token by those before it in its row. The loss is the mean over
 * all tokens that have a next one.
 */
export function scoreRows(
  module: Module,
  weights: ReadonlyMap<string, Given>,
  rows: readonly (readonly number[])[],
  options: ScoreOptions & { readonly precision?: Precision } = {},
): RowScores {
  const count = rows.reduce((sum, row) => sum + row.length, 0);
  const sizes = { [TOKENS]: count, [POSITIONS]: count, [SEQUENCES]: rows.length };
  const values = new Map([...weights, ...packRows(rows)]);
  const result = runProgram(
    scoreProgram(module, options),
    { sizes, values },
    { precision: options.precision ?? "f32" },
  );
  const tensors = new Map<string, Scored>();
  const gradients = new Map<string, Tensor>();
  for (const [name, tensor] of result.outputs) {
    if (name.startsWith("grad.")) gradients.set(name.slice("grad.".length), tensor);
    else if (!name.startsWith("loss.")) tensors.set(name, padRows(tensor, rows));
  }
  const [loss] = result.losses.get("next_token")!;
  tensors.set("loss", { shape: [1], data: [loss!.numerator / Math.max(loss!.denominator, 1e-9)] });
  const metrics = new Map([...result.metrics].map(([name, emitted]) => [name, emitted.at(-1)!]));
  return { tensors, gradients, metrics };
}

/** Whole rows, one after the other along T: the inputs of `score`. */
export function packRows(rows: readonly (readonly number[])[]): Map<string, Given> {
  const along = (value: (row: readonly number[], at: number, index: number) => number): Given => ({
    data: rows.flatMap((row, index) => row.map((_, at) => value(row, at, index))),
  });
  return new Map([
    ["tokens", along((row, at) => row[at]!)],
    ["pos", along((_, at) => at)],
    ["seq", along((_, __, index) => index)],
    ["target.1", along((row, at) => row[at + 1] ?? -1)],
  ]);
}

/** [T, ..] as [B, L, ..], L the longest row. */
export function padRows({ shape, data }: Scored, rows: readonly (readonly number[])[]): Scored {
  const longest = rows.reduce((most, row) => Math.max(most, row.length), 0);
  const inner = shape.slice(1);
  const width = inner.reduce((product, size) => product * size, 1);
  const padded = new Float32Array(rows.length * longest * width);
  let from = 0;
  for (const [index, row] of rows.entries()) {
    const at = index * longest * width;
    for (let i = 0; i < row.length * width; i++) padded[at + i] = data[from + i]!;
    from += row.length * width;
  }
  return { shape: [rows.length, longest, ...inner], data: padded };
}

import type { DimLabel, Op, Program, Value } from "../tensor-ir/types.ts";
import { sizeWith } from "../tensor-ir/tiles.ts";
import { bytesOf } from "./bytes.ts";

/** From the op that makes a value to the last one that reads it: places in the program. */
export interface Lifetime {
  readonly value: Value;
  readonly from: number;
  readonly to: number;
}

export function lifetimes({ ops }: Program): Lifetime[] {
  const last = new Map<number, number>();
  for (const [i, op] of ops.entries()) for (const { id } of op.operands) last.set(id, i);
  return ops.flatMap((op, from) => op.results.map((value) => ({ value, from, to: last.get(value.id) ?? from })));
}

/** Bytes of a value at these sizes of run-time dims. */
export function valueBytes({ type }: Value, { dims }: Program, sizes: ReadonlyMap<DimLabel, number>): number {
  return type.dims.reduce((n, label) => n * (sizeWith(dims, label, sizes) ?? 1), 1) * bytesOf(type.dtype);
}

/** What is there before the program runs: not part of its peak. */
export function isGiven({ name }: Op): boolean {
  return name === "model.param" || name === "model.state" || name === "program.input";
}

/** The most bytes that are alive at once, without params, states and inputs. */
export function peakBytes(program: Program, sizes: ReadonlyMap<DimLabel, number>): number {
  const change = Array.from({ length: program.ops.length + 1 }, () => 0);
  for (const { value, from, to } of lifetimes(program)) {
    if (isGiven(program.ops[from]!)) continue;
    const bytes = valueBytes(value, program, sizes);
    change[from]! += bytes;
    change[to + 1]! -= bytes;
  }
  let now = 0;
  return change.reduce((peak, by) => Math.max(peak, (now += by)), 0);
}

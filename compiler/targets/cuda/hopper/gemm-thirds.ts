/**
 * B in f32 beside rows in bf16 (a router's weights): a number of f32 is the sum of three of bf16, whose 24 bits are its own, and a product
 * of two numbers of bf16 is exact in f32. So three products on tensor cores that share their sums are as exact as multiply-adds
 * in f32: a sum of n terms is off by no more than n * 2^-23 of the sum of the terms' sizes, as the tensor cores cut sums off where
 * multiply-adds round, but once for 16 terms. The thirds are written to the arena by an entry point that runs before.
 */
import type { Scratch } from "../../../../runtime/program/grids.ts";
import type { Extent } from "../../../../runtime/program/launch.ts";
import type { Lines } from "../../../emit/lines.ts";
import type { Arg, Axis } from "../../../kernel-ir/types.ts";
import type { GemmPlan } from "./gemm-plan.ts";

/** Numbers of bf16 that make one of f32. */
export const THIRDS = 3;
/** Threads of a block that makes them, and elements of each. */
export const THIRDERS = 256;
export const TOGETHER = 4;

/** Whether a matrix is all that an argument holds: nothing is made of what no product reads. */
export function fills({ shape }: Arg, axes: readonly Axis[]): boolean {
  const sorted = (extents: readonly Extent[]): string => {
    const known = extents.filter((extent) => typeof extent === "number").reduce((n, extent) => n * extent, 1);
    return [known, ...extents.filter((extent) => typeof extent === "string").toSorted()].join();
  };
  return sorted(shape) === sorted(axes.map(({ extent }) => extent));
}

/** The arguments in f32 that are taken apart. */
export function thirdsOf({ loops }: GemmPlan): Arg[] {
  const all = loops.flatMap(({ b }) => b.flatMap(({ matrix }) => (matrix.third === undefined ? [] : [matrix.arg])));
  return [...new Map(all.map((arg) => [arg.name, arg])).values()];
}

/** Where the thirds of each lie: all first ones, then all second ones. */
export function thirdsScratch(plan: GemmPlan): Scratch[] {
  return thirdsOf(plan).map(({ shape }): Scratch => ({ shape: [THIRDS, ...shape], each: false, dtype: "bf16" }));
}

/** The parameter of an argument's thirds. */
export function thirdsName({ name }: Arg): string {
  return `thirds_of_${name}`;
}

/** The body of the entry point that writes them: as many blocks as the first argument needs. */
export function printThirds(lines: Lines, plan: GemmPlan): void {
  lines.add(`const long long first = ((long long)blockIdx.x * ${THIRDERS} + threadIdx.x) * ${TOGETHER};`);
  for (const arg of thirdsOf(plan)) {
    const size = arg.shape.map((extent, i) => (i === 0 ? `(long long)${extent}` : String(extent))).join(" * ");
    lines.add(`for (long long at = first; at < ${size}; at += (long long)gridDim.x * ${THIRDERS * TOGETHER})`);
    lines.add(`  write_thirds(${thirdsName(arg)}, ${arg.name}, at, ${size});`);
  }
}

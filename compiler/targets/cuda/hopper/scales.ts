/** Scales of operands in eight bits: which ones a product on the tensor cores can take, block by block of its terms. */
import { add } from "../../../kernel-ir/expr.ts";
import type { Arg, Axis, Expr } from "../../../kernel-ir/types.ts";
import type { Place } from "../../operands.ts";
import { blocksOf } from "../scale-blocks.ts";

/** Terms of a block, and columns of B, that have one scale (DeepSeek-V3, section 3.3.2). */
export const SCALED = 128;

/** One number for each block of 128 terms: of a row of A, or of 128 columns of B. */
export interface Scale {
  readonly arg: Arg;
  /** Its indices in the first block. */
  readonly at: readonly Expr[];
  /** Elements from one block to the next. */
  readonly block: number;
}

/** The scales at a place, if they have this form; those of B change at multiples of 128 columns only. */
export function scaleOf(
  { arg: name, at }: Place,
  args: readonly Arg[],
  letter: "a" | "b",
  outer: readonly Axis[],
  k: readonly Axis[],
): Scale | undefined {
  const arg = args.find((one) => one.name === name)!;
  const block = strideOfBlocks(k, at.k, arg);
  if (block === undefined) return undefined;
  if (letter === "b" && strideOfBlocks(outer, at.outer, arg) === undefined) return undefined;
  return { arg, at: at.outer.map((x, i) => add(x, at.fixed[i]!)), block };
}

/** Elements from 128 of the axes' elements to the next, if that is all that the indices depend on. */
function strideOfBlocks(axes: readonly Axis[], at: readonly Expr[], arg: Arg): number | undefined {
  const { length, stride } = blocksOf(axes, at, arg) ?? { length: NaN, stride: NaN };
  return stride === 0 ? 0 : length === SCALED ? stride : undefined;
}

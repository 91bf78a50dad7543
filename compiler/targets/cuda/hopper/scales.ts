/** Scales of operands in eight bits: which ones a product on the tensor cores can take, block by block of its terms. */
import type { Extent } from "../../../../runtime/program/launch.ts";
import { add, known } from "../../../kernel-ir/expr.ts";
import type { Arg, Axis, Expr } from "../../../kernel-ir/types.ts";
import { linear, type Place } from "../../operands.ts";
import { blocksOf } from "../scale-blocks.ts";

/** Terms of a block, and columns of B, that have one scale (DeepSeek-V3, section 3.3.2). */
export const SCALED = 128;

/** One number for each block of 128 terms: of a row of A, or of one or 128 columns of B. */
export interface Scale {
  readonly arg: Arg;
  /** Its indices in the first block. */
  readonly at: readonly Expr[];
  /** Elements from one block to the next. */
  readonly block: number;
  /** Of B, where each column has one, and those of a block are neighbors: how many blocks there are. */
  readonly each?: Extent;
}

/** The scales at a place, if they have this form; those of B change at multiples of 128 columns, or each column has one. */
export function scaleOf(
  { arg: name, at }: Place,
  args: readonly Arg[],
  letter: "a" | "b",
  outer: readonly Axis[],
  k: readonly Axis[],
): Scale | undefined {
  const arg = args.find((one) => one.name === name)!;
  const tokens = tilesOfTerms(k, at.k);
  const block = tokens === undefined ? strideOfBlocks(k, at.k, arg) : strideOf(arg, tokens);
  if (block === undefined) return undefined;
  const scale = { arg, at: at.outer.map((x, i) => add(x, at.fixed[i]!)), block };
  if (letter === "a" || strideOfBlocks(outer, at.outer, arg) !== undefined) return scale;
  const isOne = at.fixed.every((x) => known(x) === 0) && linear(outer, at.outer, arg.shape) === 1;
  // The copy engine wants strides of 16 bytes.
  return isOne && tokens === 0 && block % 4 === 0 ? { ...scale, each: arg.shape[tokens]! } : undefined;
}

/** Of terms that are tiles of 128, whose number only a call knows: the index that counts them, when no other one depends on terms. */
export function tilesOfTerms([tiles, inTile, more]: readonly Axis[], at: readonly Expr[]): number | undefined {
  const isTiled = typeof tiles?.extent === "string" && inTile?.extent === SCALED && more === undefined;
  const dim = isTiled ? at.findIndex((x) => isAxis(x, tiles)) : -1;
  return dim >= 0 && at.every((x, i) => i === dim || known(x) === 0) ? dim : undefined;
}

export function isAxis(x: Expr, { name }: Axis): boolean {
  return x.kind === "axis" && x.axis === name;
}

/** Elements from one index of a dim to the next; undefined where only a call knows. */
function strideOf({ shape }: Arg, dim: number): number | undefined {
  const stride = shape.slice(dim + 1).reduce<number>((n, size) => (typeof size === "number" ? n * size : NaN), 1);
  return Number.isNaN(stride) ? undefined : stride;
}

/** Elements from 128 of the axes' elements to the next, if that is all that the indices depend on. */
function strideOfBlocks(axes: readonly Axis[], at: readonly Expr[], arg: Arg): number | undefined {
  const { length, stride } = blocksOf(axes, at, arg) ?? { length: NaN, stride: NaN };
  return stride === 0 ? 0 : length === SCALED ? stride : undefined;
}

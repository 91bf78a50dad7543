/** Scales of operands in eight bits: which ones a product on the tensor cores can take, block by block of its terms. */
import { add } from "../../../kernel-ir/expr.ts";
import type { Arg, Axis, Expr } from "../../../kernel-ir/types.ts";
import type { Place } from "../../operands.ts";

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

/** Elements from 128 of the axes' elements to the next, if that is all that the indices depend on: looked at one by one. */
function strideOfBlocks(axes: readonly Axis[], at: readonly Expr[], { shape }: Arg): number | undefined {
  const extents = axes.map(({ extent }) => (typeof extent === "number" ? extent : NaN));
  const size = extents.reduce((n, extent) => n * extent, 1);
  if (Number.isNaN(size)) return undefined;
  const strides = shape.map((_, i) =>
    shape.slice(i + 1).reduce<number>((n, extent) => n * (typeof extent === "number" ? extent : NaN), 1),
  );
  const values = new Map<string, number>();
  const offset = (item: number): number => {
    let rest = item;
    for (let i = axes.length - 1; i >= 0; i--) {
      values.set(axes[i]!.name, rest % extents[i]!);
      rest = Math.floor(rest / extents[i]!);
    }
    // A dim that does not move may be before one whose size only a call knows.
    return at.reduce((sum, x, i) => {
      const value = valueOf(x, values);
      return value === 0 ? sum : sum + value * strides[i]!;
    }, 0);
  };
  const stride = size > SCALED ? offset(SCALED) : 0;
  for (let item = 0; item < size; item++) if (offset(item) !== Math.floor(item / SCALED) * stride) return undefined;
  return stride;
}

/** The value of an index where axes have these; NaN where it depends on something else. */
function valueOf(expr: Expr, axes: ReadonlyMap<string, number>): number {
  if (expr.kind === "const") return Number(expr.value);
  if (expr.kind === "axis") return axes.get(expr.axis) ?? NaN;
  if (expr.kind !== "op") return NaN;
  const [x, y] = expr.operands.map((operand) => valueOf(operand, axes)) as [number, number];
  switch (expr.op) {
    case "add":
      return x + y;
    case "mul":
      return x * y;
    case "div":
      return Math.floor(x / y);
    case "mod":
      return x % y;
    default:
      return NaN;
  }
}

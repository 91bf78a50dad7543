/** Scales of codes along the terms of a sum: how many terms have one in common, and how far it is to the next. */
import type { Arg, Axis, Expr } from "../../kernel-ir/types.ts";

/** Neighbors of a list of axes that have one element: `length` of them (all, where `stride` is 0), then that `stride` elements further. */
export interface Blocks {
  readonly length: number;
  readonly stride: number;
}

/** The blocks of axes (the last one fastest), if that is all that the indices depend on: looked at one by one. */
export function blocksOf(axes: readonly Axis[], at: readonly Expr[], { shape }: Arg): Blocks | undefined {
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
  let length = 0;
  while (length < size && offset(length) === 0) length++;
  const stride = length < size ? offset(length) : 0;
  for (let item = length; item < size; item++)
    if (offset(item) !== Math.floor(item / length) * stride) return undefined;
  return length === 0 ? undefined : { length, stride };
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

/** Where the elements of an operand lie: offsets of a row of A, of a column of B, of a term of the sum. */
import {
  add,
  constant,
  dtypeOf,
  index,
  isOp,
  known,
  mergedIndices,
  mul,
  type Ranges,
  substitute,
  walk,
} from "../kernel-ir/expr.ts";
import type { Arg, Axis, Expr, GemmKernel, Product } from "../kernel-ir/types.ts";

/** Spaces that an index may move in: `fixed` for a whole item (batches, the group), rows or columns, terms. */
export type Space = "fixed" | "outer" | "k";

/** An element of an argument whose address is a sum of one part per space. */
export interface Place {
  readonly arg: string;
  /** One index per dim of the argument, for each space; their sum is the index. */
  readonly at: Readonly<Record<Space, readonly Expr[]>>;
}

/** Elements of an argument; codes with what they are multiplied by. */
export interface Strided extends Place {
  readonly kind: "strided";
  readonly scale?: Place;
}

/** Any other expression: it is computed while blocks are packed. */
export interface Computed {
  readonly kind: "computed";
  readonly value: Expr;
  /** Whether elements that are next to each other in memory are terms of the sum, rather than rows or columns. */
  readonly alongK: boolean;
}

export type Operand = Strided | Computed;

/** A or B of a product, with `outer` as the axes of its rows or columns. */
export function operandOf(expr: Expr, outer: readonly Axis[], k: readonly Axis[], args: readonly Arg[]): Operand {
  const value = withoutCasts(expr);
  const place = placeOf(value, /^(f32|bf16|f16)$/, outer, k, args);
  if (place !== undefined) return { kind: "strided", ...place };
  return { kind: "computed", value, alongK: runsAlongK(value, outer, k) };
}

/** Dtypes of codes and of their scales. */
interface Codes {
  readonly codes: RegExp;
  readonly scales: RegExp;
}

/** As weights are stored. */
const STORED: Codes = { codes: /^(i8|i4)$/, scales: /^bf16$/ };
/** As products in eight bits have them (compiler/elaborate/quantize-products.ts). */
export const EIGHT_BITS: Codes = { codes: /^f8e4m3$/, scales: /^f32$/ };

/** Codes with their scales, or any other operand. */
export function codesOf(
  expr: Expr,
  outer: readonly Axis[],
  k: readonly Axis[],
  args: readonly Arg[],
  { codes, scales }: Codes = STORED,
): Operand {
  const value = withoutCasts(expr);
  const [code, scale] = isOp(value, "mul") ? value.operands : [];
  if (code !== undefined && scale !== undefined && isOp(code, "cast")) {
    const place = placeOf(code.operands[0]!, codes, outer, k, args);
    const factor = placeOf(withoutCasts(scale), scales, outer, k, args);
    if (place !== undefined && factor !== undefined) return { kind: "strided", ...place, scale: factor };
  }
  return operandOf(expr, outer, k, args);
}

/** Where an element lies, when it is one of these dtypes at an address that is such a sum. */
function placeOf(
  value: Expr,
  dtypes: RegExp,
  outer: readonly Axis[],
  k: readonly Axis[],
  args: readonly Arg[],
): Place | undefined {
  const [outerNames, kNames] = [names(outer), names(k)];
  const arg = value.kind === "load" ? args.find(({ name }) => name === value.from)! : undefined;
  if (value.kind !== "load" || arg === undefined || !dtypes.test(arg.dtype)) return undefined;
  const at = { fixed: [] as Expr[], outer: [] as Expr[], k: [] as Expr[] };
  for (const x of mergedIndices(value.at, arg.shape)) {
    const parts: Record<Space, Expr> = { fixed: index(0), outer: index(0), k: index(0) };
    for (const term of terms(x)) {
      const [usesOuter, usesK] = [uses(term, outerNames), uses(term, kNames)];
      if (usesOuter && usesK) return undefined;
      const space = usesOuter ? "outer" : usesK ? "k" : "fixed";
      parts[space] = add(parts[space], term);
    }
    for (const space of ["fixed", "outer", "k"] as const) at[space].push(parts[space]);
  }
  return { arg: value.from, at };
}

/** Floats are widened when they are loaded: casts between them say nothing. */
function withoutCasts(expr: Expr): Expr {
  return isOp(expr, "cast") && isFloat(expr) && isFloat(expr.operands[0]!) ? withoutCasts(expr.operands[0]!) : expr;
}

/** What matrix products compute in f32. */
export function isFloat(expr: Expr): boolean {
  return /^(f32|bf16|f16|f8e4m3)$/.test(dtypeOf(expr));
}

/** A sum, taken apart; products with a factor that is known are multiplied out. */
function terms(expr: Expr): Expr[] {
  if (isOp(expr, "add")) return expr.operands.flatMap(terms);
  const factor = isOp(expr, "mul") ? known(expr.operands[1]!) : undefined;
  if (isOp(expr, "mul") && factor !== undefined) return terms(expr.operands[0]!).map((x) => mul(x, index(factor)));
  return [expr];
}

function names(axes: readonly Axis[]): ReadonlySet<string> {
  return new Set(axes.map(({ name }) => name));
}

function uses(expr: Expr, axes: ReadonlySet<string>): boolean {
  let found = false;
  walk(expr, (part) => (found ||= part.kind === "axis" && axes.has(part.axis)));
  return found;
}

/** Whether more loads have their neighbors along k; those that stay the same while one of both moves cost nothing. */
function runsAlongK(value: Expr, outer: readonly Axis[], k: readonly Axis[]): boolean {
  let lead = 0;
  walk(value, (part) => {
    if (part.kind !== "load" || !uses(part, names(outer)) || !uses(part, names(k))) return;
    const last = part.at.at(-1)!;
    if (uses(last, names(k.slice(-1)))) lead++;
    if (uses(last, names(outer.slice(-1)))) lead--;
  });
  return lead >= 0;
}

/** The product as its group sees it: every member has a group, so what stands for those of none is never read. */
export function insideGroup(product: Product, { groups }: GemmKernel, ranges: Ranges): Product {
  if (groups === undefined) return product;
  const of = JSON.stringify(groups.of);
  const inside = (expr: Expr): Expr => {
    if (isOp(expr, "lt") && known(expr.operands[1]!) === 0 && JSON.stringify(expr.operands[0]) === of)
      return constant(false, "bool");
    if (expr.kind === "load") return { ...expr, at: expr.at.map(inside) };
    return expr.kind === "op" ? { ...expr, operands: expr.operands.map(inside) } : expr;
  };
  const folded = (expr: Expr): Expr => substitute(inside(expr), new Map(), ranges);
  return { ...product, a: folded(product.a), b: folded(product.b) };
}

/** The distance in elements between neighbors of a list of axes (the last one fastest), if it is the same everywhere. */
export function linear(axes: readonly Axis[], at: readonly Expr[], shape: Arg["shape"]): number | undefined {
  const strides = axes.map(({ name }) => strideOf(name, at, shape));
  for (let i = 0; i + 1 < axes.length; i++) {
    const { extent } = axes[i + 1]!;
    if (typeof extent !== "number" || strides[i] === undefined || strides[i] !== (strides[i + 1] ?? NaN) * extent)
      return undefined;
  }
  const own = names(axes);
  const others = at.flatMap(terms).some((term) => known(term) !== 0 && !isMultiple(term, own));
  return others ? undefined : strides.at(-1);
}

function strideOf(axis: string, at: readonly Expr[], shape: Arg["shape"]): number | undefined {
  let stride = 0;
  for (const [i, x] of at.entries()) {
    for (const term of terms(x)) {
      if (!uses(term, new Set([axis]))) continue;
      const inner = shape.slice(i + 1).reduce<number>((n, size) => (typeof size === "number" ? n * size : NaN), 1);
      const factor = isOp(term, "mul") ? known(term.operands[1]!)! : 1;
      if (Number.isNaN(inner)) return undefined;
      stride += factor * inner;
    }
  }
  return stride;
}

/** An axis, or an axis times a number. */
function isMultiple(term: Expr, axes: ReadonlySet<string>): boolean {
  if (isOp(term, "mul") && known(term.operands[1]!) !== undefined) return isMultiple(term.operands[0]!, axes);
  return term.kind === "axis" && axes.has(term.axis);
}

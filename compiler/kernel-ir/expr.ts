/** Expressions of the kernel IR, simplified while they are built: addresses of views become affine again. */
import type { Expr, ScalarOp, ScalarType, Stmt } from "./types.ts";
import type { Extent } from "../../runtime/program/launch.ts";

/** Operators between two operands, as C, C++, CUDA, WGSL and the text form of kernels write them. */
export const INFIX: Readonly<Partial<Record<ScalarOp, string>>> = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  mod: "%",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
  eq: "==",
  ne: "!=",
  and: "&",
  or: "|",
};

const CONDITIONS: ReadonlySet<ScalarOp> = new Set(["lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"]);

/** The wider one of two that meet comes later. */
const WIDTHS: readonly ScalarType[] = ["bool", "i4", "i8", "i32", "index", "f8e4m3", "f16", "bf16", "f32", "f64"];

/** What an operator gives where the text form does not say it: a condition, or the widest of its operands (or branches). */
export function usualDtype(name: ScalarOp, operands: readonly Expr[]): ScalarType {
  if (CONDITIONS.has(name)) return "bool";
  return operands
    .slice(name === "select" ? 1 : 0)
    .map(dtypeOf)
    .reduce((a, b) => (WIDTHS.indexOf(b) > WIDTHS.indexOf(a) ? b : a));
}

/** How many operands an operator takes. */
export function arityOf(name: ScalarOp): number {
  if (name === "select") return 3;
  return name in INFIX || name === "pow" || name === "max" || name === "min" ? 2 : 1;
}

export function constant(value: number | boolean, dtype: ScalarType): Expr {
  return { kind: "const", dtype, value };
}

export function index(value: number): Expr {
  return constant(value, "index");
}

export function axis(name: string): Expr {
  return { kind: "axis", axis: name };
}

export function extent(size: Extent): Expr {
  return typeof size === "number" ? index(size) : { kind: "extent", extent: size };
}

export function dtypeOf(expr: Expr): ScalarType {
  return expr.kind === "axis" || expr.kind === "extent" ? "index" : expr.dtype;
}

export function op(name: ScalarOp, operands: readonly Expr[], dtype: ScalarType): Expr {
  return { kind: "op", op: name, operands, dtype };
}

/** What small floats are computed in; other types are computed in as they are. */
export function widened<D extends ScalarType>(dtype: D): D | "f32" {
  return dtype === "bf16" || dtype === "f16" || dtype === "f8e4m3" ? "f32" : dtype;
}

/** The value as an index. */
export function toIndex(expr: Expr): Expr {
  return dtypeOf(expr) === "index" ? expr : op("cast", [expr], "index");
}

export function load(from: string, at: readonly Expr[], dtype: ScalarType): Expr {
  return { kind: "load", from, at, dtype };
}

/** The number of an index that is known, or undefined. */
export function known(expr: Expr): number | undefined {
  return expr.kind === "const" && typeof expr.value === "number" ? expr.value : undefined;
}

export function add(a: Expr, b: Expr): Expr {
  const [x, y] = [known(a), known(b)];
  if (x !== undefined && y !== undefined) return index(x + y);
  if (x === 0) return b;
  if (y === 0) return a;
  if (x !== undefined) return add(b, a);
  // (a + c) + d = a + (c + d)
  if (y !== undefined && isOp(a, "add") && known(a.operands[1]!) !== undefined)
    return add(a.operands[0]!, index(known(a.operands[1]!)! + y));
  return op("add", [a, b], "index");
}

export function mul(a: Expr, b: Expr): Expr {
  const [x, y] = [known(a), known(b)];
  if (x !== undefined && y !== undefined) return index(x * y);
  if (x === 0 || y === 0) return index(0);
  if (x === 1) return b;
  if (y === 1) return a;
  if (x !== undefined) return mul(b, a);
  if (y !== undefined && isOp(a, "mul") && known(a.operands[1]!) !== undefined)
    return mul(a.operands[0]!, index(known(a.operands[1]!)! * y));
  return op("mul", [a, b], "index");
}

/** a / b for a >= 0, rounded down. */
export function div(a: Expr, b: Expr, ranges: Ranges): Expr {
  const [x, y] = [known(a), known(b)];
  if (y === 1) return a;
  if (x !== undefined && y !== undefined) return index(Math.floor(x / y));
  const parts = y === undefined ? undefined : divided(a, y, ranges);
  return parts?.quotient ?? op("div", [a, b], "index");
}

/** a mod b for a >= 0. */
export function mod(a: Expr, b: Expr, ranges: Ranges): Expr {
  const [x, y] = [known(a), known(b)];
  if (y === 1) return index(0);
  if (x !== undefined && y !== undefined) return index(x % y);
  const parts = y === undefined ? undefined : divided(a, y, ranges);
  return parts?.remainder ?? op("mod", [a, b], "index");
}

/** How far axes run, where that is known. */
export type Ranges = (axis: string) => number | undefined;

/** a as quotient * by + remainder with a remainder below `by`, when that can be read off. */
function divided(a: Expr, by: number, ranges: Ranges): { quotient: Expr; remainder: Expr } | undefined {
  const most = upperBound(a, ranges);
  if (most !== undefined && most < by) return { quotient: index(0), remainder: a };
  if (isOp(a, "mul")) {
    const factor = known(a.operands[1]!);
    if (factor !== undefined && factor % by === 0)
      return { quotient: mul(a.operands[0]!, index(factor / by)), remainder: index(0) };
  }
  if (isOp(a, "add")) {
    const [left, right] = [divided(a.operands[0]!, by, ranges), divided(a.operands[1]!, by, ranges)];
    if (left === undefined || right === undefined) return undefined;
    const rest = add(left.remainder, right.remainder);
    const bound = upperBound(rest, ranges);
    if (bound === undefined || bound >= by) return undefined;
    return { quotient: add(left.quotient, right.quotient), remainder: rest };
  }
  return undefined;
}

/** The largest value of an index expression, when it can be read off; all are at least 0. */
export function upperBound(a: Expr, ranges: Ranges): number | undefined {
  const value = known(a);
  if (value !== undefined) return value;
  if (a.kind === "axis") {
    const range = ranges(a.axis);
    return range === undefined ? undefined : range - 1;
  }
  if (a.kind !== "op") return undefined;
  const [x, y] = a.operands.map((operand) => upperBound(operand, ranges));
  switch (a.op) {
    case "add":
      return x === undefined || y === undefined ? undefined : x + y;
    case "mul":
      return x === undefined || y === undefined ? undefined : x * y;
    case "mod":
      return y === undefined ? undefined : Math.max(y - 1, 0);
    case "div": {
      const by = known(a.operands[1]!);
      return x === undefined || by === undefined ? undefined : Math.floor(x / by);
    }
    case "min":
      return x === undefined ? y : y === undefined ? x : Math.min(x, y);
    case "max":
      return x === undefined || y === undefined ? undefined : Math.max(x, y);
    default:
      return undefined;
  }
}

export function isOp(expr: Expr, name: ScalarOp): expr is Expr & { kind: "op" } {
  return expr.kind === "op" && expr.op === name;
}

/**
 * Indices of an array with dims that were merged and taken apart again put together: i / n and i % n are 0 and i, which is the
 * same place.
 */
export function mergedIndices(at: readonly Expr[], shape: readonly Extent[]): Expr[] {
  const merged = [...at];
  for (let i = 0; i + 1 < merged.length; i++) {
    const [outer, inner] = [merged[i]!, merged[i + 1]!];
    if (!isOp(outer, "div") || !isOp(inner, "mod")) continue;
    const same = JSON.stringify(outer.operands) === JSON.stringify(inner.operands);
    if (!same || known(outer.operands[1]!) !== shape[i + 1]) continue;
    merged[i] = index(0);
    merged[i + 1] = outer.operands[0]!;
  }
  return merged;
}

/** An index moved into [0, size - 1]. */
export function clamped(at: Expr, size: Extent): Expr {
  const last = typeof size === "number" ? index(size - 1) : op("sub", [extent(size), index(1)], "index");
  return op("min", [op("max", [at, index(0)], "index"), last], "index");
}

/** The expression with axes replaced, simplified again. */
export function substitute(expr: Expr, axes: ReadonlyMap<string, Expr>, ranges: Ranges): Expr {
  const inner = (x: Expr): Expr => substitute(x, axes, ranges);
  switch (expr.kind) {
    case "const":
    case "extent":
      return expr;
    case "axis":
      return axes.get(expr.axis) ?? expr;
    case "load":
      return { ...expr, at: expr.at.map(inner) };
    case "random":
      return { ...expr, element: inner(expr.element), seed: inner(expr.seed), step: inner(expr.step) };
    case "op":
      return rebuilt(expr, expr.operands.map(inner), ranges);
  }
}

/** The op on other operands, folded where these are known. */
function rebuilt(expr: Expr & { kind: "op" }, operands: readonly Expr[], ranges: Ranges): Expr {
  const [a, b] = operands;
  const [x, y] = [known(a!), b === undefined ? undefined : known(b)];
  if (expr.op === "select" && a!.kind === "const") return a!.value === true ? b! : operands[2]!;
  if (expr.op === "and" || expr.op === "or") {
    for (const [one, other] of [
      [a!, b!],
      [b!, a!],
    ] as const)
      if (one.kind === "const") return (one.value === true) === (expr.op === "and") ? other : one;
  }
  if (expr.dtype === "index") {
    if (expr.op === "add") return add(a!, b!);
    if (expr.op === "mul") return mul(a!, b!);
    if (expr.op === "div") return div(a!, b!, ranges);
    if (expr.op === "mod") return mod(a!, b!, ranges);
    if (x !== undefined && y !== undefined) {
      if (expr.op === "sub") return index(x - y);
      if (expr.op === "min") return index(Math.min(x, y));
      if (expr.op === "max") return index(Math.max(x, y));
    }
  }
  if (expr.dtype === "bool" && x !== undefined && y !== undefined && dtypeOf(a!) === "index") {
    const holds = { lt: x < y, le: x <= y, gt: x > y, ge: x >= y, eq: x === y, ne: x !== y }[expr.op as string];
    if (holds !== undefined) return constant(holds, "bool");
  }
  return { ...expr, operands };
}

/** Expressions that a statement reads. */
export function expressionsOf(stmt: Stmt): readonly Expr[] {
  return [...stmt.at, stmt.value, ...(stmt.kind === "scatter" ? [stmt.when] : [])];
}

/** Names of what an expression loads from, once for each time. */
export function loadedBy(expr: Expr): string[] {
  const names: string[] = [];
  walk(expr, (part) => {
    if (part.kind === "load") names.push(part.from);
  });
  return names;
}

/** Calls `visit` for the expression and everything inside of it, outer ones first. */
export function walk(expr: Expr, visit: (part: Expr) => void): void {
  visit(expr);
  if (expr.kind === "load") for (const part of expr.at) walk(part, visit);
  if (expr.kind === "op") for (const part of expr.operands) walk(part, visit);
  if (expr.kind === "random") for (const part of [expr.element, expr.seed, expr.step]) walk(part, visit);
}

/** Statements of a row in a form that threads with columns of their own can run: what one thread would do for all others goes. */
import { constant, dtypeOf, load, op, type Ranges, substitute, toIndex } from "../../../kernel-ir/expr.ts";
import type { Expr, Local, RowsKernel, Stmt } from "../../../kernel-ir/types.ts";
import { knownSize } from "../../simt/axes.ts";
import { isScalar, isSmallFloat, placeKey } from "./vectors.ts";

/** Terms of a scatter up to which each place looks at all of them. */
const FEW_TERMS = 16;

/** @param large elements of a local from which on it is computed again where it is read, if it can be */
export function rewritten(kernel: RowsKernel, large: number): RowsKernel {
  const ranges = rangesOf(kernel.body);
  const simple = kernel.body.map((stmt) => mapped(stmt, (x) => substitute(x, new Map(), ranges)));
  const sums = simple.map((stmt) => (stmt.kind === "scatter" ? (asSum(stmt) ?? stmt) : stmt));
  return withoutLarge(withRowValues({ ...kernel, body: sums }), large, ranges);
}

/** How far the axes of statements run. */
function rangesOf(body: readonly Stmt[]): Ranges {
  const ranges = new Map<string, number>();
  for (const stmt of body)
    for (const { name, extent } of axesOf(stmt)) if (typeof extent === "number") ranges.set(name, extent);
  return (name) => ranges.get(name);
}

export function axesOf(stmt: Stmt): readonly { readonly name: string; readonly extent: number | string }[] {
  return [
    ...stmt.axes,
    ...("over" in stmt ? (Array.isArray(stmt.over) ? stmt.over : [stmt.over]) : []),
    ...("counter" in stmt ? [stmt.counter] : []),
    ...("zeroed" in stmt ? stmt.zeroed : []),
  ];
}

/** The statement with every expression of it replaced. */
function mapped(stmt: Stmt, f: (x: Expr) => Expr): Stmt {
  return {
    ...stmt,
    at: stmt.at.map(f),
    value: f(stmt.value),
    ...(stmt.kind === "scatter" ? { when: f(stmt.when), zeroedAt: stmt.zeroedAt.map(f) } : {}),
  } as Stmt;
}

/** A scatter of few terms as the sum, for each place, of those that are for it. */
function asSum({ zeroed, zeroedAt, axes, when, value, to, at }: Stmt & { kind: "scatter" }): Stmt | undefined {
  const reads = JSON.stringify([when, value, at]).includes(`"from":${JSON.stringify(to)}`);
  const taken = new Set(axes.map(({ name }) => name));
  if (reads || (knownSize(axes) ?? Infinity) > FEW_TERMS || zeroed.some(({ name }) => taken.has(name)))
    return undefined;
  const places: Expr[] = [];
  for (const [i, zero] of zeroedAt.entries()) {
    if (JSON.stringify(zero) === JSON.stringify(at[i])) continue;
    if (zero.kind !== "axis" || !zeroed.some(({ name }) => name === zero.axis)) return undefined;
    places.push(op("eq", [toIndex(at[i]!), zero], "bool"));
  }
  const isTerm = places.reduce((a, b) => op("and", [a, b], "bool"), when);
  const term = op("select", [isTerm, value, constant(0, dtypeOf(value))], dtypeOf(value));
  if (axes.length === 0) return { kind: "assign", axes: zeroed, value: term, to, at: zeroedAt };
  return { kind: "reduce", reduction: "sum", axes: zeroed, over: axes, value: term, to, at: zeroedAt };
}

/** What is stored once for a row and read again is a value that all threads have. */
function withRowValues(kernel: RowsKernel): RowsKernel {
  const locals: Local[] = [...kernel.locals];
  const taken = new Set([...kernel.args, ...kernel.locals].map(({ name }) => name));
  const body: Stmt[] = [];
  const known = new Map<string, Expr>();
  const replaced = (x: Expr): Expr => {
    if (x.kind === "load") return known.get(placeKey(x.from, x.at)) ?? { ...x, at: x.at.map(replaced) };
    return x.kind === "op" ? { ...x, operands: x.operands.map(replaced) } : x;
  };
  for (const [i, before] of kernel.body.entries()) {
    const stmt = mapped(before, replaced);
    const arg = kernel.args.find(({ name }) => name === stmt.to);
    for (const key of known.keys()) if (key.includes(JSON.stringify(stmt.to))) known.delete(key);
    const key = placeKey(stmt.to, stmt.at);
    const isRead = kernel.body.slice(i + 1).some((next) => JSON.stringify(next).includes(`"from":"${stmt.to}"`));
    if (stmt.kind !== "assign" || stmt.axes.length > 0 || arg === undefined || isSmallFloat(arg.dtype) || !isRead) {
      body.push(stmt);
      continue;
    }
    let name = `${stmt.to}_now`;
    while (taken.has(name)) name += "_";
    taken.add(name);
    locals.push({ name, dtype: arg.dtype, shape: [] });
    const value = load(name, [], arg.dtype);
    body.push({ ...stmt, to: name, at: [] }, { ...stmt, value });
    known.set(key, value);
  }
  return { ...kernel, locals, body };
}

/** Large locals whose elements depend only on what stays as it is are computed where they are read: a row that long has no room. */
function withoutLarge(kernel: RowsKernel, large: number, ranges: Ranges): RowsKernel {
  const { locals, args } = kernel;
  const written = new Map<string, number>();
  for (const { to } of kernel.body) written.set(to, (written.get(to) ?? 0) + 1);
  const isLarge = (name: string): boolean => {
    const local = locals.find((one) => one.name === name);
    if (local === undefined || isScalar(local)) return false;
    const size = local.shape.reduce<number>((n, extent) => (typeof extent === "number" ? n * extent : Infinity), 1);
    return size > large && kernel.body.every((stmt) => stmt.to !== name || isWhole(stmt));
  };
  const inlined = new Set(locals.map(({ name }) => name).filter(isLarge));
  const values = new Map<string, Stmt & { kind: "assign" }>();
  const isConstant = (x: Expr): boolean => {
    if (x.kind === "op") return x.operands.every(isConstant);
    if (x.kind === "random") return isConstant(x.element);
    if (x.kind !== "load") return true;
    const arg = args.find(({ name }) => name === x.from);
    const stays = arg !== undefined ? !written.has(x.from) : (written.get(x.from) ?? 0) === 1;
    return stays && x.at.every(isConstant);
  };
  const replaced = (x: Expr): Expr => {
    if (x.kind === "op") return { ...x, operands: x.operands.map(replaced) };
    if (x.kind !== "load") return x;
    const at = x.at.map(replaced);
    const value = values.get(x.from);
    if (value === undefined) return { ...x, at };
    return substitute(value.value, new Map(value.axes.map(({ name }, i) => [name, at[i]!])), ranges);
  };
  const body: Stmt[] = [];
  for (const before of kernel.body) {
    const stmt = mapped(before, replaced);
    if (!inlined.has(stmt.to)) body.push(stmt);
    else if (stmt.kind === "assign" && isConstant(stmt.value)) values.set(stmt.to, stmt);
    else return kernel;
  }
  return { ...kernel, locals: locals.filter(({ name }) => !values.has(name)), body };
}

/** Whether a statement gives a value to each element, by the axes of the array. */
function isWhole({ kind, axes, at }: Stmt): boolean {
  return (
    kind === "assign" && at.length === axes.length && at.every((x, i) => x.kind === "axis" && x.axis === axes[i]!.name)
  );
}

import type { Span } from "../../../compiler/diagnostics/source.ts";
import type * as ast from "../../syntax/ast.ts";
import type { Checker, Expected, Scope } from "../checker.ts";
import { checkDim } from "../dim-members.ts";
import { dimsText, type Dim } from "../dims.ts";
import { dtypeOf, float } from "../emit.ts";
import { numberOf } from "../numbers.ts";
import { toTensor } from "../operands.ts";
import { describe, ERROR, type Meaning, type Tensor } from "../values.ts";

/** One call of a built-in function. */
export interface Call {
  readonly expr: ast.Expr & { kind: "call" };
  /** Dims in brackets: `softmax[S](...)`. */
  readonly dims: readonly ast.TypeDim[] | undefined;
  readonly args: readonly ast.Arg[];
  /** The first argument, where it is evaluated already: `x.top(K)`. */
  readonly first?: Meaning;
  readonly scope: Scope;
  readonly expected: Expected | undefined;
}

/** A built-in: what it takes, for messages and help, and what it means. */
export interface Builtin {
  /** `softmax[S](x, where: mask)`. */
  readonly usage: string;
  /** Names of the arguments; those after `;` may be left out. */
  readonly params: readonly string[];
  readonly optional?: readonly string[];
  /** How many dims stand in brackets: none when absent. */
  readonly dims?: readonly [number, number];
  /** Any number of arguments may follow by place. */
  readonly many?: boolean;
  /** Arguments that have a form of their own, no value: `N | R`, `top_sum(2)`. */
  readonly forms?: readonly string[];
  readonly make: (c: Checker, call: Bound) => Meaning;
}

/** A call with its arguments matched to names. */
export interface Bound extends Omit<Call, "dims" | "args"> {
  readonly name: string;
  readonly dims: readonly Dim[];
  readonly dimExprs: readonly ast.TypeDim[];
  readonly args: ReadonlyMap<string, ast.Expr>;
  readonly all: readonly ast.Expr[];
  readonly at: Span;
}

/** Matches a call with what the built-in takes. Undefined after an error. */
export function bindCall(c: Checker, name: string, builtin: Builtin, call: Call): Bound | undefined {
  const { expr, scope } = call;
  const fail = (at: Span, why: string): undefined => {
    c.fail("DSK1304", at, { callee: name, why }, { help: `\`${builtin.usage}\`` });
    return undefined;
  };
  const [least, most] = builtin.dims ?? [0, 0];
  const count = call.dims?.length ?? 0;
  if (count < least) return fail(expr.span, most === 1 ? "needs its dim in brackets" : "needs its dims in brackets");
  if (count > most)
    return fail(
      expr.span,
      most === 0 ? "takes no dims in brackets" : `takes ${most} dim${most === 1 ? "" : "s"} in brackets`,
    );
  const dims: Dim[] = [];
  let sound = true;
  for (const dim of call.dims ?? []) {
    if (dim.kind === "rest") dims.push(...(scope.rest ?? []));
    else {
      const found = checkDim(c, dim.value, scope);
      if (found === undefined) sound = false;
      else if (dims.includes(found)) return fail(dim.span, `is given ${found.label} twice`);
      else dims.push(found);
    }
  }
  if (!sound) return undefined;
  const names = [...builtin.params, ...(builtin.optional ?? [])];
  const args = new Map<string, ast.Expr>();
  for (const [i, arg] of call.args.entries()) {
    const key = arg.name?.text ?? names[i] ?? (builtin.many === true ? `${i}` : undefined);
    if (key === undefined)
      return fail(arg.span, `takes ${names.length} argument${names.length === 1 ? "" : "s"}, this is number ${i + 1}`);
    if (arg.name !== undefined && !names.includes(key)) return fail(arg.span, `has no argument \`${key}\``);
    if (args.has(key)) return fail(arg.span, `is given \`${key}\` twice`);
    args.set(key, arg.value);
  }
  const missing = builtin.params.find((p) => !args.has(p));
  if (missing !== undefined) return fail(expr.span, `needs \`${missing}\``);
  const { first, expected } = call;
  return {
    name,
    expr,
    scope,
    expected,
    dims,
    dimExprs: call.dims ?? [],
    args,
    all: call.args.map((a) => a.value),
    at: expr.span,
    ...(first === undefined ? {} : { first }),
  };
}

/** The meaning of an argument. */
export function argument(c: Checker, call: Bound, name: string, expected?: Expected): Meaning {
  const expr = call.args.get(name)!;
  if (call.first !== undefined && expr === call.all[0]) return call.first;
  return c.check(expr, call.scope, expected);
}

/** A tensor argument; numbers become scalars. Undefined after an error. */
export function tensor(c: Checker, call: Bound, name: string, expected?: Expected): Tensor | undefined {
  const value = argument(c, call, name, expected);
  if (value.kind === "error") return undefined;
  const { span } = call.args.get(name)!;
  if (call.scope.builder === undefined) {
    c.fail("DSK1306", span, { what: "a tensor" });
    return undefined;
  }
  return toTensor(c, value, span, call.scope);
}

/** A tensor argument as floats. */
export function floats(c: Checker, call: Bound, name: string, expected?: Expected): Tensor | undefined {
  const found = tensor(c, call, name, expected);
  if (found === undefined) return undefined;
  if (dtypeOf(found) !== "bool") return float(call.scope, found);
  c.fail("DSK1301", call.args.get(name)!.span, { expected: "numbers", found: "bool" });
  return undefined;
}

export function bools(c: Checker, call: Bound, name: string, expected?: Expected): Tensor | undefined {
  const found = tensor(c, call, name, expected);
  if (found === undefined || dtypeOf(found) === "bool") return found;
  c.fail("DSK1301", call.args.get(name)!.span, { expected: "bool", found: dtypeOf(found) });
  return undefined;
}

/** Indices that point into a dim: what `top` gives. */
export function indices(c: Checker, call: Bound, name: string): (Tensor & { readonly into: Dim }) | undefined {
  const found = tensor(c, call, name);
  if (found === undefined) return undefined;
  if (found.into !== undefined && dtypeOf(found) === "i32") return { ...found, into: found.into };
  c.fail("DSK1303", call.args.get(name)!.span, { expected: "indices, as `top` gives them", found: describe(found) });
  return undefined;
}

/** A compile-time number. `value` is undefined where a block is checked on its own. */
export function number(c: Checker, call: Bound, name: string): { readonly value: number | undefined } | undefined {
  const value = argument(c, call, name);
  if (value.kind === "error") return undefined;
  const found = numberOf(value);
  if (found === undefined) {
    const { span } = call.args.get(name)!;
    if (value.kind === "tensor") c.fail("DSK1306", span, { what: `\`${name}\`` });
    else c.fail("DSK1303", span, { expected: "a number", found: describe(value) });
  }
  return found;
}

/** A compile-time boolean. */
export function flag(c: Checker, call: Bound, name: string): { readonly value: boolean | undefined } | undefined {
  const value = argument(c, call, name);
  if (value.kind === "error") return undefined;
  if (value.kind === "bool") return value;
  const { span } = call.args.get(name)!;
  if (value.kind === "tensor")
    c.fail("DSK1306", span, { what: `\`${name}\`` }, { help: "`where(mask, a, b)` chooses by element, at run time" });
  else c.fail("DSK1303", span, { expected: "`true` or `false`", found: describe(value) });
  return undefined;
}

/** True if the tensor has the dim; else says so. */
export function hasDim(c: Checker, t: Tensor, dim: Dim, at: Span): boolean {
  if (t.dims.includes(dim)) return true;
  c.fail("DSK1207", at, { dim: dim.label, dims: dimsText(t.dims) });
  return false;
}

export function wrong(c: Checker, call: Bound, at: Span, why: string, help?: string): Meaning {
  c.fail("DSK1304", at, { callee: call.name, why }, help === undefined ? {} : { help });
  return ERROR;
}

import { closest } from "../../compiler/diagnostics/did-you-mean.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "../syntax/ast.ts";
import { BUILTINS, callBuiltin } from "./builtins/index.ts";
import type { Argument, Checker, Expected, Scope, Target } from "./checker.ts";
import { cast, dtypeOf, emit } from "./emit.ts";
import { dimsText } from "./dims.ts";
import { isDType, lookup, unknownName } from "./lookup.ts";
import { isStatic } from "./numbers.ts";
import { toTensor } from "./operands.ts";
import { keyed, withArguments } from "./templates.ts";
import { describe, ERROR, type Meaning, type Tensor } from "./values.ts";

type Call = ast.Expr & { kind: "call" };

/** A call: a built-in, a function of the block, a use, a method, or a block with its arguments. */
export function checkCall(c: Checker, expr: Call, scope: Scope, expected: Expected | undefined): Meaning {
  const result = meaningOf(c, expr, scope, expected);
  if (result.kind === "error") checkRest(c, expr, scope);
  return result;
}

function meaningOf(c: Checker, expr: Call, scope: Scope, expected: Expected | undefined): Meaning {
  const { callee } = expr;
  if (callee.kind === "name") return callName(c, expr, callee.name, scope, expected);
  if (callee.kind === "index" && callee.object.kind === "name" && isBuiltin(c, callee.object.name, scope)) {
    return callBuiltin(c, callee.object.name, { expr, dims: callee.dims, args: expr.args, scope, expected });
  }
  if (callee.kind === "member") return callMember(c, expr, callee, scope, expected);
  return callMeaning(c, expr, c.check(callee, scope), scope);
}

function isBuiltin(c: Checker, name: string, scope: Scope): boolean {
  return Object.hasOwn(BUILTINS, name) && lookup(c, name, scope) === undefined;
}

function callName(c: Checker, expr: Call, name: string, scope: Scope, expected: Expected | undefined): Meaning {
  const meaning = lookup(c, name, scope);
  if (meaning !== undefined) return callMeaning(c, expr, meaning, scope);
  if (Object.hasOwn(BUILTINS, name))
    return callBuiltin(c, name, { expr, dims: undefined, args: expr.args, scope, expected });
  if (isDType(name)) return convert(c, expr, name, scope, expected);
  return unknownName(c, name, expr.callee.span, scope, Object.keys(BUILTINS));
}

/** Looks at arguments of a call that cannot be made, for their own errors. */
function checkRest(c: Checker, { callee, args }: Call, scope: Scope): void {
  const target = callee.kind === "index" ? callee.object : callee;
  const name = target.kind === "member" ? target.name.text : target.kind === "name" ? target.name : "";
  const builtin = Object.hasOwn(BUILTINS, name) ? BUILTINS[name] : undefined;
  const first = target.kind === "member" ? 1 : 0;
  const values = args.filter((arg, i) => {
    const param = arg.name?.text ?? builtin?.params[first + i];
    return param === undefined || builtin?.forms?.includes(param) !== true;
  });
  c.checkRest(
    values.map(({ value }) => value),
    scope,
  );
}

function callMeaning(c: Checker, expr: Call, callee: Meaning, scope: Scope): Meaning {
  switch (callee.kind) {
    case "error":
      return ERROR;
    case "fn":
      return c.rules.callFn(
        c,
        { instance: scope.instance, use: "", fn: callee.name },
        argumentsOf(c, expr.args, scope),
        scope,
        expr.span,
      );
    case "use":
      return callUse(c, expr, callee.name, callee.fn, scope);
    case "block":
      return withArguments(c, callee, expr.args, scope, expr.span);
    case "cache":
      return c.fail(
        "DSK1305",
        expr.callee.span,
        { found: describe(callee) },
        { help: `\`${callee.name}.append(...)\` keeps rows and gives all of them` },
      );
    default:
      return c.fail("DSK1305", expr.callee.span, { found: describe(callee) });
  }
}

function argumentsOf(c: Checker, args: readonly ast.Arg[], scope: Scope): Argument[] {
  return args.map((arg) => ({
    ...(arg.name === undefined ? {} : { name: arg.name }),
    span: arg.value.span,
    evaluate: (expected) => c.check(arg.value, scope, expected),
  }));
}

/** Calls the function that stands for a use, or a named one of it. */
function callUse(c: Checker, expr: Call, name: string, fn: string | undefined, scope: Scope, fnAt?: Span): Meaning {
  const use = scope.instance.uses.get(name);
  const args = argumentsOf(c, expr.args, scope);
  switch (use?.kind) {
    case "block":
      return c.rules.callFn(
        c,
        { instance: use.instance, use: name, fn: fn ?? use.fn, fnAt, over: use.over },
        args,
        scope,
        expr.span,
      );
    case "alias":
      return callUse(c, expr, use.of, fn ?? use.fn, scope, fnAt);
    case "stack":
      return callStack(c, name, use.layers, fn, args, scope, expr.span);
    case "ahead":
      return c.fail(
        "DSK1305",
        expr.callee.span,
        { found: `\`${name}\`` },
        { help: "`predict_ahead` runs by itself, while training and as a draft" },
      );
    default:
      return ERROR;
  }
}

type Layers = readonly { readonly count: number; readonly instance: Target["instance"] }[];

/** Runs of equal layers, one call each; the first argument goes through all of them. */
function callStack(
  c: Checker,
  use: string,
  layers: Layers,
  fn: string | undefined,
  args: readonly Argument[],
  scope: Scope,
  at: Span,
): Meaning {
  if (fn !== undefined) return c.fail("DSK1006", at, { object: `the stack \`${use}\``, name: fn });
  const [through, ...others] = args.map((arg) => once(arg));
  if (through === undefined) return c.fail("DSK1304", at, { callee: use, why: "needs what goes through the layers" });
  const value = through.evaluate();
  let flowing = value.kind === "error" ? undefined : toTensor(c, value, through.span, scope);
  let first = 0;
  if (flowing === undefined) {
    // The layers are looked at all the same, and give what they declare.
    const results = layers.map(({ count, instance }) => {
      const target: Target = { instance, use, fn: "forward", layers: { first: 0, count } };
      return c.rules.callFn(c, target, [{ ...through, evaluate: () => ERROR }, ...others], scope, at);
    });
    return results.at(-1) ?? ERROR;
  }
  let lost = false;
  for (const { count, instance } of layers) {
    const now: Tensor = cast(scope, flowing, c.dtype);
    const target: Target = { instance, use, fn: "forward", layers: { first, count } };
    const result = c.rules.callFn(c, target, [{ ...through, evaluate: () => now }, ...others], scope, at);
    first += count;
    lost ||= result.kind === "error";
    // After an error the other layers are still looked at, with what this one was given.
    if (result.kind === "tensor" && sameType(result, now)) flowing = result;
    else if (result.kind !== "error") {
      c.fail(
        "DSK1206",
        at,
        { expected: now.dims.map((d) => d.label).join(", "), found: describe(result) },
        { help: "a layer of a stack gives what it takes" },
      );
    }
  }
  // What does not fit into a layer does not come out of it either.
  return lost ? ERROR : flowing;
}

function sameType(a: Tensor, b: Tensor): boolean {
  return dtypeOf(a) === dtypeOf(b) && a.dims.length === b.dims.length && a.dims.every((d, i) => d === b.dims[i]);
}

/** An argument that is evaluated by its first reader. */
function once(arg: Argument): Argument {
  let value: Meaning | undefined;
  return { ...arg, evaluate: (expected) => (value ??= arg.evaluate(expected)) };
}

/** `object.name(...)`: a function of a use, a row kept in a cache, or a built-in with the object as first argument. */
function callMember(
  c: Checker,
  expr: Call,
  callee: ast.Expr & { kind: "member" },
  scope: Scope,
  expected: Expected | undefined,
): Meaning {
  const object = c.check(callee.object, scope);
  const name = callee.name.text;
  switch (object.kind) {
    case "error":
      return ERROR;
    case "use":
      return callUse(c, expr, object.name, name, scope, callee.name.span);
    case "cache":
      return append(c, expr, callee, object, scope);
    case "block":
      return withArguments(c, keyed({ ...object, fn: name, fnAt: callee.name.span }), expr.args, scope, expr.span);
    default:
      if (object.kind === "tensor" || isStatic(object)) {
        if (isBuiltin(c, name, scope)) {
          return callBuiltin(c, name, {
            expr,
            dims: undefined,
            args: [{ value: callee.object, span: callee.object.span }, ...expr.args],
            first: object,
            scope,
            expected,
          });
        }
      }
      return unknownMember(c, describe(object), callee.name, Object.keys(BUILTINS));
  }
}

export function unknownMember(c: Checker, object: string, name: ast.Name, candidates: readonly string[]): Meaning {
  const near = closest(name.text, candidates);
  return c.fail(
    "DSK1006",
    name.span,
    { object, name: name.text },
    near.length > 0 ? { help: `did you mean ${near.map((n) => `\`${n}\``).join(" or ")}?` } : {},
  );
}

/** `cache.append(rows)`: T turns to S, all rows kept so far. */
function append(
  c: Checker,
  expr: Call,
  callee: ast.Expr & { kind: "member" },
  cache: Meaning & { kind: "cache" },
  scope: Scope,
): Meaning {
  if (callee.name.text !== "append") return unknownMember(c, describe(cache), callee.name, ["append"]);
  const arg = expr.args[0];
  if (arg === undefined || expr.args.length > 1)
    return c.fail("DSK1304", expr.span, { callee: `${cache.name}.append`, why: "takes the rows of this call" });
  const { tokens, positions } = c.space;
  const value = c.check(arg.value, scope, { dims: [tokens, ...cache.dims], exact: true });
  const rows = toTensor(c, value, arg.span, scope);
  if (rows === undefined || scope.builder === undefined) return ERROR;
  const wanted = [tokens, ...cache.dims];
  if (rows.dims.length !== wanted.length || !wanted.every((d) => rows.dims.includes(d))) {
    return c.fail(
      "DSK1206",
      arg.span,
      { expected: wanted.map((d) => d.label).join(", "), found: rows.dims.map((d) => d.label).join(", ") },
      {
        label: `has ${dimsText(rows.dims)}`,
      },
    );
  }
  const attrs = { cache: cache.name, at: positions.label, from: tokens.label };
  return emit(
    scope,
    "cache.append",
    [cast(scope, rows, cache.dtype)],
    cache.dtype,
    rows.dims.map((d) => (d === tokens ? positions : d)),
    attrs,
  );
}

/** `f32(x)`. */
function convert(
  c: Checker,
  expr: Call,
  dtype: Tensor["value"]["type"]["dtype"],
  scope: Scope,
  expected: Expected | undefined,
): Meaning {
  const arg = expr.args[0];
  if (arg === undefined || expr.args.length > 1)
    return c.fail("DSK1304", expr.span, { callee: dtype, why: "takes one tensor" });
  const value = c.check(arg.value, scope, expected);
  if (value.kind === "error") return ERROR;
  if (scope.builder === undefined) return c.fail("DSK1306", expr.span, { what: "a tensor" });
  const tensor = toTensor(c, value, arg.span, scope, dtype);
  return tensor === undefined ? ERROR : cast(scope, tensor, dtype);
}

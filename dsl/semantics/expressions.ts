import type * as ast from "../syntax/ast.ts";
import { BUILTINS } from "./builtins/index.ts";
import { checkCall, unknownMember } from "./calls.ts";
import type { Checker, Expected, Scope } from "./checker.ts";
import { lookup, read, unknownName } from "./lookup.ts";
import { checkBinary, checkUnary } from "./operators.ts";
import { keyed, withDims } from "./templates.ts";
import { describe, ERROR, num, type Meaning } from "./values.ts";

/** What an expression means. In functions tensor code is appended to the scope's builder. */
export function checkExpr(c: Checker, expr: ast.Expr, scope: Scope, expected: Expected | undefined): Meaning {
  switch (expr.kind) {
    case "quantity":
      return checkQuantity(c, expr);
    case "string":
      return { kind: "string", value: expr.value };
    case "name":
      return checkName(c, expr, scope);
    case "binary":
      return checkBinary(c, expr, scope, expected);
    case "unary":
      return checkUnary(c, expr, scope, expected);
    case "member":
      return checkMember(c, expr, scope);
    case "index":
      return checkIndex(c, expr, scope);
    case "call":
      return c.rules.call(c, expr, scope, expected);
    case "paren":
      return c.check(expr.inner, scope, expected);
    case "tuple":
    case "list": {
      const items = expr.items.map((item) => c.check(item, scope));
      return items.some((m) => m.kind === "error") ? ERROR : { kind: expr.kind, items };
    }
    case "schedule":
      return c.fail(
        "DSK1309",
        expr.span,
        { what: "a schedule", where: "a model" },
        { help: "schedules belong to a `train` section" },
      );
    case "stack":
      return c.fail(
        "DSK1309",
        expr.span,
        { what: "`stack`", where: "an expression" },
        { help: "place it: `use trunk = stack { ... }`" },
      );
    case "error":
      c.failed = true;
      return ERROR;
  }
}

/** `30%` is 0.3; other units mean nothing inside a model. */
function checkQuantity(c: Checker, expr: ast.Quantity): Meaning {
  if (expr.unit === "%") return num(expr.value / 100);
  if (expr.unit === undefined) return num(expr.value);
  return c.fail("DSK1311", expr.span, { unit: expr.unit });
}

function checkName(c: Checker, expr: ast.Expr & { kind: "name" }, scope: Scope): Meaning {
  const meaning = lookup(c, expr.name, scope);
  if (meaning === undefined) {
    if (Object.hasOwn(BUILTINS, expr.name)) {
      return c.fail(
        "DSK1303",
        expr.span,
        { expected: "a value", found: `the function \`${expr.name}\`` },
        { help: `call it: \`${expr.name}(...)\`` },
      );
    }
    return unknownName(c, expr.name, expr.span, scope);
  }
  return meaning;
}

/** `name.member`: a function of a use or block, a value of the train section, a path such as `std.hf.deepseek`. */
function checkMember(c: Checker, expr: ast.Expr & { kind: "member" }, scope: Scope): Meaning {
  const object = c.check(expr.object, scope);
  const { name } = expr;
  switch (object.kind) {
    case "error":
      return ERROR;
    case "block":
      return keyed({ ...object, fn: name.text, fnAt: name.span });
    case "use":
      return { kind: "use", name: object.name, fn: name.text };
    case "path":
      if (object.parts[0] === "train" && object.parts.length === 1) return trainValue(c, expr, scope);
      return { kind: "path", parts: [...object.parts, name.text] };
    default:
      return unknownMember(c, describe(object), name, object.kind === "cache" ? ["append"] : []);
  }
}

/** `train.balance_rate`: a number of the train section, possibly a schedule, read in `on step`. */
function trainValue(c: Checker, expr: ast.Expr & { kind: "member" }, scope: Scope): Meaning {
  const name = expr.name.text;
  if (scope.event === undefined)
    return c.fail(
      "DSK1309",
      expr.span,
      { what: `\`train.${name}\``, where: "a function" },
      { help: "values of the train section are read in `on step`" },
    );
  if (!c.trainNames.has(name)) c.trainNames.set(name, expr.span);
  return read(scope, "program.input", `train.${name}`, { dtype: "f32", dims: [] }, []) ?? ERROR;
}

function checkIndex(c: Checker, expr: ast.Expr & { kind: "index" }, scope: Scope): Meaning {
  if (
    expr.object.kind === "name" &&
    lookup(c, expr.object.name, scope) === undefined &&
    Object.hasOwn(BUILTINS, expr.object.name)
  ) {
    return builtinIndex(c, expr, expr.object.name, scope);
  }
  const object = c.check(expr.object, scope);
  if (object.kind === "error") return ERROR;
  if (object.kind === "block") return withDims(c, object, expr.dims, scope, expr.span);
  return c.fail(
    "DSK1303",
    expr.span,
    { expected: "a block or a function", found: describe(object) },
    object.kind === "tensor"
      ? { help: "tensors are not indexed by place: `at[K](x, 0)`, `gather(x, index)` and `split` pick parts" }
      : {},
  );
}

/** `iota[P]` is complete without parentheses; every other function is called. */
function builtinIndex(c: Checker, expr: ast.Expr & { kind: "index" }, name: string, scope: Scope): Meaning {
  if (name === "iota") return checkCall(c, { kind: "call", callee: expr, args: [], span: expr.span }, scope, undefined);
  return c.fail(
    "DSK1303",
    expr.span,
    { expected: "a value", found: `the function \`${name}\`` },
    { help: `call it: \`${name}[...](...)\`` },
  );
}

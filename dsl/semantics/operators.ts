import type * as ast from "../syntax/ast.ts";
import { type Checker, type Expected, LOST, type Scope } from "./checker.ts";
import { contract } from "./contraction.ts";
import { union } from "./dims.ts";
import { dtypeOf, elementwise, emit } from "./emit.ts";
import { isStatic, numberOf, staticBinary } from "./numbers.ts";
import { contracts, toTensors } from "./operands.ts";
import { describe, ERROR, num, type Meaning, type Tensor } from "./values.ts";

type Binary = ast.Expr & { kind: "binary" };

const OPS: Readonly<Record<Exclude<ast.BinaryOp, "@">, string>> = {
  "+": "math.add",
  "-": "math.sub",
  "*": "math.mul",
  "/": "math.div",
  "^": "math.pow",
  "<": "math.lt",
  "<=": "math.le",
  ">": "math.gt",
  ">=": "math.ge",
  "==": "math.eq",
  "!=": "math.ne",
  "&": "math.and",
  "|": "math.or",
};

/** Elementwise operators and `@`. */
export function checkBinary(c: Checker, expr: Binary, scope: Scope, expected: Expected | undefined): Meaning {
  const { op } = expr;
  if (op === "@") return contract(c, expr, scope, expected);
  const [left, right] = neighbors(c, expr.left, expr.right, scope, expected);
  if (left.kind === "error" || right.kind === "error") return ERROR;
  if (isStatic(left) && isStatic(right)) return staticBinary(c, expr, left, right);
  const pair = toTensors(c, [left, right], [expr.left, expr.right], scope);
  if (pair === undefined) return ERROR;
  const [a, b] = pair as [Tensor, Tensor];
  const wanted = op === "&" || op === "|" ? "bool" : op === "==" || op === "!=" ? undefined : "number";
  const wrong = [a, b].findIndex((t) =>
    wanted === "bool" ? dtypeOf(t) !== "bool" : wanted === "number" && dtypeOf(t) === "bool",
  );
  if (wrong >= 0)
    return wrongOperand(c, [expr.left, expr.right][wrong]!, wanted === "bool" ? "bool" : "numbers", [a, b][wrong]!);
  if ((dtypeOf(a) === "bool") !== (dtypeOf(b) === "bool")) return wrongOperand(c, expr.right, dtypeOf(a), b);
  return elementwise(scope, OPS[op], a, b);
}

function wrongOperand(c: Checker, at: ast.Expr, expected: string, found: Tensor): Meaning {
  return c.fail("DSK1301", at.span, { expected, found: dtypeOf(found) });
}

/**
 * Checks two expressions that are joined elementwise. One that is no contraction comes first: its dims tell the other one
 * what to keep, unless the context tells it exactly.
 */
export function neighbors(
  c: Checker,
  left: ast.Expr,
  right: ast.Expr,
  scope: Scope,
  expected: Expected | undefined,
): [Meaning, Meaning] {
  const beside = (other: Meaning): Expected | undefined => {
    if (expected?.exact === true) return expected;
    if (other.kind === "error") return LOST;
    if (other.kind !== "tensor") return expected;
    return { dims: union(other.dims, expected?.dims ?? []), exact: false, lost: expected?.lost ?? false };
  };
  if (contracts(left) && !contracts(right)) {
    const second = c.check(right, scope, expected);
    return [c.check(left, scope, beside(second)), second];
  }
  const first = c.check(left, scope, expected);
  return [first, c.check(right, scope, contracts(right) && !contracts(left) ? beside(first) : expected)];
}

export function checkUnary(
  c: Checker,
  expr: ast.Expr & { kind: "unary" },
  scope: Scope,
  expected: Expected | undefined,
): Meaning {
  const value = c.check(expr.operand, scope, expected);
  if (value.kind === "error") return ERROR;
  const number = numberOf(value);
  if (number !== undefined) {
    if (expr.op === "+") return value;
    return num(number.value === undefined ? undefined : -number.value);
  }
  if (value.kind !== "tensor")
    return c.fail("DSK1303", expr.operand.span, { expected: "a number or a tensor", found: describe(value) });
  if (dtypeOf(value) === "bool") return wrongOperand(c, expr.operand, "numbers", value);
  if (expr.op === "+") return value;
  return {
    ...emit(scope, "math.neg", [value], dtypeOf(value), value.dims),
    ...(value.routed === undefined ? {} : { routed: value.routed }),
  };
}

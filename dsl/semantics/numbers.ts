import type * as ast from "../syntax/ast.ts";
import type { Checker } from "./checker.ts";
import { addLinear, sizeOf, type Linear } from "./dims.ts";
import { describe, num, type Meaning, type Num } from "./values.ts";

/** The number that a compile-time value is: a number itself, or the size of a dim. */
export function numberOf(meaning: Meaning): Num | undefined {
  if (meaning.kind === "number") return meaning;
  if (meaning.kind === "dim") return num(sizeOf(meaning.linear));
  return undefined;
}

export function isStatic(meaning: Meaning): boolean {
  return meaning.kind === "number" || meaning.kind === "dim" || meaning.kind === "bool" || meaning.kind === "string";
}

/** True for a dim that is only known when the program runs. */
export function isRunTime(meaning: Meaning): boolean {
  return meaning.kind === "dim" && meaning.linear.terms.some((t) => t.dim.size === null);
}

/** Arithmetic and comparisons on compile-time values. Sums of dims stay dims; everything else is a number. */
export function staticBinary(c: Checker, expr: ast.Expr & { kind: "binary" }, a: Meaning, b: Meaning): Meaning {
  const { op } = expr;
  if (op === "&" || op === "|") {
    if (a.kind !== "bool" || b.kind !== "bool") {
      const [wrong, at] = a.kind === "bool" ? [b, expr.right] : [a, expr.left];
      return c.fail("DSK1303", at.span, { expected: "a boolean", found: describe(wrong) });
    }
    if (a.value === undefined || b.value === undefined) return { kind: "bool", value: undefined };
    return { kind: "bool", value: op === "&" ? a.value && b.value : a.value || b.value };
  }
  if ((op === "==" || op === "!=") && (a.kind === "bool" || a.kind === "string") && a.kind === b.kind) {
    const same = a.value === undefined || b.value === undefined ? undefined : a.value === b.value;
    return { kind: "bool", value: same === undefined ? undefined : same === (op === "==") };
  }
  const linear = dimArithmetic(op, a, b);
  if (linear !== undefined) return { kind: "dim", linear };
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x === undefined) return c.fail("DSK1303", expr.left.span, { expected: "a number", found: describe(a) });
  if (y === undefined) return c.fail("DSK1303", expr.right.span, { expected: "a number", found: describe(b) });
  for (const [meaning, at] of [
    [a, expr.left],
    [b, expr.right],
  ] as const) {
    if (isRunTime(meaning)) {
      return c.fail(
        "DSK1306",
        at.span,
        { what: `the size of ${describeDim(meaning)}` },
        {
          help: `\`size[${describeDim(meaning)}]()\` is the number at run time, as a tensor`,
        },
      );
    }
  }
  return apply(op, x.value, y.value);
}

function describeDim(meaning: Meaning): string {
  return meaning.kind === "dim" ? meaning.linear.terms.map((t) => t.dim.label).join(" + ") : "";
}

function apply(op: ast.BinaryOp, x: number | undefined, y: number | undefined): Meaning {
  const comparison = op === "<" || op === "<=" || op === ">" || op === ">=" || op === "==" || op === "!=";
  if (x === undefined || y === undefined) return comparison ? { kind: "bool", value: undefined } : num(undefined);
  switch (op) {
    case "+":
      return num(x + y);
    case "-":
      return num(x - y);
    case "*":
      return num(x * y);
    case "/":
      return num(x / y);
    case "^":
      return num(x ** y);
    case "<":
      return { kind: "bool", value: x < y };
    case "<=":
      return { kind: "bool", value: x <= y };
    case ">":
      return { kind: "bool", value: x > y };
    case ">=":
      return { kind: "bool", value: x >= y };
    case "==":
      return { kind: "bool", value: x === y };
    case "!=":
      return { kind: "bool", value: x !== y };
    default:
      throw new Error(`${op} is not an operator on numbers`);
  }
}

/** `N + R`, `I - R`, `2 * D`: still a dim, since a tensor may have it. */
function dimArithmetic(op: ast.BinaryOp, a: Meaning, b: Meaning): Linear | undefined {
  if (op === "+" || op === "-") {
    if (a.kind !== "dim" || b.kind !== "dim") return undefined;
    return addLinear(a.linear, b.linear, op === "+" ? 1 : -1);
  }
  if (op !== "*") return undefined;
  const [dim, factor] = a.kind === "dim" ? [a, b] : [b, a];
  if (dim.kind !== "dim" || factor.kind !== "number" || factor.value === undefined) return undefined;
  const by = factor.value;
  return { terms: dim.linear.terms.map((t) => ({ ...t, factor: t.factor * by })), constant: dim.linear.constant * by };
}

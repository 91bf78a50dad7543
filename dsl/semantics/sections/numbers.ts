/** Numbers in sections: arithmetic on constants, units and ranges. */
import type * as ast from "../../syntax/ast.ts";
import type { UnitKind } from "../../syntax/units.ts";
import type { Context } from "./context.ts";
import { typeText, type NumberType, type Type, type Value } from "./types.ts";
import { amountOf, exampleUnit, isCounted, measureText, type Amount } from "./units.ts";

export type Numeric = NumberType | (Type & { readonly kind: "quantity" });

/**
 * The amount of a constant expression; undefined for anything else. Sums join equal units, products take the unit of one
 * side.
 */
export function constant(expr: ast.Expr): Amount | undefined {
  switch (expr.kind) {
    case "quantity":
      return amountOf(expr);
    case "paren":
      return constant(expr.inner);
    case "unary": {
      const inner = constant(expr.operand);
      return inner === undefined || expr.op === "+" ? inner : { ...inner, value: -inner.value };
    }
    case "binary": {
      const [left, right] = [constant(expr.left), constant(expr.right)];
      return left === undefined || right === undefined ? undefined : combine(expr.op, left, right);
    }
    default:
      return undefined;
  }
}

function combine(op: ast.BinaryOp, a: Amount, b: Amount): Amount | undefined {
  switch (op) {
    case "+":
    case "-":
      if (a.measure !== b.measure) return undefined;
      return { value: op === "+" ? a.value + b.value : a.value - b.value, measure: a.measure };
    case "*":
      if (a.measure !== undefined && b.measure !== undefined) return undefined;
      return { value: a.value * b.value, measure: a.measure ?? b.measure };
    case "/":
      return b.measure === undefined ? { value: a.value / b.value, measure: a.measure } : undefined;
    case "^":
      return a.measure === undefined && b.measure === undefined
        ? { value: a.value ** b.value, measure: undefined }
        : undefined;
    default:
      return undefined;
  }
}

/** True for an expression that can only mean a number, be it a wrong one. */
export function isNumeric(expr: ast.Expr): boolean {
  if (expr.kind === "paren") return isNumeric(expr.inner);
  return expr.kind === "quantity" || (expr.kind === "unary" && isNumeric(expr.operand)) || constant(expr) !== undefined;
}

/** True when the unit is one that the type takes. Sequences are what steps are counted in, so they may go without. */
export function unitFits(measure: UnitKind | undefined, type: Numeric): boolean {
  if (type.kind === "quantity")
    return measure === type.measure || (measure === undefined && type.measure === "sequences");
  return measure === undefined || (measure === "ratio" && type.name === "fraction");
}

export function amountText({ measure }: Amount): string {
  if (measure === undefined) return "a number without a unit";
  return measureText(measure);
}

/** Checks unit and range of a number against one type, or against those of a union. */
export function checkNumber(c: Context, expr: ast.Expr, types: readonly Numeric[]): Value {
  const { span } = expr;
  const failed: Value = { kind: "error", span };
  const written = span.file.text.slice(span.start, span.end);
  const amount = constant(expr);
  const expected = typeText(types.length === 1 ? types[0]! : { kind: "union", of: types });
  if (amount === undefined) {
    c.diagnostics.report("DSK6010", span, { expected, found: "numbers that cannot be combined" });
    return failed;
  }
  const type = types.find((candidate) => unitFits(amount.measure, candidate));
  if (type === undefined) {
    const wanted = types.find((candidate) => candidate.kind === "quantity");
    const text = `${written} ${wanted === undefined ? "" : exampleUnit(wanted.measure)}`;
    const fix = { title: `write \`${text}\``, span, text };
    const bare = amount.measure === undefined && expr.kind === "quantity";
    c.diagnostics.report("DSK6011", span, { expected, found: amountText(amount) }, bare ? { fix } : {});
    return failed;
  }
  const { value } = amount;
  if (!inRange(value, type)) {
    c.diagnostics.report("DSK6012", span, { value: `\`${written}\``, expected: rangeText(type) });
    return failed;
  }
  return { kind: "number", value, ...(type.kind === "quantity" ? { measure: type.measure } : {}), span };
}

export function isWhole(value: number): boolean {
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER && Math.abs(value - Math.round(value)) <= 1e-9 * Math.abs(value);
}

function inRange(value: number, type: Numeric): boolean {
  if (!Number.isFinite(value)) return false;
  if (type.kind === "quantity") return value > 0 && (!isCounted(type.measure) || isWhole(value));
  if (type.whole && !isWhole(value)) return false;
  return value <= type.most && (type.open ? value > type.least : value >= type.least);
}

function rangeText(type: Numeric): string {
  if (type.kind === "number") return typeText(type);
  return isCounted(type.measure) ? `a whole number of ${type.measure} from 1 on` : "a positive number";
}

import { isFact } from "../../compiler/model-ir/fact-names.ts";
import type { Expectation, FactExpr } from "../../compiler/model-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import { bodyScope, type Checker } from "./checker.ts";
import type { Instance, Level } from "./instance.ts";
import { lookup } from "./lookup.ts";
import { numberOf } from "./numbers.ts";

/**
 * The `expect`s of a model, those of the models it extends left out: other dims give other facts. One that means nothing is
 * reported and left out; the model itself is sound.
 */
export function expectations(c: Checker, instance: Instance): Expectation[] {
  const level = instance.levels[0]!;
  const found: Expectation[] = [];
  for (const item of level.decl.items) {
    if (item.kind !== "expect") continue;
    const within = relative(c, item.within);
    const [left, right] = [factExpr(c, item.left, instance, level), factExpr(c, item.right, instance, level)];
    if (left === undefined || right === undefined || within === undefined) continue;
    found.push({ left, right, text: textOf(item.left), within, span: item.span });
  }
  return found;
}

/** `0.1%` and `0.001` are the same. */
function relative(c: Checker, within: ast.Quantity | undefined): number | undefined {
  return within === undefined ? 0 : plain(c, within);
}

/** A number without a unit, or a percentage. */
function plain(c: Checker, { value, unit, span }: ast.Quantity): number | undefined {
  if (unit === undefined) return value;
  if (unit === "%") return value / 100;
  c.diagnostics.report("DSK1311", span, { unit });
  return undefined;
}

function textOf(expr: ast.Expr): string {
  return expr.span.file.text.slice(expr.span.start, expr.span.end);
}

function fact(c: Checker, name: string, { span }: ast.Expr): FactExpr | undefined {
  return isFact(name, span, c.diagnostics) ? { kind: "fact", name, span } : undefined;
}

/** Numbers, dims of the model, facts such as `params.total`, and arithmetic on them. */
function factExpr(c: Checker, expr: ast.Expr, instance: Instance, level: Level): FactExpr | undefined {
  switch (expr.kind) {
    case "paren":
      return factExpr(c, expr.inner, instance, level);
    case "quantity": {
      const value = plain(c, expr);
      return value === undefined ? undefined : { kind: "number", value };
    }
    case "binary": {
      const { op } = expr;
      if (op !== "+" && op !== "-" && op !== "*" && op !== "/") break;
      const [left, right] = [factExpr(c, expr.left, instance, level), factExpr(c, expr.right, instance, level)];
      return left === undefined || right === undefined ? undefined : { kind: "binary", op, left, right };
    }
    case "name": {
      const value = lookup(c, expr.name, bodyScope(instance, level));
      const number = value === undefined ? undefined : numberOf(value)?.value;
      if (number !== undefined) return { kind: "number", value: number };
      return value?.kind === "error" ? undefined : fact(c, expr.name, expr);
    }
    case "member":
      return fact(c, textOf(expr), expr);
    default:
  }
  c.diagnostics.report(
    "DSK1303",
    expr.span,
    { expected: "a fact or a number", found: "something else" },
    { help: "`expect params.total == 671B within 0.1%`" },
  );
  return undefined;
}

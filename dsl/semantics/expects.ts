import type { Expectation, FactExpr } from "../../compiler/model-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import { bodyScope, type Checker } from "./checker.ts";
import type { Instance, Level } from "./instance.ts";
import { lookup } from "./lookup.ts";
import { numberOf } from "./numbers.ts";

/** The `expect`s of a model, those of the models it extends left out: other dims give other facts. */
export function expectations(c: Checker, instance: Instance): Expectation[] | undefined {
  const level = instance.levels[0]!;
  const found: Expectation[] = [];
  let sound = true;
  for (const item of level.decl.items) {
    if (item.kind !== "expect") continue;
    const [left, right] = [factExpr(c, item.left, instance, level), factExpr(c, item.right, instance, level)];
    if (left === undefined || right === undefined) sound = false;
    else found.push({ left, right, text: textOf(item.left), within: relative(item.within), span: item.span });
  }
  return sound ? found : undefined;
}

/** `0.1%` and `0.001` are the same. */
function relative(within: ast.Quantity | undefined): number {
  if (within === undefined) return 0;
  return within.unit === "%" ? within.value / 100 : within.value;
}

function textOf(expr: ast.Expr): string {
  return expr.span.file.text.slice(expr.span.start, expr.span.end);
}

/** Numbers, dims of the model, facts such as `params.total`, and arithmetic on them. */
function factExpr(c: Checker, expr: ast.Expr, instance: Instance, level: Level): FactExpr | undefined {
  switch (expr.kind) {
    case "paren":
      return factExpr(c, expr.inner, instance, level);
    case "quantity":
      return { kind: "number", value: expr.unit === "%" ? expr.value / 100 : expr.value };
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
      return { kind: "fact", name: expr.name, span: expr.span };
    }
    case "member":
      return { kind: "fact", name: textOf(expr), span: expr.span };
    default:
  }
  c.fail(
    "DSK1303",
    expr.span,
    { expected: "a fact or a number", found: "something else" },
    { help: "`expect params.total == 671B within 0.1%`" },
  );
  return undefined;
}

import { expect, test } from "vitest";
import { span } from "../../../compiler/diagnostics/source.ts";
import { parseFactExpr } from "../../../compiler/model-ir/parse-expr.ts";
import type { FactExpr } from "../../../compiler/model-ir/types.ts";

const at = span({ path: "x", text: "" }, 0, 0);

function shape(expr: FactExpr): string {
  if (expr.kind === "binary") return `(${shape(expr.left)} ${expr.op} ${shape(expr.right)})`;
  return expr.kind === "number" ? `${expr.value}` : expr.name;
}

test.each([
  ["1 + 2 * 3", "(1 + (2 * 3))"],
  ["1 - 2 - 3", "((1 - 2) - 3)"],
  ["2 * (params.total - 1e-3)", "(2 * (params.total - 0.001))"],
  ["8 / 4 / 2", "((8 / 4) / 2)"],
  ["-5 + cache.bytes", "(-5 + cache.bytes)"],
])("%s", (text, expected) => {
  expect(shape(parseFactExpr(text, at))).toBe(expected);
});

test.each(["", "1 +", "(1", "1 2", "a $ b"])("`%s` is an error", (text) => {
  expect(() => parseFactExpr(text, at)).toThrow(/arithmetic|expected|closed|left over/);
});

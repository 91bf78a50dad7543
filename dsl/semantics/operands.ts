import { isFloat, type DType } from "../../compiler/tensor-ir/types.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "../syntax/ast.ts";
import type { Checker, Scope } from "./checker.ts";
import { constant, dtypeOf } from "./emit.ts";
import { isRunTime, isStatic, numberOf } from "./numbers.ts";
import { describe, type Meaning, type Tensor } from "./values.ts";

/** True when the expression's value is, elementwise, that of a contraction. */
export function contracts(expr: ast.Expr): boolean {
  switch (expr.kind) {
    case "paren":
      return contracts(expr.inner);
    case "unary":
      return contracts(expr.operand);
    case "binary":
      return expr.op === "@" || contracts(expr.left) || contracts(expr.right);
    default:
      return false;
  }
}

/**
 * Makes tensors of operands, at least one of which is one: numbers take the dtype of the first tensor among them, f32
 * beside none. Undefined after an error.
 */
export function toTensors(
  c: Checker,
  items: readonly Meaning[],
  at: readonly ast.Expr[],
  scope: Scope,
): Tensor[] | undefined {
  if (scope.builder === undefined) {
    const wrong = items.findIndex((item) => !isStatic(item));
    const found = describe(items[wrong] ?? items[0]!);
    c.fail("DSK1303", at[Math.max(0, wrong)]!.span, { expected: "a number", found });
    return undefined;
  }
  const dtype = numberDType(items);
  const tensors: Tensor[] = [];
  for (const [i, item] of items.entries()) {
    const tensor = toTensor(c, item, at[i]!.span, scope, dtype);
    if (tensor !== undefined) tensors.push(tensor);
  }
  return tensors.length === items.length ? tensors : undefined;
}

function numberDType(items: readonly Meaning[]): DType {
  const dtypes = items.filter((m) => m.kind === "tensor").map(dtypeOf);
  return dtypes.find(isFloat) ?? dtypes.find((d) => d === "i32") ?? "f32";
}

export function toTensor(c: Checker, item: Meaning, at: Span, scope: Scope, dtype: DType = "f32"): Tensor | undefined {
  if (item.kind === "tensor") return item;
  if (item.kind === "error") return undefined;
  if (item.kind === "state") {
    c.fail("DSK1306", at, { what: `the state \`${item.name}\`` });
    return undefined;
  }
  if (scope.builder === undefined) {
    c.fail("DSK1306", at, { what: "a tensor" });
    return undefined;
  }
  if (item.kind === "bool") return constant(scope, item.value ?? false, "bool");
  const number = numberOf(item);
  if (number === undefined || isRunTime(item)) {
    c.fail(
      "DSK1303",
      at,
      { expected: "a tensor", found: describe(item) },
      isRunTime(item) ? { help: "`size[T]()` is the number of tokens as a tensor" } : {},
    );
    return undefined;
  }
  return constant(scope, number.value ?? 1, dtype);
}

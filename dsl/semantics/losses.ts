import { isFloat } from "../../compiler/tensor-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import type { Checker, Scope } from "./checker.ts";
import { cast, constant, dtypeOf, emit, input, spreadTo } from "./emit.ts";
import { without } from "./emit.ts";
import { dimsText } from "./dims.ts";
import type { Meaning, Tensor } from "./values.ts";

/** f32[T], 1 for tokens that count, 0 for padding and for tokens without one ahead. */
export function liveTokens(c: Checker, scope: Scope): Tensor {
  return cast(scope, input(scope, "live", "bool", [c.space.tokens]), "f32");
}

/**
 * `loss name[dims] = value` as a numerator and a denominator: per live token for [T], per sequence for [B], one value a
 * step without dims.
 */
export function emitLoss(c: Checker, name: ast.Name, value: Tensor, scope: Scope): Meaning {
  const { tokens, sequences } = c.space;
  const others = without(value.dims, [tokens, sequences]);
  if (others.length > 0 || value.dims.length > 1) {
    return c.fail(
      "DSK1206",
      name.span,
      { expected: "T] or [B", found: value.dims.map((d) => d.label).join(", ") },
      {
        help: `a loss has one value per token, per sequence or per step: reduce ${dimsText(others.length > 0 ? others : [sequences])} first`,
      },
    );
  }
  if (!isFloat(dtypeOf(value))) return c.fail("DSK1301", name.span, { expected: "a float", found: dtypeOf(value) });
  const exact = cast(scope, value, "f32");
  const [numerator, denominator] = reduced(c, exact, scope);
  scope.builder!.effect("loss.term", [numerator.value, denominator.value], { name: name.text });
  c.losses.add(name.text);
  return value;
}

function reduced(c: Checker, value: Tensor, scope: Scope): [Tensor, Tensor] {
  const dim = value.dims[0];
  if (dim === undefined) return [value, constant(scope, 1, "f32")];
  const sum = (t: Tensor): Tensor => emit(scope, "tensor.reduce", [t], "f32", [], { kind: "sum" });
  if (dim !== c.space.tokens) return [sum(value), sum(spreadTo(scope, constant(scope, 1, "f32"), [dim]))];
  const live = input(scope, "live", "bool", [dim]);
  const counted = emit(scope, "math.select", [live, value, constant(scope, 0, "f32")], "f32", [dim]);
  return [sum(counted), sum(liveTokens(c, scope))];
}

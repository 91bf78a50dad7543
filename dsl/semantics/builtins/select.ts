import type { Checker } from "../checker.ts";
import { union } from "../dims.ts";
import { dtypeOf, emit, marks, sameKind, widest } from "../emit.ts";
import { neighbors } from "../operators.ts";
import { toTensors } from "../operands.ts";
import { describe, ERROR, type Meaning } from "../values.ts";
import { argument, bools, flag, tensor, type Bound, type Builtin } from "./context.ts";

export const SELECT: Readonly<Record<string, Builtin>> = {
  where: { usage: "where(mask, a, b)", params: ["mask", "a", "b"], make: where },
  when: { usage: "when(flag, a, b)", params: ["flag", "a", "b"], make: when },
  not: { usage: "not(mask)", params: ["mask"], make: not },
  training: { usage: "training()", params: [], make: (c) => ({ kind: "bool", value: c.training }) },
  stop_gradient: { usage: "stop_gradient(x)", params: ["x"], make: stopGradient },
};

/** a where the mask is true, else b, by element. */
function where(c: Checker, call: Bound): Meaning {
  const { scope } = call;
  const mask = bools(c, call, "mask");
  const [left, right] = [call.args.get("a")!, call.args.get("b")!];
  const [a, b] = neighbors(c, left, right, scope, call.expected);
  if (mask === undefined || a.kind === "error" || b.kind === "error") return ERROR;
  const pair = toTensors(c, [a, b], [left, right], scope);
  if (pair === undefined) return ERROR;
  const [x, y] = sameKind(scope, pair[0]!, pair[1]!);
  if ((dtypeOf(x) === "bool") !== (dtypeOf(y) === "bool"))
    return c.fail("DSK1301", right.span, { expected: dtypeOf(x), found: dtypeOf(y) });
  const dims = union(mask.dims, x.dims, y.dims);
  const dtype = dtypeOf(x) === dtypeOf(y) ? dtypeOf(x) : widest(dtypeOf(x), dtypeOf(y));
  return { ...emit(scope, "math.select", [mask, x, y], dtype, dims), ...marks(pair, dims, dtype) };
}

/** One of two, chosen when the model is built; the other one is not part of it. */
function when(c: Checker, call: Bound): Meaning {
  const chosen = flag(c, call, "flag");
  if (chosen === undefined) return ERROR;
  if (chosen.value !== undefined) return argument(c, call, chosen.value ? "a" : "b", call.expected);
  const [a, b] = [argument(c, call, "a", call.expected), argument(c, call, "b", call.expected)];
  return a.kind === "error" || b.kind === "error" ? ERROR : a;
}

function not(c: Checker, call: Bound): Meaning {
  const value = argument(c, call, "mask", call.expected);
  if (value.kind === "error") return ERROR;
  if (value.kind === "bool") return { kind: "bool", value: value.value === undefined ? undefined : !value.value };
  if (value.kind !== "tensor" || dtypeOf(value) !== "bool") {
    return c.fail("DSK1303", call.args.get("mask")!.span, { expected: "a mask", found: describe(value) });
  }
  return emit(call.scope, "math.not", [value], "bool", value.dims);
}

function stopGradient(c: Checker, call: Bound): Meaning {
  const x = tensor(c, call, "x", call.expected);
  if (x === undefined) return ERROR;
  return { ...emit(call.scope, "tensor.stop_gradient", [x], dtypeOf(x), x.dims), ...marks([x], x.dims, dtypeOf(x)) };
}

import type { Checker } from "../checker.ts";
import { neighbors } from "../operators.ts";
import { dtypeOf, elementwise, emit, float, marks } from "../emit.ts";
import { isStatic, numberOf } from "../numbers.ts";
import { toTensors } from "../operands.ts";
import { describe, ERROR, num, type Meaning } from "../values.ts";
import { argument, type Bound, type Builtin, wrong } from "./context.ts";
import { extremum } from "./reduce.ts";

/** Functions of one number, at compile time and elementwise on tensors. */
const UNARY: Readonly<Record<string, { readonly op?: string; readonly of?: (x: number) => number }>> = {
  exp: { op: "math.exp", of: Math.exp },
  log: { op: "math.log", of: Math.log },
  ln: { op: "math.log", of: Math.log },
  sqrt: { op: "math.sqrt", of: Math.sqrt },
  rsqrt: { op: "math.rsqrt", of: (x) => 1 / Math.sqrt(x) },
  recip: { op: "math.recip", of: (x) => 1 / x },
  sigmoid: { op: "math.sigmoid" },
  tanh: { op: "math.tanh", of: Math.tanh },
  silu: { op: "math.silu" },
  relu: { op: "math.relu" },
  gelu: { op: "math.gelu" },
  softplus: { op: "math.softplus" },
  abs: { op: "math.abs", of: Math.abs },
  sign: { op: "math.sign", of: Math.sign },
  sin: { op: "math.sin", of: Math.sin },
  cos: { op: "math.cos", of: Math.cos },
  square: { op: "math.square", of: (x) => x * x },
  normal_cdf: { op: "math.normal_cdf" },
  floor: { op: "math.floor", of: Math.floor },
  ceil: { of: Math.ceil },
};

/** Ops that integers have too. */
const INTEGER = new Set(["math.abs", "math.sign", "math.square", "math.relu"]);

export const MATH: Readonly<Record<string, Builtin>> = {
  ...Object.fromEntries(Object.keys(UNARY).map((name) => [name, { usage: `${name}(x)`, params: ["x"], make: unary }])),
  max: {
    usage: "max(a, b) or max[D](x)",
    params: ["a"],
    optional: ["b"],
    dims: [0, 8],
    make: (c, call) => pairOrReduce(c, call, "max"),
  },
  min: {
    usage: "min(a, b) or min[D](x)",
    params: ["a"],
    optional: ["b"],
    dims: [0, 8],
    make: (c, call) => pairOrReduce(c, call, "min"),
  },
};

function unary(c: Checker, call: Bound): Meaning {
  const { op, of } = UNARY[call.name]!;
  const value = argument(c, call, "x", call.expected);
  if (value.kind === "error") return ERROR;
  const x = numberOf(value);
  const at = call.args.get("x")!.span;
  if (x !== undefined) {
    if (of === undefined) return wrong(c, call, at, "takes a tensor");
    return num(x.value === undefined ? undefined : of(x.value));
  }
  if (value.kind !== "tensor") return c.fail("DSK1303", at, { expected: "a tensor", found: describe(value) });
  if (dtypeOf(value) === "bool") return c.fail("DSK1301", at, { expected: "numbers", found: "bool" });
  if (op === undefined) return wrong(c, call, at, "takes a number that is known when the model is built");
  const input = INTEGER.has(op) ? value : float(call.scope, value);
  return { ...emit(call.scope, op, [input], dtypeOf(input), value.dims), ...marks([value], value.dims, "bool") };
}

/** `max(a, b)`: the larger one, by element. `max[D](x)`: the largest along D. */
function pairOrReduce(c: Checker, call: Bound, kind: "max" | "min"): Meaning {
  const second = call.args.get("b");
  if (second === undefined) {
    if (call.dims.length > 0) return extremum(c, call, kind);
    return wrong(c, call, call.at, "needs two numbers, or a dim in brackets", `\`${MATH[kind]!.usage}\``);
  }
  const first = call.args.get("a")!;
  const [a, b] = neighbors(c, first, second, call.scope, call.expected);
  if (a.kind === "error" || b.kind === "error") return ERROR;
  if (isStatic(a) && isStatic(b)) {
    const [x, y] = [numberOf(a), numberOf(b)];
    if (x === undefined || y === undefined)
      return c.fail("DSK1303", (x === undefined ? first : second).span, {
        expected: "a number",
        found: describe(x === undefined ? a : b),
      });
    return num(x.value === undefined || y.value === undefined ? undefined : Math[kind](x.value, y.value));
  }
  const pair = toTensors(c, [a, b], [first, second], call.scope);
  if (pair === undefined) return ERROR;
  const bool = pair.findIndex((t) => dtypeOf(t) === "bool");
  if (bool >= 0) return c.fail("DSK1301", [first, second][bool]!.span, { expected: "numbers", found: "bool" });
  return elementwise(call.scope, `math.${kind}`, pair[0]!, pair[1]!);
}

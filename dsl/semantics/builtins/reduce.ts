import type { Checker, Expected } from "../checker.ts";
import { union, type Dim } from "../dims.ts";
import { cast, constant, dtypeOf, elementwise, emit, marks, spreadTo, without } from "../emit.ts";
import { liveTokens } from "../losses.ts";
import { ERROR, type Meaning, type Tensor } from "../values.ts";
import { bools, flag, floats, hasDim, tensor, type Bound, type Builtin } from "./context.ts";

export const REDUCE: Readonly<Record<string, Builtin>> = {
  sum: { usage: "sum[D](x)", params: ["x"], dims: [1, 8], make: (c, call) => reduced(c, call, "sum") },
  mean: { usage: "mean[D](x)", params: ["x"], dims: [1, 8], make: mean },
  softmax: { usage: "softmax[S](x, where: mask)", params: ["x"], optional: ["where"], dims: [1, 1], make: softmax },
  logsumexp: { usage: "logsumexp[E](x, where: mask)", params: ["x"], optional: ["where"], dims: [1, 1], make: softmax },
  normalize: { usage: "normalize[K](x)", params: ["x"], dims: [1, 1], make: normalize },
  cumsum: {
    usage: "cumsum[T](x, exclusive: true, reverse: true)",
    params: ["x"],
    optional: ["exclusive", "reverse"],
    dims: [1, 1],
    make: cumsum,
  },
  rank: { usage: "rank[T](x)", params: ["x"], dims: [1, 1], make: rank },
};

/** What the argument of a reduction may keep: the expected dims and those that go. */
function inner(call: Bound): Expected | undefined {
  const { expected } = call;
  return expected?.exact === true ? { dims: union(expected.dims, call.dims), exact: true } : undefined;
}

function allThere(c: Checker, call: Bound, x: Tensor): boolean {
  return call.dims.every((dim, i) => hasDim(c, x, dim, call.dimExprs[i]?.span ?? call.at));
}

function reduce(call: Bound, x: Tensor, kind: string, dims: readonly Dim[]): Tensor {
  const left = without(x.dims, dims);
  return { ...emit(call.scope, "tensor.reduce", [x], dtypeOf(x), left, { kind }), ...marks([x], left, "bool") };
}

function reduced(c: Checker, call: Bound, kind: string): Meaning {
  const x = tensor(c, call, "x", inner(call));
  if (x === undefined || !allThere(c, call, x)) return ERROR;
  if (dtypeOf(x) === "bool")
    return c.fail(
      "DSK1301",
      call.at,
      { expected: "numbers", found: "bool" },
      { help: "`f32(mask)` makes 1 and 0 of it" },
    );
  return reduce(call, x, kind, call.dims);
}

/** `max[D](x)` and `min[D](x)`. */
export function extremum(c: Checker, call: Bound, kind: "max" | "min"): Meaning {
  const x = tensor(c, call, "a", inner(call));
  if (x === undefined || !allThere(c, call, x)) return ERROR;
  if (dtypeOf(x) === "bool") return c.fail("DSK1301", call.at, { expected: "numbers", found: "bool" });
  return reduce(call, x, kind, call.dims);
}

/** The sum over the number of elements; over T, over the live tokens. */
function mean(c: Checker, call: Bound): Meaning {
  let x = floats(c, call, "x", inner(call));
  if (x === undefined || !allThere(c, call, x)) return ERROR;
  const { scope } = call;
  const overTokens = call.dims.includes(c.space.tokens);
  if (overTokens) x = elementwise(scope, "math.mul", x, liveTokens(c, scope));
  const total = reduce(call, x, "sum", call.dims);
  const fixed = call.dims.filter((d) => d.size !== null);
  const size = fixed.reduce((n, d) => n * (d.size ?? 1), 1);
  let count: Tensor = constant(scope, size, dtypeOf(x));
  for (const dim of call.dims.filter((d) => d.size === null)) {
    const ones = dim === c.space.tokens ? liveTokens(c, scope) : spreadTo(scope, constant(scope, 1, "f32"), [dim]);
    count = elementwise(scope, "math.mul", count, emit(scope, "tensor.reduce", [ones], "f32", [], { kind: "sum" }));
  }
  return cast(scope, elementwise(scope, "math.div", total, count), dtypeOf(total));
}

function softmax(c: Checker, call: Bound): Meaning {
  const { scope, dims, name } = call;
  const dim = dims[0]!;
  const expected = name === "softmax" ? call.expected : inner(call);
  const x = floats(c, call, "x", expected);
  if (x === undefined || !allThere(c, call, x)) return ERROR;
  const mask = call.args.has("where") ? bools(c, call, "where") : undefined;
  if (call.args.has("where") && mask === undefined) return ERROR;
  if (dim === c.space.positions && mask === undefined) {
    c.fail("DSK2105", call.at, { what: `\`${name}\`` }, { help: "add `where: causal(pos)`" });
  }
  const all = mask === undefined ? x : spreadTo(scope, x, union(x.dims, mask.dims));
  const left = name === "softmax" ? all.dims : without(all.dims, dims);
  const operands = mask === undefined ? [all] : [all, mask];
  return { ...emit(scope, `nn.${name}`, operands, dtypeOf(x), left, { dim: dim.label }), ...marks([x], left, "bool") };
}

/** x over its sum along the dim; 1e-20 keeps an empty sum from dividing by 0, as in DeepSeek's code. */
function normalize(c: Checker, call: Bound): Meaning {
  const { scope } = call;
  const x = floats(c, call, "x", call.expected);
  if (x === undefined || !allThere(c, call, x)) return ERROR;
  const total = elementwise(scope, "math.add", reduce(call, x, "sum", call.dims), constant(scope, 1e-20, dtypeOf(x)));
  return elementwise(scope, "math.div", x, total);
}

function cumsum(c: Checker, call: Bound): Meaning {
  const x = tensor(c, call, "x", call.expected);
  const exclusive = call.args.has("exclusive") ? flag(c, call, "exclusive") : { value: false };
  const reverse = call.args.has("reverse") ? flag(c, call, "reverse") : { value: false };
  if (x === undefined || exclusive === undefined || reverse === undefined || !allThere(c, call, x)) return ERROR;
  if (dtypeOf(x) === "bool") return c.fail("DSK1301", call.at, { expected: "numbers", found: "bool" });
  const attrs = { dim: call.dims[0]!.label, exclusive: exclusive.value ?? false, reverse: reverse.value ?? false };
  return emit(call.scope, "tensor.cumsum", [x], dtypeOf(x), x.dims, attrs);
}

/** How many elements along the dim come before: 0 for the largest. */
function rank(c: Checker, call: Bound): Meaning {
  const x = floats(c, call, "x", call.expected);
  if (x === undefined || !allThere(c, call, x)) return ERROR;
  return emit(call.scope, "tensor.rank", [x], "i32", x.dims, { dim: call.dims[0]!.label });
}

import type { Checker } from "../checker.ts";
import { constant, dtypeOf, elementwise, emit, input, spreadTo, without } from "../emit.ts";
import { liveTokens } from "../losses.ts";
import { ERROR, type Meaning, type Tensor } from "../values.ts";
import { floats, hasDim, number, tensor, type Bound, type Builtin } from "./context.ts";

/** Functions that know how tokens lie in sequences. */
export const SEQUENCE: Readonly<Record<string, Builtin>> = {
  causal: { usage: "causal(pos, window: 4_096)", params: ["pos"], optional: ["window"], make: causal },
  live: { usage: "live()", params: [], make: (c, call) => needsCode(c, call) ?? liveTokens(c, call.scope) },
  size: { usage: "size[T]()", params: [], dims: [1, 1], make: size },
  per_sequence: { usage: "per_sequence(x)", params: ["x"], make: (c, call) => bySequence(c, call, true) },
  sum_by_sequence: { usage: "sum_by_sequence(x)", params: ["x"], make: (c, call) => bySequence(c, call, false) },
  spread: { usage: "spread(x)", params: ["x"], make: spread },
  latest: { usage: "latest(x)", params: ["x"], make: latest },
  random_normal: { usage: "random_normal[T, E]()", params: [], dims: [1, 8], make: random },
  random_uniform: { usage: "random_uniform[T]()", params: [], dims: [1, 8], make: random },
};

function needsCode(c: Checker, call: Bound): Meaning | undefined {
  return call.scope.builder === undefined ? c.fail("DSK1306", call.at, { what: "a tensor" }) : undefined;
}

/** bool[T, S]: which kept positions a token sees: those of its sequence, not after it, at most `window` back. */
function causal(c: Checker, call: Bound): Meaning {
  const { scope } = call;
  const { tokens, positions } = c.space;
  const pos = tensor(c, call, "pos");
  const window = call.args.has("window") ? number(c, call, "window") : { value: 0 };
  if (pos === undefined || window === undefined) return ERROR;
  if (!hasDim(c, pos, tokens, call.args.get("pos")!.span)) return ERROR;
  if (window.value !== undefined && (!Number.isSafeInteger(window.value) || window.value < 0)) {
    return c.fail("DSK2104", call.args.get("window")!.span, { what: "the window", value: `${window.value}` });
  }
  const [at, keyAt] = [pos, input(scope, "key.pos", "i32", [positions])];
  const [seq, keySeq] = [input(scope, "seq", "i32", [tokens]), input(scope, "key.seq", "i32", [positions])];
  const dims = [tokens, positions];
  const before = emit(scope, "math.le", [keyAt, at], "bool", dims);
  const same = emit(scope, "math.eq", [seq, keySeq], "bool", dims);
  const seen = emit(scope, "math.and", [before, same], "bool", dims);
  if (window.value === undefined || window.value === 0) return seen;
  const reach = emit(scope, "math.sub", [at, constant(scope, window.value, "i32")], "i32", [tokens]);
  const near = emit(scope, "math.gt", [keyAt, reach], "bool", dims);
  return emit(scope, "math.and", [seen, near], "bool", dims);
}

/** How many: the live tokens for T, the sequences for B, else the size of the dim. */
function size(c: Checker, call: Bound): Meaning {
  const dim = call.dims[0]!;
  if (dim.size !== null) return { kind: "number", value: dim.size };
  const missing = needsCode(c, call);
  if (missing !== undefined) return missing;
  const { scope } = call;
  const ones = dim === c.space.tokens ? liveTokens(c, scope) : spreadTo(scope, constant(scope, 1, "f32"), [dim]);
  return emit(scope, "tensor.reduce", [ones], "f32", [], { kind: "sum" });
}

/** [T, ..] -> [B, ..]: the mean, or the sum, over the live tokens of each sequence. */
function bySequence(c: Checker, call: Bound, mean: boolean): Meaning {
  const { scope } = call;
  const { tokens, sequences } = c.space;
  const x = floats(c, call, "x");
  if (x === undefined || !hasDim(c, x, tokens, call.args.get("x")!.span)) return ERROR;
  const seq = input(scope, "seq", "i32", [tokens]);
  const live = liveTokens(c, scope);
  const sum = (t: Tensor): Tensor => {
    const dims = t.dims.map((d) => (d === tokens ? sequences : d));
    return emit(scope, "tensor.scatter_add", [t, seq], dtypeOf(t), dims, { dim: sequences.label });
  };
  const total = sum(elementwise(scope, "math.mul", x, live));
  if (!mean) return total;
  const counted = elementwise(scope, "math.max", sum(live), constant(scope, 1, "f32"));
  return elementwise(scope, "math.div", total, counted);
}

/** [B, ..] -> [T, ..]: the value of each token's sequence. */
function spread(c: Checker, call: Bound): Meaning {
  const { tokens, sequences } = c.space;
  const x = tensor(c, call, "x");
  if (x === undefined || !hasDim(c, x, sequences, call.args.get("x")!.span)) return ERROR;
  const seq = input(call.scope, "seq", "i32", [tokens]);
  return emit(call.scope, "tensor.gather", [x, seq], dtypeOf(x), [tokens, ...without(x.dims, [sequences])], {
    dim: sequences.label,
  });
}

/** [S, ..] -> [T, ..]: the rows of this call among all kept ones. */
function latest(c: Checker, call: Bound): Meaning {
  const { tokens, positions } = c.space;
  const x = tensor(c, call, "x");
  if (x === undefined || !hasDim(c, x, positions, call.args.get("x")!.span)) return ERROR;
  if (x.dims.includes(tokens)) return c.fail("DSK1208", call.args.get("x")!.span, { dim: tokens.label });
  const attrs = { from: positions.label, to: tokens.label };
  return emit(
    call.scope,
    "cache.latest",
    [x],
    dtypeOf(x),
    x.dims.map((d) => (d === positions ? tokens : d)),
    attrs,
  );
}

/** Draws that depend on the run's seed, the step, this place in the model and the element. */
function random(c: Checker, call: Bound): Meaning {
  const missing = needsCode(c, call);
  if (missing !== undefined) return missing;
  const kind = call.name === "random_normal" ? "normal" : "uniform";
  const stream = `${call.scope.instance.block.id}:${call.expr.span.start}`;
  return emit(call.scope, "tensor.random", [], "f32", call.dims, { kind, stream });
}

import type * as ast from "../../syntax/ast.ts";
import type { Checker } from "../checker.ts";
import { checkDim } from "../dim-members.ts";
import { dimsText, nameOf, union, type Dim } from "../dims.ts";
import { constant, dtypeOf, elementwise, emit, widest, without } from "../emit.ts";
import { liveTokens } from "../losses.ts";
import { numberOf } from "../numbers.ts";
import { describe, ERROR, type Meaning, type Tensor } from "../values.ts";
import { bools, floats, hasDim, indices, number, tensor, wrong, type Bound, type Builtin } from "./context.ts";

export const ROUTING: Readonly<Record<string, Builtin>> = {
  top: {
    usage: "x.top(K), top[E](x, K) or top[S](x, 2_048, where: mask)",
    params: ["x", "count"],
    optional: ["where"],
    dims: [0, 1],
    make: top,
  },
  top_groups: {
    usage: "top_groups(x, of: G, keep: 4, rank_by: top_sum(2))",
    params: ["x", "of", "keep", "rank_by"],
    forms: ["rank_by"],
    dims: [0, 1],
    make: topGroups,
  },
  gather: { usage: "gather(x, index) or gather[V](x, index)", params: ["x", "index"], dims: [0, 1], make: gather },
  one_hot: { usage: "one_hot(index)", params: ["index"], make: oneHot },
  count: { usage: "count(index)", params: ["index"], make: count },
  dispatch: { usage: "dispatch(x, chosen)", params: ["x", "chosen"], make: dispatch },
  combine: { usage: "combine(y, chosen, weight)", params: ["y", "chosen", "weight"], make: combine },
};

/** The dim that is chosen from: the one in brackets, or the only one that is not T, S or B. */
function chosenFrom(c: Checker, call: Bound, x: Tensor): Dim | undefined {
  const given = call.dims[0];
  if (given !== undefined) return hasDim(c, x, given, call.dimExprs[0]!.span) ? given : undefined;
  const fixed = x.dims.filter((d) => d.size !== null);
  if (fixed.length === 1) return fixed[0];
  wrong(
    c,
    call,
    call.at,
    `must say which of ${dimsText(x.dims)} it chooses from`,
    `\`${call.name}[${x.dims.at(-1)?.label ?? "E"}](...)\``,
  );
  return undefined;
}

/** `x.top(K)` with a dim K: indices of the K largest. `top[S](x, n)` with a number: a mask of the n largest. */
function top(c: Checker, call: Bound): Meaning {
  const x = floats(c, call, "x");
  if (x === undefined) return ERROR;
  const from = chosenFrom(c, call, x);
  const countExpr = call.args.get("count")!;
  const count = c.check(countExpr, call.scope);
  if (from === undefined || count.kind === "error") return ERROR;
  if (count.kind !== "dim") return mask(c, call, x, from, countExpr, count);
  if (call.args.has("where")) return wrong(c, call, call.args.get("where")!.span, "takes `where:` with a number only");
  const to = c.space.compose(count.linear);
  if (x.dims.includes(to)) return c.fail("DSK1208", countExpr.span, { dim: to.label });
  if (!fits(c, to.size, from, countExpr)) return ERROR;
  const dims = x.dims.map((d) => (d === from ? to : d));
  return { ...emit(call.scope, "tensor.top_k", [x], "i32", dims, { dim: from.label, to: to.label }), into: from };
}

function fits(c: Checker, k: number | null | undefined, from: Dim, at: ast.Expr): boolean {
  if (typeof k !== "number" || typeof from.size !== "number" || k <= from.size) return true;
  c.fail("DSK2101", at.span, { k, of: nameOf(from), size: from.size });
  return false;
}

function mask(c: Checker, call: Bound, x: Tensor, from: Dim, at: ast.Expr, count: Meaning): Meaning {
  const { scope } = call;
  const n = numberOf(count);
  if (n === undefined) return c.fail("DSK1303", at.span, { expected: "a dim or a number", found: describe(count) });
  if (n.value !== undefined && (!Number.isSafeInteger(n.value) || n.value < 1))
    return c.fail("DSK2104", at.span, { what: "the number to pick", value: `${n.value}` });
  if (!fits(c, n.value, from, at)) return ERROR;
  const where = call.args.has("where") ? bools(c, call, "where") : undefined;
  if (call.args.has("where") && where === undefined) return ERROR;
  if (from === c.space.positions && where === undefined) {
    c.fail(
      "DSK2105",
      call.at,
      { what: "`top`" },
      { help: "add `where: causal(pos)`: else later positions take places" },
    );
  }
  const dims = where === undefined ? x.dims : union(x.dims, where.dims);
  const seen =
    where === undefined
      ? x
      : emit(scope, "math.select", [where, x, constant(scope, -Infinity, dtypeOf(x))], dtypeOf(x), dims);
  const rank = emit(scope, "tensor.rank", [seen], "i32", dims, { dim: from.label });
  const best = elementwise(scope, "math.lt", rank, constant(scope, n.value ?? 1, "i32"));
  return where === undefined ? best : elementwise(scope, "math.and", best, where);
}

/** x with -inf outside the `keep` best of G groups (DeepSeek-V2 section 2.2.2, V3 Eq. 15 and its code). */
function topGroups(c: Checker, call: Bound): Meaning {
  const { scope } = call;
  const x = floats(c, call, "x");
  const groups = checkDim(c, call.args.get("of")!, scope);
  const keep = number(c, call, "keep");
  const rankBy = rankRule(c, call);
  if (x === undefined || groups === undefined || keep === undefined || rankBy === undefined) return ERROR;
  const from = chosenFrom(c, call, x);
  if (from === undefined) return ERROR;
  const [n, k] = [groups.size, keep.value];
  if (typeof n === "number" && typeof from.size === "number" && from.size % n !== 0)
    return c.fail("DSK2102", call.args.get("of")!.span, { groups: n, dim: nameOf(from), size: from.size });
  if (k !== undefined && (!Number.isSafeInteger(k) || k < 1 || (typeof n === "number" && k > n)))
    return c.fail("DSK2103", call.args.get("keep")!.span, { keep: k, groups: n ?? 0 });
  if (k === n) return x;
  const width = typeof n === "number" && typeof from.size === "number" ? from.size / n : undefined;
  if (width !== undefined && rankBy.best !== undefined && rankBy.best > width)
    return c.fail("DSK2101", call.args.get("rank_by")!.span, { k: rankBy.best, of: "a group", size: width });
  const inner = c.space.helper(`${from.label}/${groups.label}`, width);
  const folded = emit(
    scope,
    "tensor.split_dim",
    [x],
    dtypeOf(x),
    x.dims.flatMap((d) => (d === from ? [groups, inner] : [d])),
    { dim: from.label, into: [groups.label, inner.label] },
  );
  const score = groupScore(c, call, folded, inner, rankBy.best);
  const kept = c.space.helper("keep", k);
  const best = emit(
    scope,
    "tensor.top_k",
    [score],
    "i32",
    score.dims.map((d) => (d === groups ? kept : d)),
    { dim: groups.label, to: kept.label },
  );
  const hits = scatterOnes(call, best, groups, [kept], constant(scope, 1, "f32"), score.dims);
  const open = elementwise(scope, "math.gt", hits, constant(scope, 0, "f32"));
  const masked = emit(
    scope,
    "math.select",
    [open, folded, constant(scope, -Infinity, dtypeOf(x))],
    dtypeOf(x),
    folded.dims,
  );
  return emit(scope, "tensor.merge_dims", [masked], dtypeOf(x), x.dims, {
    dims: [groups.label, inner.label],
    to: from.label,
  });
}

/** `max` or `top_sum(n)`. */
function rankRule(c: Checker, call: Bound): { readonly best: number | undefined } | undefined {
  const expr = call.args.get("rank_by")!;
  if (expr.kind === "name" && expr.name === "max") return { best: undefined };
  if (expr.kind === "call" && expr.callee.kind === "name" && expr.callee.name === "top_sum" && expr.args.length === 1) {
    const n = numberOf(c.check(expr.args[0]!.value, call.scope))?.value;
    if (n !== undefined && Number.isSafeInteger(n) && n > 0) return { best: n };
  }
  wrong(c, call, expr.span, "ranks groups by `max` or by `top_sum(n)`");
  return undefined;
}

function groupScore(c: Checker, call: Bound, folded: Tensor, inner: Dim, best: number | undefined): Tensor {
  const { scope } = call;
  const dims = without(folded.dims, [inner]);
  if (best === undefined) return emit(scope, "tensor.reduce", [folded], dtypeOf(folded), dims, { kind: "max" });
  const slot = c.space.helper("best", best);
  const places = folded.dims.map((d) => (d === inner ? slot : d));
  const index = emit(scope, "tensor.top_k", [folded], "i32", places, { dim: inner.label, to: slot.label });
  const picked = emit(scope, "tensor.gather", [folded, index], dtypeOf(folded), places, { dim: inner.label });
  return emit(scope, "tensor.reduce", [picked], dtypeOf(folded), dims, { kind: "sum" });
}

/** x at the places that the index names; the dim is the one in brackets, or the one that the index points into. */
function gather(c: Checker, call: Bound): Meaning {
  const x = tensor(c, call, "x");
  const index = call.dims.length > 0 ? tensor(c, call, "index") : indices(c, call, "index");
  if (x === undefined || index === undefined) return ERROR;
  const { span } = call.args.get("index")!;
  if (dtypeOf(index) !== "i32") return c.fail("DSK1301", span, { expected: "i32", found: dtypeOf(index) });
  const dim = call.dims[0] ?? index.into!;
  if (index.into !== undefined && index.into !== dim)
    return c.fail(
      "DSK1206",
      span,
      { expected: dim.label, found: index.into.label },
      { help: `the index points into ${index.into.label}` },
    );
  if (!hasDim(c, x, dim, call.args.get("x")!.span)) return ERROR;
  const fresh = without(index.dims, x.dims);
  const dims =
    fresh.length < index.dims.length
      ? union(x.dims.flatMap((d) => (d === dim ? fresh : [d])))
      : [...index.dims, ...without(x.dims, [dim])];
  return emit(call.scope, "tensor.gather", [x, index], dtypeOf(x), dims, { dim: dim.label });
}

/** The slots of an index: its dims that are not T, S or B. */
function slotsOf(index: Tensor): Dim[] {
  return index.dims.filter((d) => d.size !== null);
}

function scatterOnes(
  call: Bound,
  index: Tensor,
  into: Dim,
  slots: readonly Dim[],
  value: Tensor,
  order?: readonly Dim[],
): Tensor {
  const dims = order ?? [...without(index.dims, slots), into];
  return emit(call.scope, "tensor.scatter_add", [value, index], "f32", dims, { dim: into.label });
}

/** 1 where the index points, 0 elsewhere; slots are summed. */
function oneHot(c: Checker, call: Bound): Meaning {
  const index = indices(c, call, "index");
  if (index === undefined) return ERROR;
  return scatterOnes(call, index, index.into, slotsOf(index), constant(call.scope, 1, "f32"));
}

/** How many live tokens chose each place. */
function count(c: Checker, call: Bound): Meaning {
  const index = indices(c, call, "index");
  if (index === undefined) return ERROR;
  if (!hasDim(c, index, c.space.tokens, call.args.get("index")!.span)) return ERROR;
  return scatterOnes(call, index, index.into, index.dims, liveTokens(c, call.scope));
}

function routing(
  c: Checker,
  call: Bound,
): { readonly chosen: Tensor; readonly experts: Dim; readonly slot: Dim } | undefined {
  const chosen = indices(c, call, "chosen");
  if (chosen === undefined) return undefined;
  const slots = slotsOf(chosen);
  if (slots.length === 1) return { chosen, experts: chosen.into, slot: slots[0]! };
  wrong(
    c,
    call,
    call.args.get("chosen")!.span,
    `needs indices with one dim of slots, these have ${dimsText(chosen.dims)}`,
    "`x.top(K)` gives them",
  );
  return undefined;
}

/** Each token once per expert that it chose: rows for a use `over` the experts. */
function dispatch(c: Checker, call: Bound): Meaning {
  const x = floats(c, call, "x");
  const route = routing(c, call);
  if (x === undefined || route === undefined) return ERROR;
  const { chosen, experts, slot } = route;
  const tokens = without(chosen.dims, [slot]);
  const lacking = tokens.find((d) => !x.dims.includes(d));
  if (lacking !== undefined)
    return c.fail("DSK1207", call.args.get("x")!.span, { dim: lacking.label, dims: dimsText(x.dims) });
  if (x.dims.includes(slot)) return c.fail("DSK1208", call.args.get("x")!.span, { dim: slot.label });
  const dims = [...chosen.dims, ...without(x.dims, chosen.dims)];
  return {
    ...emit(call.scope, "moe.dispatch", [x, chosen], dtypeOf(x), dims, { experts: experts.label, slot: slot.label }),
    routed: route,
  };
}

/** The weighted sum of the rows of each token. */
function combine(c: Checker, call: Bound): Meaning {
  const { scope } = call;
  const y = floats(c, call, "y");
  const route = routing(c, call);
  if (y === undefined || route === undefined) return ERROR;
  const weight = floats(c, call, "weight", { dims: route.chosen.dims, exact: true });
  if (weight === undefined) return ERROR;
  const { chosen, experts, slot } = route;
  for (const [t, name] of [
    [y, "y"],
    [weight, "weight"],
  ] as const) {
    const lacking = chosen.dims.find((d) => !t.dims.includes(d));
    if (lacking !== undefined)
      return c.fail("DSK1207", call.args.get(name)!.span, { dim: lacking.label, dims: dimsText(t.dims) });
  }
  if (weight.dims.length !== chosen.dims.length) {
    return c.fail("DSK1206", call.args.get("weight")!.span, {
      expected: chosen.dims.map((d) => d.label).join(", "),
      found: weight.dims.map((d) => d.label).join(", "),
    });
  }
  const dtype = widest(dtypeOf(y), dtypeOf(weight));
  return emit(scope, "moe.combine", [y, weight, chosen], dtype, without(y.dims, [slot]), {
    experts: experts.label,
    slot: slot.label,
  });
}

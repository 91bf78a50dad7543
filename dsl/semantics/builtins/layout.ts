import type { DType } from "../../../compiler/tensor-ir/types.ts";
import type * as ast from "../../syntax/ast.ts";
import type { Checker, Scope } from "../checker.ts";
import { checkDim } from "../dim-members.ts";
import { addLinear, dimsText, linearOf, linearText, sized, type Dim, type Linear } from "../dims.ts";
import { cast, dtypeOf, emit, marks, rename, spreadTo, without, widest } from "../emit.ts";
import { ERROR, type Meaning, type Tensor } from "../values.ts";
import { hasDim, number, tensor, wrong, type Bound, type Builtin } from "./context.ts";

export const LAYOUT: Readonly<Record<string, Builtin>> = {
  split: {
    usage: "split(x, N | R) or split[D](x, N | R)",
    params: ["x", "parts"],
    forms: ["parts"],
    dims: [0, 1],
    make: split,
  },
  concat: { usage: "concat[D](a, b)", params: ["a", "b"], dims: [1, 1], many: true, make: concat },
  unzip: { usage: "unzip[R](x, P)", params: ["x", "half"], dims: [1, 1], make: unzip },
  zip: { usage: "zip[R](a, b)", params: ["a", "b"], dims: [1, 1], make: zip },
  fold: { usage: "fold[G, J](x, E)", params: ["x", "dim"], dims: [2, 2], make: fold },
  merge: { usage: "merge[E](x, G, J)", params: ["x", "outer", "inner"], dims: [1, 1], make: merge },
  at: { usage: "at[K](x, 0)", params: ["x", "index"], dims: [1, 1], make: at },
  join: { usage: "join[K](a, b)", params: ["a"], dims: [1, 1], many: true, make: join },
  as: { usage: "as[D](x, O)", params: ["x", "dim"], dims: [1, 1], make: as },
  iota: { usage: "iota[P]", params: [], dims: [1, 1], make: iota },
};

function like(
  scope: Scope,
  op: string,
  x: Tensor,
  dims: readonly Dim[],
  attrs: Readonly<Record<string, number | string | string[]>>,
): Tensor {
  return { ...emit(scope, op, [x], dtypeOf(x), dims, attrs), ...marks([x], dims, dtypeOf(x)) };
}

/** A dim given as an argument: `split[R](x, P | P)`, `as[D](x, O)`. */
function dimArgument(c: Checker, call: Bound, name: string): Dim | undefined {
  return checkDim(c, call.args.get(name)!, call.scope);
}

function replaced(dims: readonly Dim[], from: Dim, to: readonly Dim[]): Dim[] {
  return dims.flatMap((d) => (d === from ? to : [d]));
}

/** Sizes that must agree; unknown ones do. */
function sameSize(c: Checker, call: Bound, what: string, a: Linear, b: Dim): boolean {
  const size = a.terms.reduce<number | undefined>(
    (n, t) => (n === undefined || typeof t.dim.size !== "number" ? undefined : n + t.factor * t.dim.size),
    a.constant,
  );
  if (size === undefined || typeof b.size !== "number" || size === b.size) return true;
  c.fail("DSK1209", call.at, { what, expected: sized(b), found: `${linearText(a)} = ${size}` });
  return false;
}

function split(c: Checker, call: Bound): Meaning {
  const x = tensor(c, call, "x");
  const parts = partDims(c, call.args.get("parts")!, call.scope);
  if (x === undefined || parts === undefined) return ERROR;
  const total = parts.map(linearOf).reduce((a, b) => addLinear(a, b, 1));
  let dim = call.dims[0];
  if (dim === undefined) {
    const sum = c.space.compose(total);
    if (!x.dims.includes(sum))
      return c.fail(
        "DSK1207",
        call.args.get("x")!.span,
        { dim: linearText(total), dims: dimsText(x.dims) },
        { help: "name the dim that is split: `split[D](x, N | R)`" },
      );
    dim = sum;
  } else if (!hasDim(c, x, dim, call.dimExprs[0]!.span) || !sameSize(c, call, "the parts of the split", total, dim))
    return ERROR;
  let start = 0;
  const items: Meaning[] = [];
  for (const part of parts) {
    items.push(
      like(call.scope, "tensor.slice", x, replaced(x.dims, dim, [part]), { dim: dim.label, start, to: part.label }),
    );
    start += part.size ?? 0;
  }
  return { kind: "tuple", items };
}

/** The dims of `N | R | ...`. */
function partDims(c: Checker, expr: ast.Expr, scope: Scope): Dim[] | undefined {
  if (expr.kind === "binary" && expr.op === "|") {
    const [left, right] = [partDims(c, expr.left, scope), partDims(c, expr.right, scope)];
    return left === undefined || right === undefined ? undefined : [...left, ...right];
  }
  const dim = checkDim(c, expr, scope);
  return dim === undefined ? undefined : [dim];
}

/** Every argument as a tensor; of one dtype. Undefined after an error. */
function tensors(c: Checker, call: Bound): Tensor[] | undefined {
  const found: Tensor[] = [];
  for (const name of call.args.keys()) {
    const t = tensor(c, call, name);
    if (t === undefined) return undefined;
    found.push(t);
  }
  const dtype = found.map(dtypeOf).reduce((a, b): DType => (a === b ? a : widest(a, b)));
  const odd = found.find(
    (t) => (dtypeOf(t) === "i32" || dtypeOf(t) === "bool") !== (dtype === "i32" || dtype === "bool"),
  );
  if (odd !== undefined) {
    c.fail("DSK1301", call.at, { expected: dtype, found: dtypeOf(odd) });
    return undefined;
  }
  return found.map((t) => cast(call.scope, t, dtype));
}

/** Laid one after the other along the new dim, in place of the last dim of each. */
function concat(c: Checker, call: Bound): Meaning {
  const parts = tensors(c, call);
  if (parts === undefined) return ERROR;
  const [to, { scope }] = [call.dims[0]!, call];
  const lasts: Dim[] = [];
  for (const [i, part] of parts.entries()) {
    const last = part.dims.at(-1);
    if (last === undefined) return wrong(c, call, call.all[i]!.span, "joins tensors that have a dim");
    lasts.push(last);
  }
  const total = lasts.map(linearOf).reduce((a, b) => addLinear(a, b, 1));
  if (!sameSize(c, call, "the joined dims", total, to)) return ERROR;
  const common = without(parts[0]!.dims, [lasts[0]!]);
  const aligned: Tensor[] = [];
  for (const [i, part] of parts.entries()) {
    const others = without(part.dims, [lasts[i]!]);
    if (others.length !== common.length || !others.every((d) => common.includes(d))) {
      return c.fail("DSK1206", call.all[i]!.span, {
        expected: [...common, lasts[i]!].map((d) => d.label).join(", "),
        found: part.dims.map((d) => d.label).join(", "),
      });
    }
    aligned.push(spreadTo(scope, part, [...common, lasts[i]!]));
  }
  const dims = [...common, to];
  const attrs = { dims: lasts.map((d) => d.label), to: to.label };
  return {
    ...emit(scope, "tensor.concat", aligned, dtypeOf(aligned[0]!), dims, attrs),
    ...marks(aligned, dims, dtypeOf(aligned[0]!)),
  };
}

/** The dim of two that neighbors in a pair are told apart by. */
function pairDim(c: Checker): Dim {
  return c.space.helper("pair", 2);
}

function one(c: Checker): Dim {
  return c.space.helper("one", 1);
}

function pick(c: Checker, scope: Scope, x: Tensor, dim: Dim, index: number): Tensor {
  const unit = one(c);
  const slice = like(scope, "tensor.slice", x, replaced(x.dims, dim, [unit]), {
    dim: dim.label,
    start: index,
    to: unit.label,
  });
  return like(scope, "tensor.reduce", slice, without(slice.dims, [unit]), { kind: "sum" });
}

/** Even and odd places along R. */
function unzip(c: Checker, call: Bound): Meaning {
  const x = tensor(c, call, "x");
  const half = dimArgument(c, call, "half");
  const dim = call.dims[0]!;
  if (x === undefined || half === undefined || !hasDim(c, x, dim, call.dimExprs[0]!.span)) return ERROR;
  if (!sameSize(c, call, "twice the half", addLinear(linearOf(half), linearOf(half), 1), dim)) return ERROR;
  const pair = pairDim(c);
  const folded = like(call.scope, "tensor.split_dim", x, replaced(x.dims, dim, [half, pair]), {
    dim: dim.label,
    into: [half.label, pair.label],
  });
  return { kind: "tuple", items: [pick(c, call.scope, folded, pair, 0), pick(c, call.scope, folded, pair, 1)] };
}

/** The inverse of `unzip`: a and b in turns, along their last dim. */
function zip(c: Checker, call: Bound): Meaning {
  const parts = tensors(c, call);
  if (parts === undefined) return ERROR;
  const [a, b] = [parts[0]!, parts[1]!];
  const [half, dim] = [a.dims.at(-1), call.dims[0]!];
  if (half === undefined || b.dims.length !== a.dims.length || !b.dims.every((d) => a.dims.includes(d))) {
    return c.fail("DSK1206", call.args.get("b")!.span, {
      expected: a.dims.map((d) => d.label).join(", "),
      found: b.dims.map((d) => d.label).join(", "),
    });
  }
  if (!sameSize(c, call, "twice the half", addLinear(linearOf(half), linearOf(half), 1), dim)) return ERROR;
  const [pair, unit] = [pairDim(c), one(c)];
  const stacked = stack(call.scope, [a, spreadTo(call.scope, b, a.dims)], unit, pair, [...a.dims]);
  return like(call.scope, "tensor.merge_dims", stacked, replaced(a.dims, half, [dim]), {
    dims: [half.label, pair.label],
    to: dim.label,
  });
}

/** Tensors of the same dims side by side along a new last dim. */
function stack(scope: Scope, parts: readonly Tensor[], unit: Dim, to: Dim, dims: readonly Dim[]): Tensor {
  const spread = parts.map((t) => spreadTo(scope, t, [...dims, unit]));
  const all = [...dims, to];
  const dtype = dtypeOf(parts[0]!);
  return {
    ...emit(scope, "tensor.concat", spread, dtype, all, { dims: spread.map(() => unit.label), to: to.label }),
    ...marks(parts, all, dtype),
  };
}

/** E as G groups of J, in order. */
function fold(c: Checker, call: Bound): Meaning {
  const x = tensor(c, call, "x");
  const dim = dimArgument(c, call, "dim");
  if (x === undefined || dim === undefined || !hasDim(c, x, dim, call.args.get("dim")!.span)) return ERROR;
  const [outer, inner] = [call.dims[0]!, call.dims[1]!];
  if (!product(c, call, outer, inner, dim)) return ERROR;
  return like(call.scope, "tensor.split_dim", x, replaced(x.dims, dim, [outer, inner]), {
    dim: dim.label,
    into: [outer.label, inner.label],
  });
}

function merge(c: Checker, call: Bound): Meaning {
  const x = tensor(c, call, "x");
  const [outer, inner] = [dimArgument(c, call, "outer"), dimArgument(c, call, "inner")];
  if (x === undefined || outer === undefined || inner === undefined) return ERROR;
  if (!hasDim(c, x, outer, call.args.get("outer")!.span) || !hasDim(c, x, inner, call.args.get("inner")!.span))
    return ERROR;
  const dim = call.dims[0]!;
  if (!product(c, call, outer, inner, dim)) return ERROR;
  const dims = replaced(without(x.dims, [inner]), outer, [dim]);
  return like(call.scope, "tensor.merge_dims", x, dims, { dims: [outer.label, inner.label], to: dim.label });
}

function product(c: Checker, call: Bound, outer: Dim, inner: Dim, dim: Dim): boolean {
  if (typeof outer.size !== "number" || typeof inner.size !== "number" || typeof dim.size !== "number") return true;
  if (outer.size * inner.size === dim.size) return true;
  c.fail("DSK1209", call.at, {
    what: `${outer.label} times ${inner.label}`,
    expected: sized(dim),
    found: `${outer.size * inner.size}`,
  });
  return false;
}

/** The part of x at one place along K. */
function at(c: Checker, call: Bound): Meaning {
  const x = tensor(c, call, "x");
  const index = number(c, call, "index");
  const dim = call.dims[0]!;
  if (x === undefined || index === undefined || !hasDim(c, x, dim, call.dimExprs[0]!.span)) return ERROR;
  if (dtypeOf(x) === "bool") return c.fail("DSK1301", call.args.get("x")!.span, { expected: "numbers", found: "bool" });
  const place = index.value ?? 0;
  if (!Number.isSafeInteger(place) || place < 0 || (typeof dim.size === "number" && place >= dim.size)) {
    return wrong(c, call, call.args.get("index")!.span, `has no place ${place} along ${sized(dim)}`);
  }
  return pick(c, call.scope, x, dim, place);
}

/** Tensors side by side along K, one for each of its places. */
function join(c: Checker, call: Bound): Meaning {
  const parts = tensors(c, call);
  if (parts === undefined) return ERROR;
  const dim = call.dims[0]!;
  if (typeof dim.size === "number" && dim.size !== parts.length)
    return wrong(c, call, call.at, `needs ${dim.size} tensors for ${sized(dim)}, not ${parts.length}`);
  const { dims } = parts[0]!;
  for (const [i, part] of parts.entries()) {
    if (part.dims.length !== dims.length || !part.dims.every((d) => dims.includes(d))) {
      return c.fail("DSK1206", call.all[i]!.span, {
        expected: dims.map((d) => d.label).join(", "),
        found: part.dims.map((d) => d.label).join(", "),
      });
    }
  }
  return stack(call.scope, parts, one(c), dim, dims);
}

/** The same data with dim O called D. */
function as(c: Checker, call: Bound): Meaning {
  const x = tensor(c, call, "x");
  const from = dimArgument(c, call, "dim");
  const to = call.dims[0]!;
  if (x === undefined || from === undefined || !hasDim(c, x, from, call.args.get("dim")!.span)) return ERROR;
  if (x.dims.includes(to)) return c.fail("DSK1208", call.dimExprs[0]!.span, { dim: to.label });
  if (!sameSize(c, call, `${from.label} as ${to.label}`, linearOf(from), to)) return ERROR;
  return rename(call.scope, x, [from], [to]);
}

function iota(c: Checker, call: Bound): Meaning {
  const dim = call.dims[0]!;
  if (call.scope.builder === undefined) return c.fail("DSK1306", call.at, { what: "a tensor" });
  return emit(call.scope, "tensor.iota", [], "i32", [dim], { dim: dim.label });
}

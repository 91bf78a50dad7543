import { isFloat } from "../../compiler/tensor-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import { type Checker, type Expected, LOST, type Scope } from "./checker.ts";
import { dimsText, sized, union, type Dim } from "./dims.ts";
import { dtypeOf, emit, float, marks, widest, without } from "./emit.ts";
import { contracts } from "./operands.ts";
import { describe, ERROR, type Meaning, type Tensor } from "./values.ts";

type Binary = ast.Expr & { kind: "binary" };

/**
 * `a @ b`: sums the shared dims that the context does not name. Without a context, or where it names all of them but does
 * not ask for exactly its dims, a single shared dim is summed; more than one is never guessed at.
 */
export function contract(c: Checker, expr: Binary, scope: Scope, expected: Expected | undefined): Meaning {
  const [left, right] = operands(c, expr, scope, expected);
  if (left.kind === "error" || right.kind === "error") return ERROR;
  for (const [meaning, at] of [
    [left, expr.left],
    [right, expr.right],
  ] as const) {
    if (meaning.kind !== "tensor") {
      return c.fail(
        "DSK1303",
        at.span,
        { expected: "a tensor", found: describe(meaning) },
        {
          help: "`@` joins two tensors, and binds tighter than `*`: put the product in parentheses",
        },
      );
    }
  }
  const [a, b] = [left as Tensor, right as Tensor];
  for (const [t, at] of [
    [a, expr.left],
    [b, expr.right],
  ] as const) {
    if (dtypeOf(t) === "bool") return c.fail("DSK1301", at.span, { expected: "numbers", found: "bool" });
  }
  const summed = summedDims(c, expr, a, b, scope, expected);
  if (summed === undefined) return ERROR;
  const [x, y] = [float(scope, a), float(scope, b)];
  const dims = ordered(without(union(a.dims, b.dims), summed), expected);
  const dtype = isFloat(dtypeOf(x)) ? widest(dtypeOf(x), dtypeOf(y)) : "f32";
  return { ...emit(scope, "tensor.contract", [x, y], dtype, dims), ...marks([a, b], dims, "f32") };
}

/** A nested contraction keeps what its sibling and the context name. */
function operands(c: Checker, expr: Binary, scope: Scope, expected: Expected | undefined): [Meaning, Meaning] {
  const keep = (sibling: Meaning): Expected | undefined =>
    sibling.kind === "tensor"
      ? { dims: union(sibling.dims, expected?.dims ?? []), exact: false, lost: expected?.lost ?? false }
      : expected?.lost === true || sibling.kind === "error"
        ? LOST
        : undefined;
  if (contracts(expr.left) && !contracts(expr.right)) {
    const right = c.check(expr.right, scope);
    return [c.check(expr.left, scope, keep(right)), right];
  }
  const left = c.check(expr.left, scope);
  return [left, c.check(expr.right, scope, contracts(expr.right) ? keep(left) : undefined)];
}

function summedDims(
  c: Checker,
  expr: Binary,
  a: Tensor,
  b: Tensor,
  scope: Scope,
  expected: Expected | undefined,
): Dim[] | undefined {
  const shared = a.dims.filter((d) => b.dims.includes(d));
  const secondary = [
    { span: expr.left.span, text: `dims ${a.dims.map(sized).join(", ")}` },
    { span: expr.right.span, text: `dims ${b.dims.map(sized).join(", ")}` },
  ];
  if (shared.length === 0) {
    const help = otherOperand(expr, a, b, scope);
    c.fail(
      "DSK1203",
      expr.opSpan,
      { left: dimsText(a.dims), right: dimsText(b.dims) },
      { secondary, ...(help === undefined ? {} : { help }) },
    );
    return undefined;
  }
  const summed = expected === undefined ? [] : without(shared, expected.dims);
  if (summed.length > 0) return summed;
  if (expected?.exact === true) {
    c.fail(
      "DSK1205",
      expr.opSpan,
      { dims: dimsText(shared) },
      {
        secondary,
        help: `the result must have dims ${dimsText(expected.dims)}; \`*\` multiplies without a sum, and a \`let\` with its dims sums what it leaves out`,
      },
    );
    return undefined;
  }
  if (shared.length === 1) return shared;
  if (expected?.lost === true) return undefined;
  const kept = without(union(a.dims, b.dims), without(shared, [c.space.tokens]));
  c.fail(
    "DSK1204",
    expr.opSpan,
    { dims: shared.map((d) => d.label).join(" and ") },
    {
      secondary,
      help: `write the dims of the result: \`let y[${kept.map((d) => d.label).join(", ")}] = ...\` sums the others`,
    },
  );
  return undefined;
}

/** The memory order that the context asks for, if it names just these dims. */
function ordered(dims: readonly Dim[], expected: Expected | undefined): readonly Dim[] {
  if (expected?.exact !== true || expected.dims.length !== dims.length) return dims;
  return expected.dims.every((d) => dims.includes(d)) ? expected.dims : dims;
}

/** ``wq_b` has dims Q, H, N+R; did you mean `wq_a @ wq_b`?`: a store that does share a dim with one of the operands. */
function otherOperand(expr: Binary, a: Tensor, b: Tensor, scope: Scope): string | undefined {
  const named = (e: ast.Expr): string | undefined => (e.kind === "name" ? e.name : undefined);
  for (const [fixed, other, side] of [
    [a, expr.right, "right"],
    [b, expr.left, "left"],
  ] as const) {
    const name = named(other);
    if (name === undefined) continue;
    for (const [candidate, { store, dims }] of scope.instance.stores) {
      if (store.kind !== "param" || candidate === name || candidate.slice(0, 2) !== name.slice(0, 2)) continue;
      if (!dims.some((d) => fixed.dims.includes(d))) continue;
      const text = (e: ast.Expr): string => e.span.file.text.slice(e.span.start, e.span.end);
      const mended = side === "right" ? `${text(expr.left)} @ ${candidate}` : `${candidate} @ ${text(expr.right)}`;
      return `\`${candidate}\` has dims ${dims.map((d) => d.label).join(", ")}; did you mean \`${mended}\`?`;
    }
  }
  return undefined;
}

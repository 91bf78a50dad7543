import type { DimLabel, Op, TensorType, Value } from "../../types.ts";
import { joinDims } from "../emitter.ts";
import type { Emitter } from "../emitter.ts";
import { labels, none, operand, result, text } from "./entry.ts";
import type { Vjp, VjpTable } from "./entry.ts";

/** Sums and added dims undo each other: the gradient only has to take the operand's type again. */
const conform: Vjp = (e, op, grad) => [() => e.conform(grad, operand(op, 0).type)];

/** An op that only moves elements: the gradient of its operand is another such op applied to the gradient. */
function moved(name: string, attrs: (op: Op) => Op["attrs"]): Vjp {
  return (e, op, grad) => {
    const x = operand(op, 0);
    return [() => e.emit(name, [grad], { dtype: grad.type.dtype, dims: x.type.dims }, attrs(op))];
  };
}

const contract: Vjp = (e, op, grad) => {
  const [a, b] = [operand(op, 0), operand(op, 1)];
  return [() => e.product(grad, b, a.type), () => e.product(grad, a, b.type)];
};

function without(dims: readonly DimLabel[], label: DimLabel): DimLabel[] {
  return dims.filter((dim) => dim !== label);
}

/**
 * The gradient goes to the first largest (or smallest) element. A reduction over several dims is taken apart into one per
 * dim, last dim first, so that "first" means first in the operand's row-major order.
 */
function reduceExtreme(e: Emitter, op: Op, grad: Value, kind: "max" | "min"): Value {
  const x = operand(op, 0);
  const steps: { input: Value; dim: DimLabel }[] = [];
  let current = x;
  for (const dim of x.type.dims.filter((label) => !result(op).type.dims.includes(label)).toReversed()) {
    steps.push({ input: current, dim });
    const type = { dtype: x.type.dtype, dims: without(current.type.dims, dim) };
    current = e.emit("tensor.reduce", [current], type, { kind });
  }
  let gradient = grad;
  for (const { input, dim } of steps.toReversed()) {
    const to = e.unitDim(input);
    const index: TensorType = { dtype: "i32", dims: [...without(input.type.dims, dim), to] };
    const first = e.emit("tensor.top_k", [kind === "max" ? input : e.neg(input)], index, { dim, to });
    gradient = e.emit("tensor.scatter_add", [gradient, first], { dtype: gradient.type.dtype, dims: input.type.dims }, { dim });
  }
  return gradient;
}

const reduce: Vjp = (e, op, grad) => {
  const kind = text(op, "kind");
  const x = operand(op, 0);
  if (kind === "max" || kind === "min") return [() => e.conform(reduceExtreme(e, op, grad, kind), x.type)];
  return [() => e.conform(grad, x.type)];
};

/** Each operand's gradient is its stretch of the gradient; so the sizes before it must be known when the program is built. */
const concat: Vjp = (e, op, grad) => {
  const dims = labels(op, "dims");
  const starts: number[] = [];
  let start = 0;
  for (const label of dims) {
    starts.push(start);
    start += e.builder.dims.get(label) ?? Number.NaN;
  }
  return op.operands.map((x, i) => () => {
    if (Number.isNaN(starts[i])) throw new Error(`the gradient of a concatenation along ${dims.join(", ")} needs their sizes`);
    return e.emit("tensor.slice", [grad], x.type, { dim: text(op, "to"), start: starts[i]!, to: dims[i]! });
  });
};

const gather: Vjp = (e, op, grad) => {
  const [x, index] = [operand(op, 0), operand(op, 1)];
  return [() => e.emit("tensor.scatter_add", [grad, index], x.type, { dim: text(op, "dim") }), undefined];
};

/** Rows that were summed into the result all read the same gradient. */
const scatterAdd: Vjp = (e, op, grad) => {
  const [x, index] = [operand(op, 0), operand(op, 1)];
  const dim = text(op, "dim");
  const dims = joinDims(without(grad.type.dims, dim), index.type.dims);
  return [() => e.conform(e.emit("tensor.gather", [grad, index], { dtype: grad.type.dtype, dims }, { dim }), x.type), undefined];
};

const cumsum: Vjp = (e, op, grad) => {
  const x = operand(op, 0);
  const attrs = { ...op.attrs, reverse: op.attrs["reverse"] !== true };
  return [() => e.conform(e.emit("tensor.cumsum", [grad], grad.type, attrs), x.type)];
};

/** Rows kept from earlier calls get no gradient. */
const append: Vjp = (e, op, grad) => {
  const x = operand(op, 0);
  return [() => e.emit("cache.latest", [grad], x.type, { from: text(op, "at"), to: text(op, "from") })];
};

/** The rows go back to the end of S, whose size only the run knows: their index is size(S) - size(T) + 0, 1, ... */
const latest: Vjp = (e, op, grad) => {
  const x = operand(op, 0);
  const [from, to] = [text(op, "from"), text(op, "to")];
  const count = (dim: DimLabel): Value =>
    e.emit("tensor.reduce", [e.full(1, { dtype: "i32", dims: [dim] })], { dtype: "i32", dims: [] }, { kind: "sum" });
  return [
    () => {
      const rows = e.emit("tensor.iota", [], { dtype: "i32", dims: [to] }, { dim: to });
      const index = e.binary("math.add", rows, e.binary("math.sub", count(from), count(to)));
      return e.emit("tensor.scatter_add", [grad, index], x.type, { dim: from });
    },
  ];
};

const leaf = none("it has no float operand");
const effect = none("it has no result");
const choice = none("a choice of indices does not change under small changes of x");

export const TENSOR_VJP: VjpTable = {
  "program.input": leaf,
  "program.output": effect,
  "model.param": leaf,
  "model.state": leaf,
  "model.update": effect,
  "model.call": none("calls are inlined before gradients are taken"),
  "metric.emit": effect,
  "loss.term": effect,
  "loss.global": none("a denominator counts terms: it must not depend on a parameter"),
  "cache.append": append,
  "cache.latest": latest,
  "tensor.constant": leaf,
  "tensor.iota": leaf,
  "tensor.random": leaf,
  "tensor.cast": conform,
  "tensor.broadcast": conform,
  "tensor.rename": moved("tensor.rename", (op) => ({ from: labels(op, "to"), to: labels(op, "from") })),
  "tensor.contract": contract,
  "tensor.reduce": reduce,
  "tensor.slice": moved("tensor.pad", (op) => ({ dim: text(op, "to"), start: op.attrs["start"]!, to: text(op, "dim") })),
  "tensor.pad": moved("tensor.slice", (op) => ({ dim: text(op, "to"), start: op.attrs["start"]!, to: text(op, "dim") })),
  "tensor.concat": concat,
  "tensor.split_dim": moved("tensor.merge_dims", (op) => ({ dims: labels(op, "into"), to: text(op, "dim") })),
  "tensor.merge_dims": moved("tensor.split_dim", (op) => ({ dim: text(op, "to"), into: labels(op, "dims") })),
  "tensor.gather": gather,
  "tensor.scatter_add": scatterAdd,
  "tensor.top_k": choice,
  "tensor.rank": choice,
  "tensor.cumsum": cumsum,
  "tensor.stop_gradient": none("it is there to pass none"),
};

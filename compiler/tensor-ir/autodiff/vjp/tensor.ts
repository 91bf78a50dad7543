import { booleanAttr, numberAttr, stringAttr, stringsAttr } from "../../attrs.ts";
import { joinDims, knownSum, replaceDim, withoutDims } from "../../ops/dims.ts";
import type { DimLabel, Op, TensorType, Value } from "../../types.ts";
import type { Emitter } from "../emitter.ts";
import { none, operand, result, type Vjp, type VjpTable } from "./entry.ts";

/** Sums and added dims undo each other: the gradient only has to take the operand's type again. */
const conform: Vjp = (e, op, grad) => [() => e.conform(grad, operand(op, 0).type)];

/** An op that only moves elements: the operand's gradient is another such op applied to the gradient. */
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

/**
 * The gradient goes to the first largest (or smallest) element. A reduction over several dims is taken apart into one per
 * dim, last dim first, so that "first" means first in the operand's row-major order.
 */
function reduceExtreme(e: Emitter, op: Op, grad: Value, kind: "max" | "min"): Value {
  const x = operand(op, 0);
  const inputs: { value: Value; dim: DimLabel }[] = [];
  let value = x;
  for (const dim of withoutDims(x.type.dims, result(op).type.dims).toReversed()) {
    if (inputs.length > 0) {
      const { value: input, dim: gone } = inputs.at(-1)!;
      value = e.emit("tensor.reduce", [input], { ...input.type, dims: withoutDims(input.type.dims, [gone]) }, { kind });
    }
    inputs.push({ value, dim });
  }
  return inputs.reduceRight((gradient, { value: input, dim }) => {
    const to = e.unitDim(input);
    const index: TensorType = { dtype: "i32", dims: replaceDim(input.type.dims, dim, [to]) };
    const first = e.emit("tensor.top_k", [kind === "max" ? input : e.neg(input)], index, { dim, to });
    return e.emit(
      "tensor.scatter_add",
      [gradient, first],
      { dtype: gradient.type.dtype, dims: input.type.dims },
      { dim },
    );
  }, grad);
}

const reduce: Vjp = (e, op, grad) => {
  const kind = stringAttr(op.attrs, "kind");
  const { type } = operand(op, 0);
  return [() => e.conform(kind === "max" || kind === "min" ? reduceExtreme(e, op, grad, kind) : grad, type)];
};

/** Each operand's gradient is its stretch of the gradient; so the sizes before it must be known when the program is built. */
const concat: Vjp = (e, op, grad) => {
  const dims = stringsAttr(op.attrs, "dims");
  return op.operands.map((x, i) => () => {
    const start = knownSum(e.builder.dims, dims.slice(0, i));
    if (start === undefined) throw new Error(`the gradient of a concatenation of ${dims.join(", ")} needs their sizes`);
    const type = { dtype: grad.type.dtype, dims: replaceDim(grad.type.dims, stringAttr(op.attrs, "to"), [dims[i]!]) };
    return e.conform(
      e.emit("tensor.slice", [grad], type, { dim: stringAttr(op.attrs, "to"), start, to: dims[i]! }),
      x.type,
    );
  });
};

const gather: Vjp = (e, op, grad) => {
  const [x, index] = [operand(op, 0), operand(op, 1)];
  return [() => e.emit("tensor.scatter_add", [grad, index], x.type, { dim: stringAttr(op.attrs, "dim") }), undefined];
};

/** Rows that were summed into the result all read the same gradient. */
const scatterAdd: Vjp = (e, op, grad) => {
  const [x, index] = [operand(op, 0), operand(op, 1)];
  const dim = stringAttr(op.attrs, "dim");
  const dims = joinDims(withoutDims(grad.type.dims, [dim]), index.type.dims);
  return [
    () => e.conform(e.emit("tensor.gather", [grad, index], { dtype: grad.type.dtype, dims }, { dim }), x.type),
    undefined,
  ];
};

const cumsum: Vjp = (e, op, grad) => {
  const x = operand(op, 0);
  const attrs = { ...op.attrs, reverse: !booleanAttr(op.attrs, "reverse") };
  return [() => e.conform(e.emit("tensor.cumsum", [grad], grad.type, attrs), x.type)];
};

/** Rows kept from earlier calls get no gradient. */
const append: Vjp = (e, op, grad) => {
  const x = operand(op, 0);
  return [
    () =>
      e.emit("cache.latest", [grad], x.type, { from: stringAttr(op.attrs, "at"), to: stringAttr(op.attrs, "from") }),
  ];
};

/** The rows go back to the end of S, whose size only the run knows: their index is size(S) - size(T) + 0, 1, ... */
const latest: Vjp = (e, op, grad) => {
  const x = operand(op, 0);
  const [from, to] = [stringAttr(op.attrs, "from"), stringAttr(op.attrs, "to")];
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
  "tensor.rename": moved("tensor.rename", (op) => ({
    from: stringsAttr(op.attrs, "to"),
    to: stringsAttr(op.attrs, "from"),
  })),
  "tensor.contract": contract,
  "tensor.reduce": reduce,
  "tensor.slice": moved("tensor.pad", (op) => ({
    dim: stringAttr(op.attrs, "to"),
    start: numberAttr(op.attrs, "start"),
    to: stringAttr(op.attrs, "dim"),
  })),
  "tensor.pad": moved("tensor.slice", (op) => ({
    dim: stringAttr(op.attrs, "to"),
    start: numberAttr(op.attrs, "start"),
    to: stringAttr(op.attrs, "dim"),
  })),
  "tensor.concat": concat,
  "tensor.split_dim": moved("tensor.merge_dims", (op) => ({
    dims: stringsAttr(op.attrs, "into"),
    to: stringAttr(op.attrs, "dim"),
  })),
  "tensor.merge_dims": moved("tensor.split_dim", (op) => ({
    dim: stringAttr(op.attrs, "to"),
    into: stringsAttr(op.attrs, "dims"),
  })),
  "tensor.gather": gather,
  "tensor.scatter_add": scatterAdd,
  "tensor.top_k": choice,
  "tensor.rank": choice,
  "tensor.cumsum": cumsum,
  "tensor.stop_gradient": none("it is there to pass none"),
};

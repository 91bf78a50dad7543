import { available, joinDims } from "../emitter.ts";
import type { Vjp, VjpTable } from "./entry.ts";
import { operand, result, text } from "./entry.ts";

/** dx = y (g - sum over dim of y g). Masked elements have y = 0, so they get 0. */
const softmax: Vjp = (e, op, grad) => {
  const [x, y] = [operand(op, 0), result(op)];
  const others = { ...y.type, dims: y.type.dims.filter((label) => label !== text(op, "dim")) };
  return [
    () => e.conform(e.mul(y, e.binary("math.sub", grad, e.product(y, grad, others))), x.type),
    ...op.operands.slice(1).map(() => undefined),
  ];
};

/** dx = g softmax(x, mask), which is 0 for a row with everything masked. */
const logsumexp: Vjp = (e, op, grad) => {
  const x = operand(op, 0);
  const dims = joinDims(...op.operands.map((value) => value.type.dims));
  return [
    () => {
      const weights = e.emit("nn.softmax", op.operands, { dtype: x.type.dtype, dims }, op.attrs);
      return e.product(weights, grad, { dtype: x.type.dtype, dims: available(x.type, weights) });
    },
    ...op.operands.slice(1).map(() => undefined),
  ];
};

export const NN_VJP: VjpTable = { "nn.softmax": softmax, "nn.logsumexp": logsumexp };

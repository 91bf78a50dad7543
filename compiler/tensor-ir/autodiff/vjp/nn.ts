import { stringAttr } from "../../attrs.ts";
import { withoutDims } from "../../ops/dims.ts";
import { operand, result, type Vjp, type VjpTable } from "./entry.ts";

/** dx = y (g - sum over dim of y g). Masked elements have y = 0, so they get 0. */
const softmax: Vjp = (e, op, grad) => {
  const [x, y] = [operand(op, 0), result(op)];
  const others = { ...y.type, dims: withoutDims(y.type.dims, [stringAttr(op.attrs, "dim")]) };
  return [() => e.conform(e.mul(y, e.binary("math.sub", grad, e.product(y, grad, others))), x.type), undefined];
};

/** dx = g softmax(x, mask), which is 0 for a row with everything masked. */
const logsumexp: Vjp = (e, op, grad) => {
  const x = operand(op, 0);
  return [() => e.product(e.emit("nn.softmax", op.operands, x.type, op.attrs), grad, x.type), undefined];
};

export const NN_VJP: VjpTable = { "nn.softmax": softmax, "nn.logsumexp": logsumexp };

import { stringAttr } from "../../attrs.ts";
import { joinDims } from "../../ops/dims.ts";
import { commonDtype } from "../../ops/dtypes.ts";
import type { Op, TensorType, Value } from "../../types.ts";
import { available, type Emitter } from "../emitter.ts";
import { none, operand, type Vjp, type VjpTable } from "./entry.ts";

/** The sum, per row, of rows * weight[chosen row], with exactly this type; 0 where nothing is chosen. */
function contractRows(e: Emitter, op: Op, rows: Value, weight: Value, type: TensorType): Value {
  const chosen = operand(op, 2);
  const product = { dtype: commonDtype([rows, weight]), dims: available(type, rows, weight) };
  return e.conform(e.emit("moe.contract", [rows, weight, chosen], product, op.attrs), type);
}

const dispatch: Vjp = (e, op, grad) => {
  const [x, chosen] = [operand(op, 0), operand(op, 1)];
  return [
    () => {
      const ones = e.full(1, { dtype: grad.type.dtype, dims: chosen.type.dims });
      const type = { dtype: grad.type.dtype, dims: x.type.dims };
      return e.conform(e.emit("moe.combine", [grad, ones, chosen], type, op.attrs), x.type);
    },
    undefined,
  ];
};

const contract: Vjp = (e, op, grad) => {
  const [x, weight, chosen] = [operand(op, 0), operand(op, 1), operand(op, 2)];
  return [
    () => contractRows(e, op, grad, weight, x.type),
    () => {
      const experts = stringAttr(op.attrs, "experts");
      const free = available(weight.type, x, grad);
      const dims = weight.type.dims.filter((label) => label === experts || free.includes(label));
      const type = { dtype: commonDtype([x, grad]), dims };
      return e.conform(e.emit("moe.contract_weight", [x, grad, chosen], type, op.attrs), weight.type);
    },
    undefined,
  ];
};

/** The result is linear in x and in y, each with the other as its rows and the gradient as its weight. */
const contractWeight: Vjp = (e, op, grad) => {
  const [x, y] = [operand(op, 0), operand(op, 1)];
  return [() => contractRows(e, op, y, grad, x.type), () => contractRows(e, op, x, grad, y.type), undefined];
};

const combine: Vjp = (e, op, grad) => {
  const [y, weight, chosen] = [operand(op, 0), operand(op, 1), operand(op, 2)];
  const rows = (): Value => {
    const dims = joinDims(chosen.type.dims, grad.type.dims);
    return e.emit("moe.dispatch", [grad, chosen], { dtype: grad.type.dtype, dims }, op.attrs);
  };
  return [() => e.product(rows(), weight, y.type), () => e.product(rows(), y, weight.type), undefined];
};

export const MOE_VJP: VjpTable = {
  "moe.dispatch": dispatch,
  "moe.contract": contract,
  "moe.contract_weight": contractWeight,
  "moe.combine": combine,
  "moe.tiles": none("an order of rows does not change under small changes of them"),
};

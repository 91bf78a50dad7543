import type { Op, TensorType, Value } from "../../types.ts";
import { available, joinDims, widestDtype } from "../emitter.ts";
import type { Emitter } from "../emitter.ts";
import type { Vjp, VjpTable } from "./entry.ts";
import { operand, text } from "./entry.ts";

/** The rows' dims [T, K] added where a value lacks them: the moe ops want one row per (token, slot). */
function perSlot(e: Emitter, x: Value, chosen: Value): Value {
  return e.conform(x, { dtype: x.type.dtype, dims: joinDims(chosen.type.dims, x.type.dims) });
}

/** The sum, per row, of rows * weight[chosen row], with exactly this type; 0 where nothing is chosen. */
function contractRows(e: Emitter, op: Op, rows: Value, weight: Value, type: TensorType): Value {
  const chosen = operand(op, 2);
  const product = { dtype: widestDtype(rows, weight), dims: available(type, rows, weight) };
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
    () => contractRows(e, op, perSlot(e, grad, chosen), weight, x.type),
    () => {
      const rows = perSlot(e, grad, chosen);
      const expert = text(op, "experts");
      const dims = weight.type.dims.filter((label) => label === expert || available(weight.type, x, rows).includes(label));
      const type = { dtype: widestDtype(x, rows), dims };
      return e.conform(e.emit("moe.contract_weight", [x, rows, chosen], type, op.attrs), weight.type);
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
};

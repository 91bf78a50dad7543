import { stringAttr } from "../../tensor-ir/attrs.ts";
import { offsets, stridesOf, type Tensor } from "../tensor.ts";
import type { Call, Kernel } from "./kernel.ts";

/** Softmax of a row whose elements are all masked, or all -inf, is all 0. */
const softmax: Kernel = (result, call) => {
  const inResult = offsets([stringAttr(call.attrs, "dim")], call.sizes, stridesOf(result));
  eachMaskedRow(result, call, (row, at) => {
    const top = largest(row);
    if (top === -Infinity) return;
    const powers = row.map((x) => Math.exp(x - top));
    const total = powers.reduce((a, b) => a + b, 0);
    for (let i = 0; i < row.length; i++) result.data[at + inResult[i]!] = powers[i]! / total;
  });
};

const logsumexp: Kernel = (result, call) => {
  eachMaskedRow(result, call, (row, at) => {
    const top = largest(row);
    const total = row.reduce((sum, x) => sum + Math.exp(x - top), 0);
    result.data[at] = top === -Infinity ? -Infinity : top + Math.log(total);
  });
};

/** Calls `visit` for every row, masked elements as -inf, with the offset of the row in the result. */
function eachMaskedRow(result: Tensor, call: Call, visit: (row: Float64Array, at: number) => void): void {
  const { operands, sizes } = call;
  const [x, mask] = operands;
  const dim = stringAttr(call.attrs, "dim");
  const others = x!.dims.filter((label) => label !== dim);
  const at = (tensor: Tensor): { readonly row: Int32Array; readonly element: Int32Array } => ({
    row: offsets(others, sizes, stridesOf(tensor)),
    element: offsets([dim], sizes, stridesOf(tensor)),
  });
  const [inX, inMask, inResult] = [at(x!), mask === undefined ? undefined : at(mask), at(result).row];
  const row = new Float64Array(inX.element.length);
  for (let r = 0; r < inX.row.length; r++) {
    for (let i = 0; i < row.length; i++) {
      const masked = inMask !== undefined && mask!.data[inMask.row[r]! + inMask.element[i]!] === 0;
      row[i] = masked ? -Infinity : x!.data[inX.row[r]! + inX.element[i]!]!;
    }
    visit(row, inResult[r]!);
  }
}

function largest(row: Float64Array): number {
  return row.reduce((a, b) => Math.max(a, b), -Infinity);
}

export const NN_KERNELS = { "nn.softmax": softmax, "nn.logsumexp": logsumexp } satisfies Record<string, Kernel>;

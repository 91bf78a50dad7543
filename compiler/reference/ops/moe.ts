import { stringAttr, stringsAttr } from "../../tensor-ir/attrs.ts";
import { joinDims, withoutDims } from "../../tensor-ir/ops/dims.ts";
import type { DimLabel } from "../../tensor-ir/types.ts";
import { contract, planContraction } from "../contraction.ts";
import { offsets, sizeOf, type Sizes, stridesOf, type Tensor } from "../tensor.ts";
import type { Call, Kernel } from "./kernel.ts";

/** Calls `visit` for every row that has an expert: the expert, and where the row begins in each of the tensors. */
function eachRow(
  chosen: Tensor,
  { attrs, sizes }: Call,
  tensors: readonly Tensor[],
  visit: (expert: number, ...at: number[]) => void,
): void {
  const count = sizeOf(sizes, stringAttr(attrs, "experts"));
  const starts = tensors.map((tensor) => offsets(chosen.dims, sizes, stridesOf(tensor)));
  for (let r = 0; r < chosen.data.length; r++) {
    const expert = chosen.data[r]!;
    if (expert >= count) throw new Error(`row ${r} has expert ${expert} of ${count}`);
    if (expert >= 0) visit(expert, ...starts.map((at) => at[r]!));
  }
}

const dispatch: Kernel = (result, call) => {
  const [x, chosen] = call.operands as readonly [Tensor, Tensor];
  const columns = columnsOf(result, x, withoutDims(x.dims, chosen.dims), call.sizes);
  eachRow(chosen, call, [result, x], (_, at, from) => {
    for (let i = 0; i < columns.x.length; i++) result.data[at! + columns.result[i]!] = x.data[from! + columns.x[i]!]!;
  });
};

const combine: Kernel = (result, call) => {
  const [y, weight, chosen] = call.operands as readonly [Tensor, Tensor, Tensor];
  const columns = columnsOf(result, y, withoutDims(y.dims, chosen.dims), call.sizes);
  eachRow(chosen, call, [result, y, weight], (_, at, from, inWeight) => {
    const factor = weight.data[inWeight!]!;
    for (let i = 0; i < columns.x.length; i++)
      result.data[at! + columns.result[i]!]! += factor * y.data[from! + columns.x[i]!]!;
  });
};

/** Offsets over the dims of a row. The result has no slot dim in a combine: then rows of all slots begin at one place. */
function columnsOf(
  result: Tensor,
  x: Tensor,
  dims: readonly DimLabel[],
  sizes: Sizes,
): Record<"result" | "x", Int32Array> {
  return { result: offsets(dims, sizes, stridesOf(result)), x: offsets(dims, sizes, stridesOf(x)) };
}

const contractRows: Kernel = (result, call) => {
  const [x, w, chosen] = call.operands as readonly [Tensor, Tensor, Tensor];
  const experts = stringAttr(call.attrs, "experts");
  const stride = stridesOf(w).get(experts)!;
  const over = withoutDims(joinDims(x.dims, w.dims), [...chosen.dims, experts]);
  const plan = planContraction(x, w, result, over, call.sizes);
  eachRow(chosen, call, [x, result], (expert, inX, at) => contract(plan, inX, expert * stride, at));
};

const contractWeight: Kernel = (result, call) => {
  const [x, y, chosen] = call.operands as readonly [Tensor, Tensor, Tensor];
  const stride = stridesOf(result).get(stringAttr(call.attrs, "experts"))!;
  const over = withoutDims(joinDims(x.dims, y.dims), chosen.dims);
  const plan = planContraction(x, y, result, over, call.sizes);
  eachRow(chosen, call, [x, y], (expert, inX, inY) => contract(plan, inX, inY, expert * stride));
};

const tiles: Kernel = (result, { attrs, operands, sizes }) => {
  const [chosen] = operands as readonly [Tensor];
  const [outer, inner] = stringsAttr(attrs, "into") as [DimLabel, DimLabel];
  const count = sizeOf(sizes, stringAttr(attrs, "experts"));
  const rows = Array.from({ length: count }, (): number[] => []);
  for (const [r, expert] of chosen.data.entries()) {
    if (expert >= count) throw new Error(`row ${r} has expert ${expert} of ${count}`);
    if (expert >= 0) rows[expert]!.push(r);
  }
  const strides = stridesOf(result);
  const by = sizeOf(sizes, inner);
  result.data.fill(-1);
  let tile = 0;
  for (const own of rows) {
    for (const [i, r] of own.entries())
      result.data[(tile + Math.floor(i / by)) * strides.get(outer)! + (i % by) * strides.get(inner)!] = r;
    tile += Math.ceil(own.length / by);
  }
};

export const MOE_KERNELS = {
  "moe.dispatch": dispatch,
  "moe.contract": contractRows,
  "moe.contract_weight": contractWeight,
  "moe.combine": combine,
  "moe.tiles": tiles,
} satisfies Record<string, Kernel>;

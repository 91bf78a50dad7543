import { booleanAttr, numberAttr, stringAttr, stringsAttr } from "../../tensor-ir/attrs.ts";
import { joinDims, withoutDims } from "../../tensor-ir/ops/dims.ts";
import { contract, planContraction } from "../contraction.ts";
import { draw } from "../../../runtime/program/philox.ts";
import { offsets, restride, sizeOf, stridesOf, type Tensor } from "../tensor.ts";
import type { Call, Kernel } from "./kernel.ts";
import { cast, concat, place, readInto, slice, writeInto } from "./moves.ts";
import { eachOrderedRow, eachRow } from "./order.ts";

const constant: Kernel = (result, { attrs }) => {
  result.data.fill(Number(attrs["value"]));
};

const iota: Kernel = (result) => {
  for (let i = 0; i < result.data.length; i++) result.data[i] = i;
};

const random: Kernel = (result, { attrs, border: { seed, step } }) => {
  const kind = stringAttr(attrs, "kind") === "normal" ? "normal" : "uniform";
  const values = new Float64Array(result.data.length);
  draw(values, { kind, seed, step, stream: stringAttr(attrs, "stream") });
  result.data.set(values);
};

const rename: Kernel = (result, { attrs, operands: [x], sizes }) => {
  const [from, to] = [stringsAttr(attrs, "from"), stringsAttr(attrs, "to")];
  const strides = stridesOf(x!);
  const added = from.map((label, i) => [to[i]!, strides.get(label)!] as const);
  readInto(result, x!, sizes, restride(strides, from, added));
};

const split: Kernel = (result, { attrs, operands: [x], sizes }) => {
  const [dim, [outer, inner]] = [stringAttr(attrs, "dim"), stringsAttr(attrs, "into")];
  const strides = stridesOf(x!);
  const stride = strides.get(dim)!;
  const into = [
    [outer!, stride * sizeOf(sizes, inner!)],
    [inner!, stride],
  ] as const;
  readInto(result, x!, sizes, restride(strides, [dim], into));
};

const merge: Kernel = (result, { attrs, operands: [x], sizes }) => {
  const [[outer, inner], to] = [stringsAttr(attrs, "dims"), stringAttr(attrs, "to")];
  const strides = stridesOf(result);
  const stride = strides.get(to)!;
  const from = [
    [outer!, stride * sizeOf(sizes, inner!)],
    [inner!, stride],
  ] as const;
  writeInto(result, x!, sizes, restride(strides, [to], from));
};

/** An index as it may be used; negative for none. */
function checkedIndex(index: number, dim: string, size: number): number {
  if (index >= size) throw new Error(`index ${index} is outside of dim ${dim}, which has ${size}`);
  return index;
}

const gather: Kernel = (result, { attrs, operands, sizes }) => {
  const [x, index] = operands as readonly [Tensor, Tensor];
  const dim = stringAttr(attrs, "dim");
  const [strides, size] = [stridesOf(x), sizeOf(sizes, dim)];
  const stride = strides.get(dim)!;
  const inX = offsets(result.dims, sizes, restride(strides, [dim], []));
  const inIndex = offsets(result.dims, sizes, stridesOf(index));
  for (let i = 0; i < inX.length; i++) {
    const at = checkedIndex(index.data[inIndex[i]!]!, dim, size);
    if (at >= 0) result.data[i] = x.data[inX[i]! + at * stride]!;
  }
};

const scatterAdd: Kernel = (result, { attrs, operands, sizes }) => {
  const [x, index] = operands as readonly [Tensor, Tensor];
  const dim = stringAttr(attrs, "dim");
  const [strides, size] = [stridesOf(result), sizeOf(sizes, dim)];
  const stride = strides.get(dim)!;
  const source = joinDims(x.dims, index.dims);
  const inX = offsets(source, sizes, stridesOf(x));
  const inIndex = offsets(source, sizes, stridesOf(index));
  const inResult = offsets(source, sizes, restride(strides, [dim], []));
  for (let i = 0; i < inX.length; i++) {
    const at = checkedIndex(index.data[inIndex[i]!]!, dim, size);
    if (at >= 0) result.data[inResult[i]! + at * stride]! += x.data[inX[i]!]!;
  }
};

const contraction: Kernel = (result, { operands, sizes }) => {
  const [a, b] = operands as readonly [Tensor, Tensor];
  contract(planContraction(a, b, result, joinDims(a.dims, b.dims), sizes));
};

const FOLDS = {
  sum: { start: 0, step: (a: number, b: number) => a + b },
  max: { start: -Infinity, step: Math.max },
  min: { start: Infinity, step: Math.min },
} as const;

const reduce: Kernel = (result, { attrs, operands: [x], sizes }) => {
  const { start, step } = FOLDS[stringAttr(attrs, "kind") as keyof typeof FOLDS];
  const strides = stridesOf(x!);
  const kept = offsets(result.dims, sizes, strides);
  const folded = offsets(withoutDims(x!.dims, result.dims), sizes, strides);
  for (let i = 0; i < kept.length; i++) {
    let value: number = start;
    for (const at of folded) value = step(value, x!.data[kept[i]! + at]!);
    result.data[i] = value;
  }
};

const cumsum: Kernel = (result, { attrs, operands: [x], sizes }) => {
  const dim = stringAttr(attrs, "dim");
  const [exclusive, reverse] = [booleanAttr(attrs, "exclusive"), booleanAttr(attrs, "reverse")];
  const [inX, inResult] = [stridesOf(x!).get(dim)!, stridesOf(result).get(dim)!];
  const size = sizeOf(sizes, dim);
  eachRow(x!, result, dim, sizes, (atX, atResult) => {
    let sum = 0;
    for (let n = 0; n < size; n++) {
      const i = reverse ? size - 1 - n : n;
      const before = sum;
      sum += x!.data[atX + i * inX]!;
      result.data[atResult + i * inResult] = exclusive ? before : sum;
    }
  });
};

const topK: Kernel = (result, { attrs, operands: [x], sizes }) => {
  const [dim, to] = [stringAttr(attrs, "dim"), stringAttr(attrs, "to")];
  const [k, stride] = [sizeOf(sizes, to), stridesOf(result).get(to)!];
  eachOrderedRow(x!, result, dim, sizes, (order, at) => {
    for (let i = 0; i < k; i++) result.data[at + i * stride] = order[i]!;
  });
};

const rank: Kernel = (result, { attrs, operands: [x], sizes }) => {
  const dim = stringAttr(attrs, "dim");
  const stride = stridesOf(result).get(dim)!;
  eachOrderedRow(x!, result, dim, sizes, (order, at) => {
    for (const [place, i] of order.entries()) result.data[at + i * stride] = place;
  });
};

/** The arguments that slice and pad share. */
function stretchOf({ attrs }: Call): readonly [dim: string, to: string, start: number] {
  return [stringAttr(attrs, "dim"), stringAttr(attrs, "to"), numberAttr(attrs, "start")];
}

export const TENSOR_KERNELS = {
  "tensor.constant": constant,
  "tensor.iota": iota,
  "tensor.random": random,
  "tensor.cast": (result, { operands: [x], sizes }) => cast(result, x!, sizes),
  "tensor.broadcast": (result, { operands: [x], sizes }) => readInto(result, x!, sizes),
  "tensor.rename": rename,
  "tensor.contract": contraction,
  "tensor.reduce": reduce,
  "tensor.slice": (result, call) => slice(result, call.operands[0]!, call.sizes, ...stretchOf(call)),
  "tensor.pad": (result, call) => place(result, call.operands[0]!, call.sizes, ...stretchOf(call)),
  "tensor.concat": (result, { attrs, operands, sizes }) =>
    concat(result, operands, stringsAttr(attrs, "dims"), stringAttr(attrs, "to"), sizes),
  "tensor.split_dim": split,
  "tensor.merge_dims": merge,
  "tensor.gather": gather,
  "tensor.scatter_add": scatterAdd,
  "tensor.top_k": topK,
  "tensor.rank": rank,
  "tensor.cumsum": cumsum,
  "tensor.stop_gradient": (result, { operands: [x], sizes }) => readInto(result, x!, sizes),
} satisfies Record<string, Kernel>;

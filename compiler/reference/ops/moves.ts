import { type DimLabel, isFloat } from "../../tensor-ir/types.ts";
import { offsets, restride, type Sizes, sizeOf, type Strides, stridesOf, type Tensor } from "../tensor.ts";

/* Copies between tensors that name their dims differently. */

/** Every element of the result, from where the strides say that it lies in x. */
export function readInto(result: Tensor, x: Tensor, sizes: Sizes, strides: Strides = stridesOf(x), start = 0): void {
  const at = offsets(result.dims, sizes, strides);
  for (let i = 0; i < at.length; i++) result.data[i] = x.data[start + at[i]!]!;
}

/** Every element of x, to where the strides say that it lies in the result. */
export function writeInto(result: Tensor, x: Tensor, sizes: Sizes, strides: Strides, start = 0): void {
  const at = offsets(x.dims, sizes, strides);
  for (let i = 0; i < at.length; i++) result.data[start + at[i]!] = x.data[i]!;
}

/** size(to) elements of dim from `start` on. */
export function slice(result: Tensor, x: Tensor, sizes: Sizes, dim: DimLabel, to: DimLabel, start: number): void {
  const strides = stridesOf(x);
  const stride = strides.get(dim)!;
  readInto(result, x, sizes, restride(strides, [dim], [[to, stride]]), start * stride);
}

/** x placed at `start` of dim `to`. */
export function place(result: Tensor, x: Tensor, sizes: Sizes, dim: DimLabel, to: DimLabel, start: number): void {
  const strides = stridesOf(result);
  const stride = strides.get(to)!;
  writeInto(result, x, sizes, restride(strides, [to], [[dim, stride]]), start * stride);
}

export function concat(
  result: Tensor,
  parts: readonly Tensor[],
  dims: readonly DimLabel[],
  to: DimLabel,
  sizes: Sizes,
): void {
  let start = 0;
  for (const [i, part] of parts.entries()) {
    place(result, part, sizes, dims[i]!, to, start);
    start += sizeOf(sizes, dims[i]!);
  }
}

/** Numbers to i32 are cut toward zero and saturate, NaN gives 0. Anything but 0 is true, NaN as well. */
export function cast(result: Tensor, x: Tensor, sizes: Sizes): void {
  const convert = isFloat(result.dtype) ? (v: number) => v : result.dtype === "i32" ? toI32 : toBool;
  const at = offsets(result.dims, sizes, stridesOf(x));
  for (let i = 0; i < at.length; i++) result.data[i] = convert(x.data[at[i]!]!);
}

function toI32(x: number): number {
  return Number.isNaN(x) ? 0 : Math.trunc(Math.min(Math.max(x, -(2 ** 31)), 2 ** 31 - 1));
}

function toBool(x: number): number {
  return x === 0 ? 0 : 1;
}

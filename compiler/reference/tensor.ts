import { type DimLabel, type DType, isFloat, type TensorType } from "../tensor-ir/types.ts";

/** Floats of every dtype are held as f64; how they are rounded is a matter of the run. Booleans are 0 and 1. */
export type Elements = Float64Array | Int32Array | Uint8Array;

/** Elements in memory order, the last dim contiguous. */
export interface Tensor {
  readonly dtype: DType;
  readonly dims: readonly DimLabel[];
  /** The sizes of `dims`. */
  readonly shape: readonly number[];
  readonly data: Elements;
}

/** The size of every dim of the program, those bound at run time included. */
export type Sizes = ReadonlyMap<DimLabel, number>;

/** Elements from one index of a dim to the next. A label that is not in the map has stride 0: the dim is broadcast. */
export type Strides = ReadonlyMap<DimLabel, number>;

/** A tensor of zeros. */
export function zeros(type: TensorType, sizes: Sizes): Tensor {
  const shape = type.dims.map((label) => sizeOf(sizes, label));
  return { dtype: type.dtype, dims: type.dims, shape, data: elements(type.dtype, product(shape)) };
}

function elements(dtype: DType, length: number): Elements {
  if (isFloat(dtype)) return new Float64Array(length);
  return dtype === "i32" ? new Int32Array(length) : new Uint8Array(length);
}

export function sizeOf(sizes: Sizes, label: DimLabel): number {
  const size = sizes.get(label);
  if (size === undefined) throw new Error(`dim ${label} has no size`);
  return size;
}

export function product(factors: readonly number[]): number {
  return factors.reduce((a, b) => a * b, 1);
}

export function stridesOf({ dims, shape }: Tensor): Map<DimLabel, number> {
  const strides = new Map<DimLabel, number>();
  let stride = 1;
  for (let i = dims.length - 1; i >= 0; i--) {
    strides.set(dims[i]!, stride);
    stride *= shape[i]!;
  }
  return strides;
}

/** The strides with some labels taken away and others added. */
export function restride(
  strides: Strides,
  gone: readonly DimLabel[],
  added: readonly (readonly [DimLabel, number])[],
): Map<DimLabel, number> {
  const changed = new Map(strides);
  for (const label of gone) changed.delete(label);
  for (const [label, stride] of added) changed.set(label, stride);
  return changed;
}

/**
 * Where the element of every index over these dims lies, the last dim running fastest. Offsets over two lists of dims add
 * up to those over both, which is how sums are written here: offsets of what is kept plus offsets of what is summed.
 */
export function offsets(dims: readonly DimLabel[], sizes: Sizes, strides: Strides): Int32Array {
  let found = Int32Array.of(0);
  for (const label of dims) {
    const size = sizeOf(sizes, label);
    const stride = strides.get(label) ?? 0;
    const next = new Int32Array(found.length * size);
    for (let outer = 0, at = 0; outer < found.length; outer++) {
      for (let i = 0, offset = found[outer]!; i < size; i++, offset += stride) next[at++] = offset;
    }
    found = next;
  }
  return found;
}

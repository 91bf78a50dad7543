import type { DimTable, DType, TensorType } from "../tensor-ir/types.ts";

const BYTES: Readonly<Record<DType, number>> = { f64: 8, f32: 4, bf16: 2, f16: 2, f8e4m3: 1, i32: 4, bool: 1 };

export function bytesOf(dtype: DType): number {
  return BYTES[dtype];
}

/** The number of elements. All dims must have a size: this is for stores, which never have run-time dims. */
export function elementsOf(type: TensorType, dims: DimTable): number {
  return type.dims.reduce((product, label) => {
    const size = dims.get(label);
    if (typeof size !== "number") throw new Error(`dim ${label} has no size`);
    return product * size;
  }, 1);
}

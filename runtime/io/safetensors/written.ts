import type { DType } from "./format.ts";

/** A tensor that is about to be written. */
export interface WrittenTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Little-endian, in row-major order; made when it is its turn. */
  readonly bytes: () => Uint8Array;
}

/** An f32 tensor from its values. */
export function f32(name: string, shape: readonly number[], values: ArrayLike<number>): WrittenTensor {
  return { name, dtype: "F32", shape, bytes: () => new Uint8Array(Float32Array.from(values).buffer) };
}

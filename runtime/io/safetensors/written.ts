import { DTYPES, type DType } from "./format.ts";

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

/**
 * What a file of tensors begins with, and the order in which their bytes follow: that of their names, the header padded to a
 * multiple of 8 bytes, so that equal tensors give equal files.
 */
export function safetensorsParts(
  tensors: readonly WrittenTensor[],
  metadata: Readonly<Record<string, string>> = {},
): { readonly header: Uint8Array<ArrayBuffer>; readonly sorted: readonly WrittenTensor[] } {
  const sorted = tensors.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const entries: Record<string, unknown> = { __metadata__: { format: "pt", ...metadata } };
  let at = 0;
  for (const { name, dtype, shape } of sorted) {
    const size = shape.reduce((a, b) => a * b, 1) * DTYPES[dtype];
    entries[name] = { dtype, shape, data_offsets: [at, at + size] };
    at += size;
  }
  const text = new TextEncoder().encode(JSON.stringify(entries));
  const header = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(text, 8);
  return { header, sorted };
}

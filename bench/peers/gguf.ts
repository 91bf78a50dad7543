/** Writes GGUF version 3, the format of llama.cpp: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
import { writeFileSync } from "node:fs";

/** Numbers of the format: types of metadata, types of tensors. */
const VALUE = { u32: 4, f32: 6, bool: 7, text: 8 } as const;
const TENSOR = { F32: 0, BF16: 30 } as const;
const ALIGNMENT = 32;

export type GgufValue = readonly [type: keyof typeof VALUE, value: number | boolean | string];

export interface GgufTensor {
  readonly name: string;
  readonly dtype: keyof typeof TENSOR;
  /** Row-major, as everywhere else; the file has the innermost dim first. */
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export function writeGguf(
  path: string,
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): void {
  const pieces: Uint8Array[] = [];
  let length = 0;
  const put = (bytes: Uint8Array): void => {
    pieces.push(bytes);
    length += bytes.length;
  };
  const number = (size: number, write: (view: DataView) => void): void => {
    const view = new DataView(new ArrayBuffer(size));
    write(view);
    put(new Uint8Array(view.buffer));
  };
  const u32 = (x: number): void => number(4, (view) => view.setUint32(0, x, true));
  const u64 = (x: number): void => number(8, (view) => view.setBigUint64(0, BigInt(x), true));
  const text = (x: string): void => {
    const bytes = new TextEncoder().encode(x);
    u64(bytes.length);
    put(bytes);
  };
  const pad = (): void => put(new Uint8Array((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT));

  put(new TextEncoder().encode("GGUF"));
  u32(3);
  u64(tensors.length);
  u64(Object.keys(metadata).length);
  for (const [key, [type, value]] of Object.entries(metadata)) {
    text(key);
    u32(VALUE[type]);
    if (type === "text") text(String(value));
    else if (type === "u32") u32(Number(value));
    else if (type === "f32") number(4, (view) => view.setFloat32(0, Number(value), true));
    else number(1, (view) => view.setUint8(0, Number(value)));
  }
  let offset = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    text(name);
    u32(shape.length);
    for (const size of shape.toReversed()) u64(size);
    u32(TENSOR[dtype]);
    u64(offset);
    offset += Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT;
  }
  pad();
  for (const { bytes } of tensors) {
    put(bytes);
    pad();
  }
  writeFileSync(path, Buffer.concat(pieces));
}

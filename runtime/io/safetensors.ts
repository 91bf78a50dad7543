/** The safetensors format: a header of JSON with the place of every tensor, then their bytes. */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";

/** Elements in memory order, the last dim contiguous. */
export interface StoredTensor {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/** A file that is no safetensors file, or a tensor that cannot be read. */
export class CheckpointError extends Error {}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly file: string;
  /** Bytes of the file. */
  readonly start: number;
  readonly end: number;
}

/** The largest header that is believed: 100 MB, as in the reference implementation. */
const LARGEST_HEADER = 100_000_000;

/** All tensors of a folder with `.safetensors` files, or of one such file. Values are read when they are asked for. */
export class Checkpoint {
  readonly #entries = new Map<string, Entry>();

  /** @throws CheckpointError */
  constructor(path: string) {
    for (const file of filesOf(path)) for (const [name, entry] of headerOf(file)) this.#entries.set(name, entry);
  }

  get names(): readonly string[] {
    return [...this.#entries.keys()];
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  shapeOf(name: string): readonly number[] {
    return this.#entry(name).shape;
  }

  /** @throws CheckpointError when there is no such tensor or its dtype is not known */
  read(name: string): StoredTensor {
    const { dtype, shape, file, start, end } = this.#entry(name);
    const decode = DECODERS[dtype];
    if (decode === undefined) throw new CheckpointError(`\`${name}\` is ${dtype}, which cannot be read`);
    return { shape, data: decode(readRange(file, start, end)) };
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw new CheckpointError(`the checkpoint has no tensor \`${name}\``);
    return entry;
  }
}

function filesOf(path: string): string[] {
  if (!existsSync(path)) throw new CheckpointError(`there is no \`${path}\``);
  if (!statSync(path).isDirectory()) return [path];
  const files = readdirSync(path).filter((file) => file.endsWith(".safetensors"));
  const index = join(path, "model.safetensors.index.json");
  if (existsSync(index)) {
    const { weight_map: map } = JSON.parse(readFileSync(index, "utf8")) as { weight_map: Record<string, string> };
    return [...new Set(Object.values(map))].map((file) => join(path, file));
  }
  if (files.length === 0) throw new CheckpointError(`\`${path}\` has no .safetensors file`);
  // What lies beside the model (an optimizer's state, a reference) is not part of it.
  return (files.includes("model.safetensors") ? ["model.safetensors"] : files.toSorted()).map((file) =>
    join(path, file),
  );
}

function headerOf(file: string): Map<string, Entry> {
  const size = statSync(file).size;
  const wrong = (): CheckpointError => new CheckpointError(`\`${file}\` is no safetensors file`);
  if (size < 8) throw wrong();
  const length = Number(readRange(file, 0, 8).readBigUInt64LE(0));
  if (length > Math.min(LARGEST_HEADER, size - 8)) throw wrong();
  let header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  try {
    header = JSON.parse(readRange(file, 8, 8 + length).toString("utf8")) as typeof header;
  } catch {
    throw wrong();
  }
  const entries = new Map<string, Entry>();
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [start, end] = offsets.map((offset) => 8 + length + offset) as [number, number];
    if (end > size || start > end) throw wrong();
    entries.set(name, { dtype, shape, file, start, end });
  }
  return entries;
}

function readRange(file: string, start: number, end: number): Buffer {
  const bytes = Buffer.alloc(end - start);
  const handle = openSync(file, "r");
  try {
    let done = 0;
    while (done < bytes.length) {
      const count = readSync(handle, bytes, done, bytes.length - done, start + done);
      if (count === 0) throw new CheckpointError(`\`${file}\` ends early`);
      done += count;
    }
  } finally {
    closeSync(handle);
  }
  return bytes;
}

const DECODERS: Readonly<Record<string, (bytes: Buffer) => ArrayLike<number>>> = {
  F64: (bytes) => Float64Array.from({ length: bytes.length / 8 }, (_, i) => bytes.readDoubleLE(8 * i)),
  F32: (bytes) => Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i)),
  BF16: (bytes) => {
    const words = Uint32Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i) << 16);
    return new Float32Array(words.buffer);
  },
  F16: (bytes) => Float32Array.from({ length: bytes.length / 2 }, (_, i) => halfToNumber(bytes.readUInt16LE(2 * i))),
  I64: (bytes) => Float64Array.from({ length: bytes.length / 8 }, (_, i) => Number(bytes.readBigInt64LE(8 * i))),
  I32: (bytes) => Int32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readInt32LE(4 * i)),
};

/** IEEE 754 binary16. */
function halfToNumber(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** A safetensors file of f32 tensors. */
export function encodeSafetensors(tensors: ReadonlyMap<string, StoredTensor>): Uint8Array {
  let offset = 0;
  const header: Record<string, unknown> = {};
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + 4 * data.length] };
    offset += 4 * data.length;
  }
  const text = JSON.stringify(header);
  // The data starts at a multiple of eight.
  const head = Buffer.from(text.padEnd(text.length + ((8 - (Buffer.byteLength(text) % 8)) % 8)), "utf8");
  const file = Buffer.alloc(8 + head.length + offset);
  file.writeBigUInt64LE(BigInt(head.length), 0);
  head.copy(file, 8);
  let at = 8 + head.length;
  for (const { data } of tensors.values()) {
    for (let i = 0; i < data.length; i++) file.writeFloatLE(Math.fround(data[i]!), at + 4 * i);
    at += 4 * data.length;
  }
  return file;
}

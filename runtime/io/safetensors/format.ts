/** The safetensors format: an 8-byte little-endian length, a JSON header, then the tensors' bytes. */

export const DTYPES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;
export type DType = keyof typeof DTYPES;

export interface Entry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Bytes from the end of the header. */
  readonly start: number;
  readonly end: number;
}

export interface Header {
  readonly entries: readonly Entry[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Where the tensors' bytes begin in the file. */
  readonly dataStart: number;
}

/** A file that is not what it claims to be. The message names the file and the tensor. */
export class CheckpointError extends Error {}

/** Larger headers are refused, as in the reference implementation. */
export const LARGEST_HEADER = 100_000_000;

/** Reads a header strictly. `size` is that of the file; `bytes` are its first 8 and the header's. */
export function parseHeader(file: string, bytes: Uint8Array, size: number): Header {
  const fail = (why: string): never => {
    throw new CheckpointError(`${file}: ${why}`);
  };
  let json: unknown;
  const length = bytes.length - 8;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8)));
  } catch {
    return fail("the header is not JSON");
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) return fail("the header is not an object");
  const room = size - 8 - length;
  const entries: Entry[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") metadata = value as Record<string, string>;
    else entries.push(parseEntry(file, name, value, room));
  }
  checkDuplicates(file, new TextDecoder().decode(bytes.subarray(8)), entries.length, fail);
  checkLayout(file, entries, room);
  return { entries, metadata, dataStart: 8 + length };
}

/** The length of the header as the first 8 bytes give it. */
export function headerLength(file: string, first: Uint8Array, size: number): number {
  if (first.length < 8) throw new CheckpointError(`${file}: too short for a header`);
  const length = new DataView(first.buffer, first.byteOffset).getBigUint64(0, true);
  if (length > BigInt(LARGEST_HEADER))
    throw new CheckpointError(`${file}: the header claims ${length} bytes, more than ${LARGEST_HEADER}`);
  if (8n + length > BigInt(size))
    throw new CheckpointError(`${file}: the header claims ${length} bytes, the file has ${size}`);
  return Number(length);
}

function parseEntry(file: string, name: string, value: unknown, room: number): Entry {
  const fail = (why: string): never => {
    throw new CheckpointError(`${file}: tensor \`${name}\` ${why}`);
  };
  if (typeof value !== "object" || value === null) return fail("has no description");
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPES, dtype))
    return fail(`has the unknown dtype ${JSON.stringify(dtype)}`);
  if (!isSizes(shape)) return fail(`has the shape ${JSON.stringify(shape)}`);
  if (!isSizes(offsets) || offsets.length !== 2) return fail(`has the offsets ${JSON.stringify(offsets)}`);
  const [start, end] = offsets as [number, number];
  if (start > end || end > room) return fail(`lies at bytes ${start} to ${end} of ${room}`);
  const wanted = shape.reduce((a, b) => a * b, 1) * DTYPES[dtype as DType];
  if (!Number.isSafeInteger(wanted) || wanted !== end - start)
    return fail(`has ${end - start} bytes, its shape ${JSON.stringify(shape)} of ${dtype} needs ${wanted}`);
  return { name, dtype: dtype as DType, shape, start, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && (n as number) >= 0);
}

/** JSON.parse keeps the last of equal keys: a name that is given twice hides a tensor. */
function checkDuplicates(_file: string, text: string, count: number, fail: (why: string) => never): void {
  const names = [...text.matchAll(/"((?:[^"\\]|\\.)*)"\s*:\s*\{\s*"(?:dtype|shape|data_offsets)"/g)].map((m) => m[1]!);
  if (names.length > count) {
    const twice = names.find((n, i) => names.indexOf(n) !== i);
    fail(`tensor \`${twice ?? ""}\` is described twice`);
  }
}

/** Tensors lie side by side: no overlap, no gap, nothing behind the last one. */
function checkLayout(file: string, entries: readonly Entry[], room: number): void {
  let at = 0;
  for (const { name, start, end } of entries.toSorted((a, b) => a.start - b.start || a.end - b.end)) {
    if (start < at) throw new CheckpointError(`${file}: tensor \`${name}\` overlaps the one before it`);
    if (start > at)
      throw new CheckpointError(`${file}: ${start - at} bytes before tensor \`${name}\` belong to no tensor`);
    at = end;
  }
  if (at !== room) throw new CheckpointError(`${file}: ${room - at} bytes at the end belong to no tensor`);
}

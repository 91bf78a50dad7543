/** The safetensors format: an 8-byte little-endian length, a JSON header, then the tensors' bytes. */
import { named, parseJson, RepeatedKeyError, shown } from "../json.ts";
import { CheckpointError } from "./checkpoint-error.ts";

export { CheckpointError };

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

/** Larger headers are refused, as in the reference implementation. */
export const LARGEST_HEADER = 100_000_000;

/** Reads a header strictly. `size` is that of the file; `bytes` are its first 8 and the header's. */
export function parseHeader(file: string, bytes: Uint8Array, size: number): Header {
  const json = headerJson(file, bytes.subarray(8));
  const length = bytes.length - 8;
  const room = size - 8 - length;
  const entries: Entry[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name !== "__metadata__") entries.push(parseEntry(file, name, value, room));
    else if (isTexts(value)) metadata = value;
    else throw new CheckpointError(`${file}: the metadata is no object of texts`);
  }
  checkLayout(file, entries, room);
  return { entries, metadata, dataStart: 8 + length };
}

function headerJson(file: string, bytes: Uint8Array): object {
  const fail = (why: string): never => {
    throw new CheckpointError(`${file}: ${why}`);
  };
  let json: unknown;
  try {
    json = parseJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    if (!(error instanceof RepeatedKeyError)) return fail("the header is not JSON");
    const [tensor = "", ...inside] = error.path;
    const twice = inside.length === 0 ? "is described twice" : `has ${named(inside.join("."))} twice`;
    return fail(`tensor ${named(tensor)} ${twice}`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) return fail("the header is not an object");
  // Other readers look at the first byte.
  return bytes[0] === 0x7b ? json : fail("the header does not begin with {");
}

function isTexts(value: unknown): value is Record<string, string> {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((text) => typeof text === "string")
  );
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
    throw new CheckpointError(`${file}: tensor ${named(name)} ${why}`);
  };
  if (typeof value !== "object" || value === null || Array.isArray(value)) return fail("has no description");
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPES, dtype)) return fail(`has the unknown dtype ${shown(dtype)}`);
  if (!isSizes(shape)) return fail(`has the shape ${shown(shape)}`);
  if (!isSizes(offsets) || offsets.length !== 2) return fail(`has the offsets ${shown(offsets)}`);
  const [start, end] = offsets as [number, number];
  if (start > end || end > room) return fail(`lies at bytes ${start} to ${end} of ${room}`);
  const wanted = shape.includes(0) ? 0 : shape.reduce((a, b) => a * b, DTYPES[dtype as DType]);
  if (wanted !== end - start) {
    const bytes = Number.isSafeInteger(wanted) ? wanted : "more than 2^53";
    return fail(`has ${end - start} bytes, its shape ${shown(shape)} of ${dtype} needs ${bytes}`);
  }
  return { name, dtype: dtype as DType, shape, start, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && (n as number) >= 0);
}

/** Tensors lie side by side: no overlap, no gap, nothing behind the last one. */
function checkLayout(file: string, entries: readonly Entry[], room: number): void {
  let at = 0;
  for (const { name, start, end } of entries.toSorted((a, b) => a.start - b.start || a.end - b.end)) {
    if (start < at) throw new CheckpointError(`${file}: tensor ${named(name)} overlaps the one before it`);
    if (start > at)
      throw new CheckpointError(`${file}: ${start - at} bytes before tensor ${named(name)} belong to no tensor`);
    at = end;
  }
  if (at !== room) throw new CheckpointError(`${file}: ${room - at} bytes at the end belong to no tensor`);
}

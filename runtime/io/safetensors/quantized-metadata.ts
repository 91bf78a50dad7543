/** How codes are grouped, in the metadata of a safetensors file: the format has no types for them. */
import { named } from "../json.ts";
import { CheckpointError } from "./format.ts";
import type { CodeType, Groups } from "./quantize.ts";

/** A tensor of codes, by the shape of the weight. Codes of i4 are stored as bytes of two, in one dim. */
export interface StoredCodes extends Groups {
  /** The name of the tensor with their scales. */
  readonly scales: string;
  readonly dtype: CodeType;
  readonly shape: readonly number[];
}

const KEY = "quantized";

export function quantizedMetadata(codes: ReadonlyMap<string, StoredCodes>): Record<string, string> {
  return codes.size === 0 ? {} : { [KEY]: JSON.stringify(Object.fromEntries(codes)) };
}

/** @throws CheckpointError for anything that `quantizedMetadata` does not write */
export function parseQuantized(file: string, metadata: Readonly<Record<string, string>>): Map<string, StoredCodes> {
  const text = Object.hasOwn(metadata, KEY) ? metadata[KEY] : undefined;
  if (text === undefined) return new Map();
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new CheckpointError(`${file}: the metadata \`${KEY}\` is not JSON`);
  }
  const fail = (why: string): never => {
    throw new CheckpointError(`${file}: the metadata \`${KEY}\`: ${why}`);
  };
  if (!isObject(json)) return fail("it is no object");
  return new Map(
    Object.entries(json).map(([name, value]) => [name, codesOf(value) ?? fail(`${named(name)} is no codes`)]),
  );
}

/** Undefined for anything else. */
function codesOf(value: unknown): StoredCodes | undefined {
  if (!isObject(value)) return undefined;
  const { dtype, shape, scales, dim, group } = value;
  if ((dtype !== "i8" && dtype !== "i4") || typeof scales !== "string") return undefined;
  if (!Array.isArray(shape) || !shape.every(isSize) || !isSize(group)) return undefined;
  if (dim !== 0 && !isSize(dim)) return undefined;
  return dim < shape.length ? { dtype, shape, scales, dim, group } : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

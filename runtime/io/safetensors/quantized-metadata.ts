/** How codes are grouped, in the metadata of a safetensors file: the format has no types for them. */
import { z } from "zod";
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

const size = z.number().int().positive();
const schema = z.record(
  z.string(),
  z
    .object({
      dtype: z.enum(["i8", "i4"]),
      shape: z.array(size),
      scales: z.string(),
      dim: z.number().int().nonnegative(),
      group: size,
    })
    .refine(({ dim, shape }) => dim < shape.length),
);

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
  const { data, error } = schema.safeParse(json);
  if (error === undefined) return new Map(Object.entries(data));
  const [issue] = error.issues;
  throw new CheckpointError(`${file}: the metadata \`${KEY}\`: ${z.core.toDotPath(issue!.path)}: ${issue!.message}`);
}

import { CheckpointError } from "../io/safetensors/format.ts";
import { type CodeType, dequantize, NotFiniteError, quantize } from "../io/safetensors/quantize.ts";
import { decoded, encoded } from "./elements.ts";
import type { Elements, StoreSpec } from "./session.ts";

/** The type of codes that a store has; undefined for any other store. */
export function codeType({ dtype, quantized }: StoreSpec): CodeType | undefined {
  return quantized !== undefined && (dtype === "i8" || dtype === "i4") ? dtype : undefined;
}

/** What the values of a param are once a store has them: rounded as it rounds them. @throws CheckpointError */
export function storedValues(spec: StoreSpec, values: ArrayLike<number>): ArrayLike<number> {
  const type = codeType(spec);
  const [[, elements], scales] = storedElements(spec, values) as [[string, Elements], [string, Elements]?];
  if (spec.quantized === undefined || type === undefined) return decoded(elements, spec.dtype);
  const codes = { codes: elements as Int8Array | Uint8Array, scales: scales![1] as Uint16Array };
  return dequantize(codes, spec.shape, type, spec.quantized);
}

/**
 * The values of a param as stores of a session hold them, by the names of these: elements of its dtype, or codes and scales.
 * @throws CheckpointError for a value that codes cannot stand for
 */
export function storedElements(spec: StoreSpec, values: ArrayLike<number>): [name: string, elements: Elements][] {
  const { name, dtype, shape, quantized } = spec;
  const type = codeType(spec);
  if (quantized === undefined || type === undefined) return [[name, encoded(values, dtype)]];
  try {
    const { codes, scales } = quantize(values, shape, type, quantized);
    return [
      [name, codes],
      [quantized.scales, scales],
    ];
  } catch (error) {
    if (!(error instanceof NotFiniteError)) throw error;
    throw new CheckpointError(`\`${name}\` has a value that is not finite, at element ${error.index}`);
  }
}

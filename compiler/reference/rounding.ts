import { type DType, isFloat } from "../tensor-ir/types.ts";
import type { Tensor } from "./tensor.ts";

/**
 * How the result of every op is rounded. Inside an op everything is f64: a contraction or a sum is rounded once.
 * `f64`: not at all. `f32`: floats of every dtype to f32. `declared`: to the dtype that the program gives them.
 */
export type Precision = "f64" | "f32" | "declared";

/** A binary floating-point format below f64. */
interface Format {
  /** Bits of the significand without the leading 1. */
  readonly bits: number;
  /** The exponent of the smallest normal number; below it the spacing stays the same. */
  readonly minExponent: number;
  readonly max: number;
  /** What a larger number, rounded, turns to. */
  readonly overflow: number;
}

const FORMATS: Readonly<Partial<Record<DType, Format>>> = {
  bf16: { bits: 7, minExponent: -126, max: (2 - 2 ** -7) * 2 ** 127, overflow: Infinity },
  f16: { bits: 10, minExponent: -14, max: 65_504, overflow: Infinity },
  // E4M3 "fn": no infinities; casts saturate.
  f8e4m3: { bits: 3, minExponent: -6, max: 448, overflow: 448 },
};

/** Rounds the elements in place. */
export function roundTensor({ dtype, data }: Tensor, precision: Precision): void {
  if (precision === "f64" || !isFloat(dtype)) return;
  const round = rounding(precision === "f32" ? "f32" : dtype);
  for (let i = 0; i < data.length; i++) data[i] = round(data[i]!);
}

/** To the nearest number of a float dtype, the even one of two; overflow gives an infinity, and 448 for f8e4m3. */
export function rounding(dtype: DType): (x: number) => number {
  const format = FORMATS[dtype];
  if (format !== undefined) return (x) => toFormat(x, format);
  return dtype === "f32" ? Math.fround : (x) => x;
}

const EVEN = 2 ** 52;
const bits = new DataView(new ArrayBuffer(8));

function toFormat(x: number, format: Format): number {
  if (x === 0 || Number.isNaN(x)) return x;
  const magnitude = Math.abs(x);
  if (magnitude === Infinity) return Math.sign(x) * format.overflow;
  const quantum = 2 ** (Math.max(exponentOf(magnitude), format.minExponent) - format.bits);
  // Division by a power of two is exact, and adding 2^52 rounds to whole numbers, ties to even, as f64 addition does.
  const rounded = (magnitude / quantum + EVEN - EVEN) * quantum;
  const result = rounded > format.max ? format.overflow : rounded;
  return x < 0 ? -result : result;
}

/** floor(log2(x)) of a positive normal number. */
function exponentOf(x: number): number {
  bits.setFloat64(0, x);
  return (bits.getUint16(0) >> 4) - 1023;
}

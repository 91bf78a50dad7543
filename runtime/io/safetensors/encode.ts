/** Little-endian bytes of values in a float dtype, rounded to nearest, ties to even. */
export function encode(values: Float32Array, dtype: "F64" | "F32" | "F16" | "BF16"): Uint8Array {
  switch (dtype) {
    case "F64":
      return new Uint8Array(Float64Array.from(values).buffer);
    case "F32":
      return new Uint8Array(values.slice().buffer);
    case "BF16":
      return new Uint8Array(Uint16Array.from(words(values), toBf16).buffer);
    case "F16":
      return new Uint8Array(Uint16Array.from(values, toF16).buffer);
  }
}

function words(values: Float32Array): Uint32Array {
  return new Uint32Array(values.slice().buffer);
}

/** The upper half of an f32, rounded; NaN stays NaN. */
function toBf16(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** 1 sign, 5 exponent and 10 fraction bits; what is larger than 65504 by half a step or more becomes infinite. */
function toF16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65_520) return sign | 0x7c00;
  if (size === 0) return sign;
  const exponent = Math.max(Math.floor(Math.log2(size)), -14);
  const steps = evenly(size / 2 ** (exponent - 10));
  // A fraction that rounds up to the next power of two carries into the exponent by itself.
  return sign | (((exponent + 14) << 10) + steps);
}

function evenly(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

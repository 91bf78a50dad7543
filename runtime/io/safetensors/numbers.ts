import type { DType } from "./format.ts";

/** Values of bytes in a dtype, as f32 (f64 for F64 and 64-bit integers). Little-endian, as all machines that run this. */
export function decode(bytes: Uint8Array, dtype: DType): Float32Array | Float64Array {
  const { buffer, byteOffset, byteLength } = aligned(bytes);
  switch (dtype) {
    case "F32":
      return new Float32Array(buffer, byteOffset, byteLength / 4);
    case "F64":
      return new Float64Array(buffer, byteOffset, byteLength / 8);
    case "BF16": {
      const halves = new Uint16Array(buffer, byteOffset, byteLength / 2);
      const words = new Uint32Array(halves.length);
      for (let i = 0; i < halves.length; i++) words[i] = halves[i]! << 16;
      return new Float32Array(words.buffer);
    }
    case "F16":
      return Float32Array.from(new Uint16Array(buffer, byteOffset, byteLength / 2), fromF16);
    case "F8_E4M3":
      return Float32Array.from(bytes, (code) => E4M3[code]!);
    case "F8_E5M2":
      return Float32Array.from(bytes, (code) => fromF16(code << 8));
    case "I64":
      return Float64Array.from(new BigInt64Array(buffer, byteOffset, byteLength / 8), Number);
    case "U64":
      return Float64Array.from(new BigUint64Array(buffer, byteOffset, byteLength / 8), Number);
    case "I32":
      return Float64Array.from(new Int32Array(buffer, byteOffset, byteLength / 4));
    case "U32":
      return Float64Array.from(new Uint32Array(buffer, byteOffset, byteLength / 4));
    case "I16":
      return Float32Array.from(new Int16Array(buffer, byteOffset, byteLength / 2));
    case "U16":
      return Float32Array.from(new Uint16Array(buffer, byteOffset, byteLength / 2));
    case "I8":
      return Float32Array.from(new Int8Array(buffer, byteOffset, byteLength));
    case "U8":
    case "BOOL":
      return Float32Array.from(bytes);
  }
}

function aligned(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
}

function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** E4M3 without infinities (Micikevicius et al. 2022): bias 7, S.1111.111 is NaN. */
const E4M3 = Float32Array.from({ length: 256 }, (_, code) => {
  const sign = code & 0x80 ? -1 : 1;
  const exponent = (code >> 3) & 15;
  const fraction = code & 7;
  if (exponent === 15 && fraction === 7) return NaN;
  return exponent === 0 ? sign * fraction * 2 ** -9 : sign * (1 + fraction / 8) * 2 ** (exponent - 7);
});

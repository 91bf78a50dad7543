/**
 * Weights as whole numbers with one scale for each group of them along a dim, the way of LLM.int8 and of the formats Q8_0 and
 * Q4_0 of llama.cpp, without zero points: weights of trained models lie around 0.
 *
 * - `i8`: scale = max |w| / 127, codes from -127 to 127 (symmetric, restricted range: Jacob et al., arXiv:1712.05877 §3)
 * - `i4`: scale = w / -8 for the w that is farthest from 0, codes from -8 to 7 (Q4_0 of llama.cpp: all sixteen codes are used)
 *
 * A code is w / scale, rounded to the nearest whole number, of two the even one. Scales are rounded to bf16 before that, so
 * that code * scale has at most 16 bits and is exact in f32: kernels that read few rows and those that read many agree.
 */
import { encode } from "./encode.ts";
import { decode } from "./numbers.ts";

export type CodeType = "i8" | "i4";

/** Which elements share a scale: `group` neighbors along a dim, fewer at its end. */
export interface Groups {
  readonly dim: number;
  readonly group: number;
}

/** In row-major order; of i4 two codes lie in a byte, the first one in its lower half. Scales are the bits of bf16. */
export interface Codes {
  readonly codes: Int8Array | Uint8Array;
  readonly scales: Uint16Array;
}

/** A weight has a value that no code stands for. */
export class NotFiniteError extends Error {
  readonly index: number;

  constructor(index: number) {
    super(`element ${index} is not finite`);
    this.index = index;
  }
}

/** 1.5 * 2^52: adding it rounds to whole numbers, ties to even. */
const EVEN = 6_755_399_441_055_744;

/** @throws NotFiniteError for NaN and infinities */
export function quantize(
  values: ArrayLike<number>,
  shape: readonly number[],
  dtype: CodeType,
  { dim, group }: Groups,
): Codes {
  const { outer, size, inner } = strides(shape, dim);
  const groups = Math.ceil(size / group);
  const scales = new Float32Array(outer * groups * inner);
  const codes = new Int8Array(values.length);
  const [least, most] = dtype === "i8" ? [-127, 127] : [-8, 7];
  const extremes = new Float64Array(inner);
  for (let o = 0; o < outer; o++) {
    for (let g = 0; g < groups; g++) {
      const [first, end] = [g * group, Math.min(size, (g + 1) * group)];
      extremes.fill(0);
      for (let i = first; i < end; i++) {
        const row = (o * size + i) * inner;
        for (let j = 0; j < inner; j++) {
          const value = values[row + j]!;
          if (!Number.isFinite(value)) throw new NotFiniteError(row + j);
          if (Math.abs(value) > Math.abs(extremes[j]!)) extremes[j] = value;
        }
      }
      const at = (o * groups + g) * inner;
      for (let j = 0; j < inner; j++)
        scales[at + j] = toBf16(dtype === "i8" ? Math.abs(extremes[j]!) / 127 : extremes[j]! / -8);
      for (let i = first; i < end; i++) {
        const row = (o * size + i) * inner;
        for (let j = 0; j < inner; j++) {
          const scale = scales[at + j]!;
          const code = scale === 0 ? 0 : values[row + j]! / scale + EVEN - EVEN;
          codes[row + j] = code < least ? least : code > most ? most : code;
        }
      }
    }
  }
  return { codes: dtype === "i8" ? codes : paired(codes), scales: new Uint16Array(encode(scales, "BF16").buffer) };
}

/** The numbers that codes stand for. */
export function dequantize(
  { codes, scales }: Codes,
  shape: readonly number[],
  dtype: CodeType,
  { dim, group }: Groups,
): Float32Array {
  const { outer, size, inner } = strides(shape, dim);
  const groups = Math.ceil(size / group);
  const factors = decode(new Uint8Array(scales.buffer, scales.byteOffset, scales.byteLength), "BF16");
  const values = new Float32Array(outer * size * inner);
  for (let o = 0, at = 0; o < outer; o++)
    for (let i = 0; i < size; i++)
      for (let j = 0; j < inner; j++, at++)
        values[at] = codeAt(codes, dtype, at) * factors[(o * groups + Math.floor(i / group)) * inner + j]!;
  return values;
}

function codeAt(codes: Codes["codes"], dtype: CodeType, i: number): number {
  return dtype === "i8" ? codes[i]! : (codes[i >> 1]! << (i % 2 === 0 ? 28 : 24)) >> 28;
}

/** The dims before one, its size, and what lies between its neighbors. */
function strides(shape: readonly number[], dim: number): { outer: number; size: number; inner: number } {
  const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);
  return { outer: product(shape.slice(0, dim)), size: shape[dim]!, inner: product(shape.slice(dim + 1)) };
}

function paired(codes: Int8Array): Uint8Array {
  const pairs = new Uint8Array(Math.ceil(codes.length / 2));
  for (let i = 0; i < codes.length; i++) pairs[i >> 1]! |= (codes[i]! & 15) << (i % 2 === 0 ? 0 : 4);
  return pairs;
}

const word = new Float32Array(1);
const bits = new Uint32Array(word.buffer);

/** The nearest bf16, of two the even one. */
function toBf16(value: number): number {
  word[0] = value;
  bits[0] = ((bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000) >>> 0;
  return word[0];
}

import { e4m3Number } from "../../../../support/e4m3.ts";

/** Small whole numbers: products and sums of them are exact, in any order. */
export function smallNumbers(length: number, seed: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => ((Math.imul(i + seed, 2654435761) >>> 16) % 9) - 4);
}

/** As bf16, which holds small whole numbers exactly. */
export function bf16(x: Float32Array): Uint16Array {
  const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
  return Uint16Array.from(bits, (word) => word >>> 16);
}

/** Y[M, N] of X[M, K] and W[N, K]. */
export function productOf(x: Float32Array, w: Float32Array, m: number, n: number, k: number): Float32Array {
  const y = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += x[i * k + l]! * w[j * k + l]!;
      y[i * n + j] = sum;
    }
  }
  return y;
}

/** The E4M3 code of a small whole number. */
export function e4m3(x: Float32Array): Uint8Array {
  const codes = new Map(Array.from({ length: 256 }, (_, code) => [e4m3Number(code), code]));
  return Uint8Array.from(x, (value) => codes.get(value)!);
}

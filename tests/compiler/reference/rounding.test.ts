import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rounding } from "../../../compiler/reference/rounding.ts";
import type { DType } from "../../../compiler/tensor-ir/types.ts";

const CASES: readonly (readonly [DType, number, number])[] = [
  ["f32", 0.1, 0.10000000149011612],
  ["f64", 0.1, 0.1],
  ["bf16", 1 + 2 ** -8, 1],
  ["bf16", 1 + 3 * 2 ** -8, 1 + 2 ** -6],
  ["bf16", 1 + 2 ** -8 + 2 ** -40, 1 + 2 ** -7],
  ["bf16", -3.14159, -3.140625],
  ["bf16", 3.39e38, 3.3895313892515355e38],
  ["bf16", 3.4e38, Infinity],
  ["bf16", 2 ** -134, 0],
  ["bf16", 2 ** -133, 2 ** -133],
  ["f16", 65_504, 65_504],
  ["f16", 65_519, 65_504],
  ["f16", 65_520, Infinity],
  ["f16", -1e9, -Infinity],
  ["f16", 2 ** -25, 0],
  ["f16", 3 * 2 ** -25, 2 ** -23],
  ["f16", 2049, 2048],
  ["f16", 2051, 2052],
  ["f8e4m3", 448, 448],
  ["f8e4m3", 1e6, 448],
  ["f8e4m3", -Infinity, -448],
  ["f8e4m3", 460, 448],
  ["f8e4m3", 17, 16],
  ["f8e4m3", 19, 20],
  ["f8e4m3", 2 ** -10, 0],
  ["f8e4m3", 3 * 2 ** -10, 2 ** -8],
  ["f8e4m3", NaN, NaN],
  ["bf16", -0, -0],
];

describe("rounding", () => {
  test.each(CASES)("%s of %d is %d", (dtype, x, expected) => {
    expect(rounding(dtype)(x)).toBe(expected);
  });

  test("f8e4m3 has 253 finite values, all of which stay", () => {
    const values = new Set<number>();
    for (let code = 0; code < 127; code++) {
      const [exponent, bits] = [code >> 3, code & 7];
      values.add(exponent === 0 ? bits * 2 ** -9 : (1 + bits / 8) * 2 ** (exponent - 7));
    }
    for (const value of values) {
      expect(rounding("f8e4m3")(value)).toBe(value);
      expect(rounding("f8e4m3")(-value)).toBe(-value);
    }
    expect(Math.max(...values)).toBe(448);
  });

  test("gives a nearest value of bf16, which stays", () => {
    fc.assert(
      fc.property(fc.double({ min: -1e30, max: 1e30, noNaN: true }), (x) => {
        const rounded = rounding("bf16")(x);
        expect(rounding("bf16")(rounded)).toBe(rounded);
        const [bits] = new Uint32Array(Float32Array.of(rounded).buffer);
        expect(bits! & 0xffff).toBe(0);
        expect(Math.abs(rounded - x)).toBeLessThanOrEqual(Math.max(Math.abs(x) * 2 ** -8, 2 ** -134));
      }),
      { numRuns: 500 },
    );
  });
});

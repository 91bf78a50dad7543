import { describe, expect, test } from "vitest";
import { draw, hashText, philox } from "../../../runtime/program/philox.ts";

describe("philox", () => {
  /** Known answers of the authors' library (Random123, kat_vectors). */
  test("known answers", () => {
    expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const ones = 0xffffffff;
    expect(philox([ones, ones, ones, ones], [ones, ones])).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
  });

  test("hash of the stream", () => {
    expect(hashText("")).toBe(0x811c9dc5);
    expect(hashText("a")).toBe(0xe40c292c);
  });
});

function draws(kind: "normal" | "uniform", count: number, step = 3, stream = "trunk.0.noise"): Float64Array {
  const values = new Float64Array(count);
  draw(values, { kind, seed: 7, step, stream });
  return values;
}

describe("draw", () => {
  test("uniform values of a stream", () => {
    expect([...draws("uniform", 4)]).toEqual([
      0.9239575266838074, 0.8005784153938293, 0.27252471446990967, 0.27361536026000977,
    ]);
  });

  test("an element does not depend on how many are drawn", () => {
    expect(draws("normal", 4)).toEqual(draws("normal", 9).slice(0, 4));
  });

  test("steps and streams are apart", () => {
    const first = draws("normal", 4);
    expect(draws("normal", 4, 4)).not.toEqual(first);
    expect(draws("normal", 4, 3, "trunk.1.noise")).not.toEqual(first);
  });

  test("moments", () => {
    const n = 20_000;
    const [normal, uniform] = [draws("normal", n), draws("uniform", n)];
    const mean = (x: Float64Array, of: (v: number) => number): number => x.reduce((sum, v) => sum + of(v), 0) / n;
    expect(mean(normal, (v) => v)).toBeCloseTo(0, 1);
    expect(mean(normal, (v) => v * v)).toBeCloseTo(1, 1);
    expect(mean(uniform, (v) => v)).toBeCloseTo(0.5, 1);
    expect(uniform.every((v) => v >= 0 && v < 1)).toBe(true);
    expect(normal.every((v) => Number.isFinite(v))).toBe(true);
  });
});

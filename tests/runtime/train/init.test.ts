import { describe, expect, test } from "vitest";
import { draw } from "../../../runtime/program/philox.ts";
import { initialValues } from "../../../runtime/train/init.ts";

const WEIGHT = { name: "trunk.0.ffn.gate", dtype: "f32", shape: [3, 5] } as const;

describe("initialValues", () => {
  test("a constant", () => {
    expect(initialValues({ ...WEIGHT, shape: [2] }, { kind: "constant", value: 1 }, 7)).toEqual(Float32Array.of(1, 1));
  });

  test("normal: the draws of the stream with the store's name, times the deviation", () => {
    const draws = new Float64Array(15);
    draw(draws, { kind: "normal", seed: 7, step: 0, stream: "trunk.0.ffn.gate" });
    const values = initialValues(WEIGHT, { kind: "normal", scale: 0.02 }, 7);
    expect(values).toEqual(Float32Array.from(draws, (x) => x * 0.02));
  });

  test("uniform: between minus and plus the bound, about 0", () => {
    const values = initialValues({ ...WEIGHT, shape: [100, 100] }, { kind: "uniform", scale: 0.5 }, 7) as Float32Array;
    expect(values.every((x) => x >= -0.5 && x < 0.5)).toBe(true);
    expect(Math.max(...values)).toBeGreaterThan(0.49);
    expect(Math.min(...values)).toBeLessThan(-0.49);
    expect(values.reduce((a, b) => a + b, 0) / values.length).toBeCloseTo(0, 1);
  });

  test("seeds and names are apart", () => {
    const init = { kind: "normal", scale: 1 } as const;
    const values = initialValues(WEIGHT, init, 7);
    expect(initialValues(WEIGHT, init, 7)).toEqual(values);
    expect(initialValues(WEIGHT, init, 8)).not.toEqual(values);
    expect(initialValues({ ...WEIGHT, name: "trunk.1.ffn.gate" }, init, 7)).not.toEqual(values);
  });

  test("bf16: the bits of the f32 value, rounded to nearest", () => {
    const init = { kind: "constant", value: 1.01 } as const;
    expect(initialValues({ ...WEIGHT, shape: [1], dtype: "bf16" }, init, 0)).toEqual(Uint16Array.of(0x3f81));
  });
});

import { describe, expect, test } from "vitest";
import { parseModule } from "../../../compiler/model-ir/parse.ts";
import { storesOf } from "../../../compiler/model-ir/places.ts";
import type { Given } from "../../../compiler/reference/border.ts";
import { packRows, scoreRows } from "../../../compiler/reference/score-rows.ts";
import { TINY } from "../../support/tiny-module.ts";

const module = parseModule({ path: "tiny.model", text: TINY });
const weights = new Map<string, Given>();
for (const { path, type } of storesOf(module.root)) {
  const size = type.dims.reduce((product, label) => product * (module.dims.get(label) ?? 1), 1);
  weights.set(path, { data: Array.from({ length: size }, (_, i) => Math.sin(i * 12.9898 + path.length * 78.233)) });
}
const score = (rows: number[][], options = {}): ReturnType<typeof scoreRows> =>
  scoreRows(module, weights, rows, { precision: "f64", ...options });

test("rows are packed one after the other, the last token of each without a target", () => {
  const packed = packRows([
    [5, 6, 7],
    [8, 9],
  ]);
  expect(Object.fromEntries([...packed].map(([name, { data }]) => [name, data]))).toEqual({
    tokens: [5, 6, 7, 8, 9],
    pos: [0, 1, 2, 0, 1],
    seq: [0, 0, 0, 1, 1],
    "target.1": [6, 7, -1, 9, -1],
  });
});

describe("a row gets the same scores whatever else is in the batch", () => {
  const rows = [
    [1, 2, 3, 4, 5],
    [6, 7, 8],
  ];
  const together = score(rows, { hidden: true });

  test("logits and hidden states, padded with zeros", () => {
    const { shape, data } = together.tensors.get("logits")!;
    expect(shape).toEqual([2, 5, 11]);
    const alone = score([rows[1]!]).tensors.get("logits")!;
    expect(Array.from(data).slice(55, 88)).toEqual(Array.from(alone.data));
    expect(Array.from(data).slice(88)).toEqual(Array.from({ length: 22 }, () => 0));
    expect([...together.tensors.keys()]).toEqual(["logits", "hidden.0", "hidden.1", "hidden.2", "hidden.3", "loss"]);
    expect(together.tensors.get("hidden.3")!.shape).toEqual([2, 5, 4]);
  });

  test("the loss is the mean over all tokens with a next one", () => {
    const loss = (given: number[][]): number => score(given).tensors.get("loss")!.data[0]!;
    expect(loss(rows)).toBeCloseTo((4 * loss([rows[0]!]) + 2 * loss([rows[1]!])) / 6, 12);
  });
});

test("a token does not see what comes after it", () => {
  const logits = (row: number[]): number[] => Array.from(score([row]).tensors.get("logits")!.data).slice(0, 22);
  expect(logits([1, 2, 3])).toEqual(logits([1, 2, 9]));
});

test("gradients agree with differences of the loss", () => {
  const rows = [[1, 2, 3, 4, 5]];
  const { gradients } = score(rows, { gradients: true });
  for (const path of [
    "trunk.0.ffn.experts.up",
    "trunk.1.ffn.experts.shift",
    "trunk.2.mixer.wk",
    "embed.weight",
    "trunk.1.ffn.gate",
  ]) {
    const { data } = weights.get(path)!;
    const step = 1e-6;
    const at = 3;
    const moved = (by: number): number => {
      const values = new Map(weights).set(path, { data: Array.from(data, (x, i) => (i === at ? x + by : x)) });
      return scoreRows(module, values, rows, { precision: "f64" }).tensors.get("loss")!.data[0]!;
    };
    expect(gradients.get(path)!.data[at]).toBeCloseTo((moved(step) - moved(-step)) / (2 * step), 7);
  }
});

test("metrics are there on request", () => {
  const { metrics } = score([[1, 2, 3]], { metrics: true });
  const load = metrics.get("trunk.1.ffn.load")!;
  expect(Array.from(load.data).reduce((a, b) => a + b)).toBe(3 * 2);
  expect(score([[1, 2, 3]]).metrics.size).toBe(0);
});

import { expect, test } from "vitest";
import { isLoad, loadViolation } from "../../../runtime/train/violation.ts";

test("the violation of a layer is (max - mean) / mean of its loads", () => {
  const violation = loadViolation({
    loss: Float32Array.of(3),
    "metric.trunk.0.ffn.load": Float32Array.of(4, 4, 4, 4),
    "metric.trunk.1.ffn.load": Float32Array.of(2, 6, 4, 4),
    "metric.trunk.1.ffn.chosen": Int32Array.of(1, 2, 3),
    "metric.trunk.2.ffn.load": Float32Array.of(16, 0, 0, 0),
    "metric.trunk.3.ffn.load": Float32Array.of(0, 0, 0, 0),
  });
  expect(violation).toEqual({
    mean: (0 + 0.5 + 3 + 0) / 4,
    layers: { "trunk.0.ffn": 0, "trunk.1.ffn": 0.5, "trunk.2.ffn": 3, "trunk.3.ffn": 0 },
  });
});

test("a model without routed layers has none", () => {
  expect(loadViolation({ loss: Float32Array.of(3) })).toBeUndefined();
  expect(isLoad("metric.trunk.0.ffn.loads")).toBe(false);
});

import { expect, test } from "vitest";
import { closest, didYouMean } from "../../../compiler/diagnostics/did-you-mean.ts";

test("a name that differs in case only wins", () => {
  expect(closest("mla", ["Mla", "mlp"])).toEqual(["Mla"]);
});

test("the nearest names, at most three, in order", () => {
  expect(closest("wk_b", ["wq_b", "wk_a", "wv_b", "other", "wk"])).toEqual(["wq_b", "wk_a", "wv_b"]);
});

test("exchanged neighbors are one mistake", () => {
  expect(closest("nrom", ["norm", "room"])).toEqual(["norm"]);
  expect(closest("lenght", ["length", "light"])).toEqual(["length"]);
});

test("nothing that is too different", () => {
  expect(closest("x", ["abc", "long_name"])).toEqual([]);
  expect(didYouMean("optimizer", ["batch"])).toBeUndefined();
});

test("the question", () => {
  expect(didYouMean("bacth", ["batch"])).toBe("did you mean `batch`?");
  expect(didYouMean("wq", ["wk", "wv", "wo"])).toBe("did you mean `wk`, `wv` or `wo`?");
});

/** Kernels that do the same are one, whatever the model calls what they read and write. */
import { expect, test } from "vitest";
import { lowerPrograms } from "../../../compiler/lower/lower.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";

/** The kernels that the products of `x` with each weight launch, as positions in the module. */
function launched(dims: string, ...products: readonly string[]): number[] {
  const lines = ['%0 x: f32[T, D] = program.input {name = "x"}', ...products];
  const { kernels, programs } = lowerPrograms([
    parseProgram(`program @p\ndims { ${dims} }\n{\n${lines.map((line) => `  ${line}\n`).join("")}}\n`),
  ]);
  return programs[0]!.launches.map(({ kernel }) => kernels.findIndex(({ name }) => name === kernel));
}

const FIRST = [
  '%1: f32[D, F] = model.param {name = "first"}',
  "%2 near: f32[T, F] = tensor.contract %0, %1",
  'program.output %2 {name = "near"}',
];
const SECOND = [
  '%3: f32[D, G] = model.param {name = "second"}',
  "%4 far: f32[T, G] = tensor.contract %0, %3",
  'program.output %4 {name = "far"}',
];

test("names of values, params and dims make no kernel another one", () => {
  expect(launched("T = ?, D = 8, F = 6, G = 6", ...FIRST, ...SECOND)).toEqual([0, 0]);
});

test("a size does", () => {
  expect(launched("T = ?, D = 8, F = 6, G = 7", ...FIRST, ...SECOND)).toEqual([0, 1]);
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { runPasses } from "../../../compiler/passes/pipeline.ts";
import type { Given } from "../../../compiler/reference/border.ts";
import { runProgram } from "../../../compiler/reference/run.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { printProgram } from "../../../compiler/tensor-ir/print.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";
import { givenInputs, randomProgram, withGradients } from "../../support/random-program.ts";

const STEP = 1e-5;

const run = (
  program: Program,
  values: ReadonlyMap<string, Given>,
): ReadonlyMap<string, { readonly data: ArrayLike<number> }> =>
  runProgram(program, { sizes: {}, values }, { precision: "f64" }).outputs;

test("gradients of random programs are those of finite differences", () => {
  fc.assert(
    fc.property(randomProgram, (random) => {
      expect(verifyProgram(random.program)).toEqual([]);
      const program = withGradients(random);
      expect(verifyProgram(program)).toEqual([]);
      const values = givenInputs(random.inputs);
      const outputs = run(program, values);
      for (const name of random.inputs.keys()) {
        const data = Array.from(values.get(name)!.data);
        const gradient = outputs.get(`d${name}`)!.data;
        const lossAt = (i: number, x: number): number =>
          run(random.program, new Map([...values, [name, { data: data.with(i, x) }]])).get("loss")!.data[0]!;
        // Two elements of each input: the others are the same code.
        for (const i of new Set([0, data.length - 1])) {
          // Five points: the error is of the fourth order in the step.
          const near = (lossAt(i, data[i]! + STEP) - lossAt(i, data[i]! - STEP)) / (2 * STEP);
          const far = (lossAt(i, data[i]! + 2 * STEP) - lossAt(i, data[i]! - 2 * STEP)) / (4 * STEP);
          const difference = (4 * near - far) / 3;
          expect(Math.abs(gradient[i]! - difference)).toBeLessThan(1e-6 * Math.max(1e-3, Math.abs(difference)) + 1e-9);
        }
      }
    }),
    { numRuns: 150, seed: 11 },
  );
}, 120_000);

test("random programs keep their meaning through all passes, and their text", () => {
  fc.assert(
    fc.property(randomProgram, (random) => {
      const program = withGradients(random);
      expect(printProgram(parseProgram(printProgram(program)))).toBe(printProgram(program));
      const values = givenInputs(random.inputs);
      const [before, after] = [run(program, values), run(runPasses(program, { verify: true }), values)];
      expect([...after.keys()]).toEqual([...before.keys()]);
      for (const [name, { data }] of before) {
        const other = after.get(name)!.data;
        for (let i = 0; i < data.length; i++) expect(Math.abs(other[i]! - data[i]!)).toBeLessThan(1e-9);
      }
    }),
    { numRuns: 150, seed: 12 },
  );
}, 120_000);

test("the random programs use most ops", () => {
  const used = new Set(
    fc.sample(randomProgram, { numRuns: 200, seed: 13 }).flatMap(({ program }) => program.ops.map((op) => op.name)),
  );
  for (const name of [
    "tensor.contract",
    "tensor.gather",
    "tensor.scatter_add",
    "tensor.concat",
    "tensor.slice",
    "tensor.cumsum",
    "moe.contract",
    "nn.softmax",
    "nn.logsumexp",
    "math.select",
    "math.pow",
    "math.div",
  ]) {
    expect(used).toContain(name);
  }
  expect(used.size).toBeGreaterThan(35);
});

/** Products with few results and many terms: blocks share the terms. */
import { expect, test } from "vitest";
import { lowerPrograms } from "../../../../compiler/lower/lower.ts";
import { runProgram } from "../../../../compiler/reference/run.ts";
import { printCuda } from "../../../../compiler/targets/cuda/print.ts";
import { parseProgram } from "../../../../compiler/tensor-ir/parse.ts";
import type { SimtKernels } from "../../../../runtime/program/grids.ts";
import { onCuda } from "../../../support/on-cuda.ts";

/** A router, and the gradient of its weights. */
const PROGRAM = parseProgram(`program @router
dims { T = ?, D = 520, E = 12 }
{
  %0 x: f32[T, D] = program.input {name = "x"}
  %1 gate: f32[D, E] = program.input {name = "gate"}
  %2 dy: f32[T, E] = program.input {name = "dy"}
  %3 y: f32[T, E] = tensor.contract %0, %1
  %4 dgate: f32[D, E] = tensor.contract %0, %2
  program.output %3 {name = "y"}
  program.output %4 {name = "dgate"}
}`);

/** Different numbers between -0.5 and 0.5. */
function drawn(size: number, seed: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => ((Math.imul(i + seed, 0x9e3779b1) >>> 20) % 256) / 256 - 0.5);
}

test("blocks share the terms of products with few results", async () => {
  const { kernels } = lowerPrograms([PROGRAM]);
  const { kernels: table } = JSON.parse(printCuda(kernels).get("cuda.json")!) as SimtKernels;
  const shared = table.flatMap(({ entries }) => entries.filter(({ before }) => before?.name === "share"));
  expect(shared.map(({ before }) => before!.workgroups[0])).toEqual([{ of: [4] }, { of: [16] }]);

  const session = await onCuda([PROGRAM]);
  // The last shares of 9 and of 70 tokens are empty or short.
  for (const T of [9, 70, 515]) {
    const inputs = { x: drawn(T * 520, 1), gate: drawn(520 * 12, 2), dy: drawn(T * 12, 3) };
    const values = new Map(Object.entries(inputs).map(([name, data]) => [name, { data: [...data] }]));
    const want = runProgram(PROGRAM, { sizes: { T }, values }, { precision: "f64" }).outputs;
    const got = await session.run({ program: "router", sizes: { T }, inputs });
    for (const name of ["y", "dgate"]) {
      const { data } = want.get(name)!;
      const worst = Math.max(...Array.from(data, (value, i) => Math.abs(got[name]![i]! - value)));
      expect(worst / Math.max(...Array.from(data, Math.abs))).toBeLessThan(1e-6);
    }
  }
  session.close();
}, 120_000);

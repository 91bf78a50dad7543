/** What one workgroup could do and several do. */
import { expect, test } from "vitest";
import { runPasses } from "../../../../compiler/passes/pipeline.ts";
import { ProgramBuilder } from "../../../../compiler/tensor-ir/builder.ts";
import type { Program } from "../../../../compiler/tensor-ir/types.ts";
import { onCuda } from "../../../support/on-cuda.ts";

const T = 70_001;

function sums(): Program {
  const builder = new ProgramBuilder(new Map([["T", null]]));
  const x = builder.emit("program.input", [], { dtype: "f32", dims: ["T"] }, { name: "x" });
  for (const kind of ["sum", "max"]) {
    const all = builder.emit("tensor.reduce", [x], { dtype: "f32", dims: [] }, { kind });
    builder.effect("program.output", [all], { name: kind });
  }
  return builder.finish("sums");
}

function scatter(): Program {
  const builder = new ProgramBuilder(
    new Map([
      ["N", null],
      ["V", 5],
      ["D", 70],
    ]),
  );
  const x = builder.emit("program.input", [], { dtype: "f32", dims: ["N", "D"] }, { name: "x" });
  const index = builder.emit("program.input", [], { dtype: "i32", dims: ["N"] }, { name: "index" });
  const added = builder.emit("tensor.scatter_add", [x, index], { dtype: "f32", dims: ["V", "D"] }, { dim: "V" });
  builder.effect("program.output", [added], { name: "added" });
  return builder.finish("scatter");
}

test("sums of many terms, scatters of wide rows", async () => {
  const session = await onCuda([sums(), scatter()].map((program) => runPasses(program)));
  for (const size of [3, T]) {
    const x = Float32Array.from({ length: size }, (_, i) => ((i * 37) % 101) - 50);
    const got = await session.run({ program: "sums", sizes: { T: size }, inputs: { x } });
    expect(got["sum"]![0]).toBe(x.reduce((a, b) => a + b, 0));
    expect(got["max"]![0]).toBe(x.reduce((a, b) => Math.max(a, b), -Infinity));
  }
  const index = Int32Array.of(3, 0, 3, -1, 4);
  const x = Float32Array.from({ length: 5 * 70 }, (_, i) => i);
  const { added } = await session.run({ program: "scatter", sizes: { N: 5 }, inputs: { x, index } });
  const want = new Float32Array(5 * 70);
  index.forEach((row, n) => {
    for (let d = 0; d < 70 && row >= 0; d++) want[row * 70 + d]! += x[n * 70 + d]!;
  });
  expect(added).toEqual(want);
  session.close();
}, 120_000);

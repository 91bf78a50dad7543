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

/** A sum over rows of wide values, and one that is scattered over V places. */
function scatter(V: number): Program {
  const builder = new ProgramBuilder(
    new Map([
      ["N", null],
      ["V", V],
      ["D", 70],
    ]),
  );
  const x = builder.emit("program.input", [], { dtype: "f32", dims: ["N", "D"] }, { name: "x" });
  const index = builder.emit("program.input", [], { dtype: "i32", dims: ["N"] }, { name: "index" });
  const added = builder.emit("tensor.scatter_add", [x, index], { dtype: "f32", dims: ["V", "D"] }, { dim: "V" });
  const sum = builder.emit("tensor.reduce", [x], { dtype: "f32", dims: ["D"] }, { kind: "sum" });
  builder.effect("program.output", [added], { name: "added" });
  builder.effect("program.output", [sum], { name: "sum" });
  return builder.finish(`scatter_${V}`);
}

test("sums of many terms", async () => {
  const session = await onCuda([runPasses(sums())]);
  for (const size of [3, T]) {
    const x = Float32Array.from({ length: size }, (_, i) => ((i * 37) % 101) - 50);
    const got = await session.run({ program: "sums", sizes: { T: size }, inputs: { x } });
    expect(got["sum"]![0]).toBe(x.reduce((a, b) => a + b, 0));
    expect(got["max"]![0]).toBe(x.reduce((a, b) => Math.max(a, b), -Infinity));
  }
  session.close();
}, 120_000);

test.each([5, 3000])(
  "sums and scatters of wide rows over %i places",
  async (V) => {
    const session = await onCuda([runPasses(scatter(V))]);
    for (const N of [5, 700]) {
      const index = Int32Array.from({ length: N }, (_, n) => (n % 7 === 3 ? -1 : (n * n * 31) % V));
      const x = Float32Array.from({ length: N * 70 }, (_, i) => ((i * 37) % 101) - 50);
      const got = await session.run({ program: `scatter_${V}`, sizes: { N }, inputs: { x, index } });
      const [want, sum] = [new Float32Array(V * 70), new Float32Array(70)];
      index.forEach((row, n) => {
        for (let d = 0; d < 70; d++) {
          sum[d]! += x[n * 70 + d]!;
          if (row >= 0) want[row * 70 + d]! += x[n * 70 + d]!;
        }
      });
      expect(got).toEqual({ added: want, sum });
    }
    session.close();
  },
  120_000,
);

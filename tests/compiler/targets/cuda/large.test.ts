/** Arrays of more elements than 32 bits count. */
import { expect, test } from "vitest";
import { lowered } from "../../../../compiler/package/package.ts";
import { printCuda } from "../../../../compiler/targets/cuda/print.ts";
import { ProgramBuilder } from "../../../../compiler/tensor-ir/builder.ts";
import type { Entry, SimtKernel, SimtKernels } from "../../../../runtime/program/grids.ts";
import { type Numbers, runKernel, type Window } from "../../../support/cuda/run-kernel.ts";

/** The text of a program's only kernel, and what is known of it. */
function onlyKernel(builder: ProgramBuilder): { kernel: SimtKernel; text: string } {
  const files = printCuda(lowered([builder.finish("large")]).kernels);
  const { kernels } = JSON.parse(files.get("cuda.json")!) as SimtKernels;
  expect(kernels).toHaveLength(1);
  return { kernel: kernels[0]!, text: files.get(`${kernels[0]!.name}.cu`)! };
}

test("rows are found wherever they lie", async () => {
  const [V, D] = [600_000, 7168];
  const builder = new ProgramBuilder(
    new Map([
      ["N", null],
      ["V", V],
      ["D", D],
    ]),
  );
  const table = builder.emit("model.param", [], { dtype: "bf16", dims: ["V", "D"] }, { name: "table" });
  const index = builder.emit("program.input", [], { dtype: "i32", dims: ["N"] }, { name: "tokens" });
  const rows = builder.emit("tensor.gather", [table, index], { dtype: "bf16", dims: ["N", "D"] }, { dim: "V" });
  builder.effect("program.output", [rows], { name: "found" });
  const { kernel, text } = onlyKernel(builder);
  // The last three rows; the others are nowhere.
  const window = Uint16Array.from({ length: 3 * D }, (_, i) => (i * 77) % 30_000);
  const out = new Uint16Array(2 * D);
  const chosen = Int32Array.of(V - 1, V - 3);
  const given = (arg: string): Numbers | Window =>
    kernel.writes.includes(arg) ? out : arg === "table" ? { window, first: (V - 3) * D } : chosen;
  const [{ workgroupSize: block }] = kernel.entries as [Entry];
  const args = [2, 0, 2, ...kernel.args.map(given)];
  await runKernel({ source: text, kernel: `${kernel.name}_main`, grid: 2, block, args });
  expect(out).toEqual(Uint16Array.from([...window.subarray(2 * D), ...window.subarray(0, D)]));
}, 120_000);

/** Products that share a launch have the entry points for tensor cores that each has by itself. */
import { afterEach, expect, test } from "vitest";
import { lowerPrograms } from "../../../../../compiler/lower/lower.ts";
import { runProgram } from "../../../../../compiler/reference/run.ts";
import { printCuda } from "../../../../../compiler/targets/cuda/print.ts";
import { parseProgram } from "../../../../../compiler/tensor-ir/parse.ts";
import { decoded, encoded } from "../../../../../runtime/device/elements.ts";
import type { SimtKernels } from "../../../../../runtime/program/grids.ts";
import { drawing } from "../../../../support/bf16.ts";
import { REAL } from "../../../../support/cuda/real.ts";
import { onCuda } from "../../../../support/on-cuda.ts";

const SIZES = { D: 144, F: 200, E: 104 };
const PROGRAM = parseProgram(`program @decode
dims { T = ?, D = ${SIZES.D}, F = ${SIZES.F}, E = ${SIZES.E} }
{
  %0 x: bf16[T, D] = program.input {name = "x"}
  %1 wq: bf16[D, F] = program.input {name = "wq"}
  %2 wkv: bf16[D, E] = program.input {name = "wkv"}
  %3 q: bf16[T, F] = tensor.contract %0, %1
  %4 kv: bf16[T, E] = tensor.contract %0, %2
  program.output %3 {name = "q"}
  program.output %4 {name = "kv"}
}`);

afterEach(() => {
  delete process.env["DSK_CAPABILITY"];
});

test("many rows go by tensor cores, part by part; few by one launch", () => {
  const [kernel] = (JSON.parse(printCuda(lowerPrograms([PROGRAM]).kernels).get("cuda.json")!) as SimtKernels).kernels;
  expect(kernel!.entries.map(({ name }) => name)).toEqual(["all_parts"]);
  expect(kernel!.parts!.map((entries) => entries.map(({ name, only }) => `${name}${only ?? ""}`))).toEqual([
    ["few_1", "tensor_1sm_90a", "some_1", "tile_1"],
    ["few_2", "tensor_2sm_90a", "some_2", "tile_2"],
  ]);
});

test.each(["9.0", "8.0"])(
  "on a GPU of capability %s, results are those of plain sums",
  { timeout: 400_000 },
  async (capability) => {
    process.env["DSK_CAPABILITY"] = capability;
    const session = await onCuda([PROGRAM]);
    const random = drawing(1);
    const numbers = (size: number): number[] =>
      Array.from(decoded(encoded(Float64Array.from({ length: size }, random), "bf16"), "bf16"));
    for (const T of [5, 150]) {
      const given = {
        x: numbers(T * SIZES.D),
        wq: numbers(SIZES.D * SIZES.F),
        wkv: numbers(SIZES.D * SIZES.E),
      };
      const values = new Map(Object.entries(given).map(([name, data]) => [name, { data }]));
      const want = runProgram(PROGRAM, { sizes: { T }, values }, { precision: "f64" }).outputs;
      const inputs = Object.fromEntries(Object.entries(given).map(([name, data]) => [name, encoded(data, "bf16")]));
      const found = await session.run({ program: "decode", sizes: { T }, inputs });
      for (const name of ["q", "kv"]) {
        const wanted = want.get(name)!.data;
        const largest = Math.max(...Array.from(wanted, Math.abs));
        const worst = Math.max(...Array.from(decoded(found[name]!, "bf16"), (x, i) => Math.abs(x - wanted[i]!)));
        expect(worst / largest, `${name} of ${T} rows`).toBeLessThan(2 ** -8);
      }
    }
    expect(REAL || session.gpu.capability === capability).toBe(true);
    session.close();
  },
);

test("tiles of parts use tensor cores on any GPU", () => {
  const files = printCuda(lowerPrograms([PROGRAM]).kernels);
  const texts = [...files].flatMap(([name, text]) => (/^parts_\w+\.cu$/.test(name) ? [text] : []));
  expect(texts.join("").match(/mma_m16n8k16_bf16\(p0/g)!.length).toBeGreaterThanOrEqual(4);
});

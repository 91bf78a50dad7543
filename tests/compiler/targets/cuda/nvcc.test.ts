/**
 * What nvcc says of generated kernels, where it is: no warnings, no spilled registers, for Hopper and for Ampere. The kernels of a
 * step of generation of DeepSeek-V3 in miniature; with DSKC_NVCC_ALL=1 those of all specs, and of the training step of two.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { trainPlan } from "../../../../compiler/cli/train-plan.ts";
import { Diagnostics } from "../../../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../../../compiler/elaborate/score.ts";
import { serveProgram } from "../../../../compiler/elaborate/serve.ts";
import { trainStepProgram } from "../../../../compiler/elaborate/train-step.ts";
import { lowered } from "../../../../compiler/package/package.ts";
import { compileCubins } from "../../../../compiler/targets/cuda/compile.ts";
import { findNvcc } from "../../../../compiler/targets/cuda/nvcc.ts";
import { printCuda } from "../../../../compiler/targets/cuda/print.ts";
import { readPtxas } from "../../../../compiler/targets/cuda/ptxas.ts";
import type { Program } from "../../../../compiler/tensor-ir/types.ts";
import { type CheckedModel, checkFile } from "../../../../dsl/semantics/check.ts";
import { tinyV3 } from "../../../support/tiny-v3.ts";

const nvcc = await findNvcc();
const all = process.env["DSKC_NVCC_ALL"] === "1";
if (nvcc === undefined) console.warn("CUDA kernels are not compiled here: there is no nvcc (DSKC_NVCC, PATH)");

const scratch = mkdtempSync(join(tmpdir(), "dskc-nvcc-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const specs = ["specs", "specs/blocks"].flatMap((folder) =>
  readdirSync(folder).flatMap((name) => (name.endsWith(".dsk") ? [`${folder}/${name}`] : [])),
);

/** What is wrong with the kernels of programs, a line each. */
async function faults(programs: readonly Program[]): Promise<string[]> {
  const directory = join(scratch, String(readdirSync(scratch).length));
  mkdirSync(directory);
  const files = printCuda(lowered(programs).kernels);
  for (const [name, text] of files) writeFileSync(join(directory, name), text);
  const cubins = await compileCubins(directory, { nvcc: nvcc!, jobs: availableParallelism() });
  const sources = [...files.keys()].flatMap((name) => (name.endsWith(".cu") ? [name.slice(0, -3)] : []));
  expect([...new Set(cubins.map(({ name }) => name))].toSorted()).toEqual(sources.toSorted());
  return [
    ...cubins.flatMap(({ name, architecture, warnings, usages }) => [
      ...warnings.map((warning) => `${architecture} ${name}: ${warning}`),
      ...usages.flatMap(({ entry, spilledBytes }) =>
        spilledBytes === 0 ? [] : [`${architecture} ${entry}: ${spilledBytes} bytes of registers are spilled`],
      ),
      ...(usages.length === 0 ? [`${architecture} ${name}: no entry point`] : []),
    ]),
    ...[...files].flatMap(([name, text]) => {
      const lines = text.split("\n").length - 1;
      return name.endsWith(".cu") && lines > 400 ? [`${name} has ${lines} lines`] : [];
    }),
  ];
}

function modelsOf(path: string): CheckedModel[] {
  return [...checkFile({ path, text: readFileSync(path, "utf8") }, new Diagnostics()).models.values()];
}

function step(model: CheckedModel): Program {
  const training = model.training();
  return trainStepProgram(training.module, trainPlan(undefined, training));
}

describe.skipIf(nvcc === undefined)("nvcc takes", () => {
  test("a step of generation of DeepSeek-V3 in miniature", async () => {
    expect(await faults([serveProgram(tinyV3().module, "decode")])).toEqual([]);
  }, 600_000);

  test.skipIf(!all).each(specs)(
    "%s",
    async (path) => {
      for (const { module } of modelsOf(path).slice(0, 2))
        expect(
          await faults([scoreProgram(module), serveProgram(module, "prefill"), serveProgram(module, "decode")]),
        ).toEqual([]);
    },
    3_600_000,
  );

  test.skipIf(!all).each(["specs/quickstart.dsk", "specs/deepseek-v2-lite.dsk"])(
    "the training step of %s",
    async (path) => expect(await faults([step(modelsOf(path)[0]!)])).toEqual([]),
    3_600_000,
  );
});

test("what ptxas says is read", () => {
  const text = `k.cu(3): warning #177-D: variable "x" was declared but never referenced
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to ...
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'k_main' for 'sm_90a'
ptxas info    : Function properties for k_main
    8 bytes stack frame, 4 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 32 registers, used 1 barriers, 8 bytes cumulative stack size, 240 bytes smem
ptxas info    : Function properties for __internal_trig_reduction_slowpathd
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
`;
  expect(readPtxas(text)).toEqual({
    usages: [{ entry: "k_main", registers: 32, sharedBytes: 240, stackBytes: 8, spilledBytes: 16 }],
    warnings: [
      'k.cu(3): warning #177-D: variable "x" was declared but never referenced',
      "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to ...",
    ],
  });
});

/** Every program of every spec lowers to sound kernels whose text parses back, and the same spec gives the same kernels. */
import { readdirSync, readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { describe, expect, test } from "vitest";
import { trainPlan } from "../../../compiler/cli/train-plan.ts";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../../compiler/elaborate/score.ts";
import { serveProgram } from "../../../compiler/elaborate/serve.ts";
import { trainStepProgram } from "../../../compiler/elaborate/train-step.ts";
import { parseKernels } from "../../../compiler/kernel-ir/parse.ts";
import { printKernels } from "../../../compiler/kernel-ir/print.ts";
import type { KernelModule } from "../../../compiler/kernel-ir/types.ts";
import { withoutOrigin } from "../../support/without-origin.ts";
import { verifyKernels } from "../../../compiler/kernel-ir/verify.ts";
import { lowered } from "../../../compiler/package/package.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";

const specs = [
  ...readdirSync("specs").map((name) => `specs/${name}`),
  ...readdirSync("specs/blocks").map((name) => `specs/blocks/${name}`),
].filter((path) => path.endsWith(".dsk"));

function checkSound(module: KernelModule): void {
  expect(verifyKernels(module)).toEqual([]);
  const text = printKernels(module);
  const parsed = parseKernels(text);
  expect(isDeepStrictEqual(parsed, withoutOrigin(module))).toBe(true);
  expect(printKernels(parsed) === text).toBe(true);
}

describe.each(specs)("%s", (path) => {
  const models = [...checkFile({ path, text: readFileSync(path, "utf8") }, new Diagnostics()).models.values()];

  test("programs that run forward", () => {
    for (const { module } of models.slice(0, 2)) {
      const kernels = lowered([scoreProgram(module), serveProgram(module, "prefill"), serveProgram(module, "decode")]);
      checkSound(kernels);
      // Layers that are alike share their kernels.
      expect(kernels.kernels.length).toBeLessThan(260);
    }
  });
});

test("the training step of DeepSeek-V3, all 61 layers of it", () => {
  const path = "specs/deepseek-v3.dsk";
  const [model] = checkFile({ path, text: readFileSync(path, "utf8") }, new Diagnostics()).models.values();
  const training = model!.training();
  checkSound(lowered([trainStepProgram(training.module, trainPlan(undefined, training))]));
}, 120_000);

test("gradients and the training step, twice", () => {
  const path = "specs/quickstart.dsk";
  const [model] = checkFile({ path, text: readFileSync(path, "utf8") }, new Diagnostics()).models.values();
  const kernels = lowered([scoreProgram(model!.module, { gradients: true, hidden: true })]);
  checkSound(kernels);
  expect(kernels.kernels.filter(({ family }) => family === "plane").length).toBe(2);
  const again = lowered([scoreProgram(model!.module, { gradients: true, hidden: true })]);
  expect(printKernels(again)).toBe(printKernels(kernels));
});

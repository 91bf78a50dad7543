import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../../compiler/elaborate/score.ts";
import { serveProgram } from "../../../compiler/elaborate/serve.ts";
import { trainStepProgram } from "../../../compiler/elaborate/train-step.ts";
import { parseModule } from "../../../compiler/model-ir/parse.ts";
import { printModule } from "../../../compiler/model-ir/print.ts";
import { verifyModule } from "../../../compiler/model-ir/verify.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";
import { checkFile, type CheckedModel } from "../../../dsl/semantics/check.ts";

const root = resolve(import.meta.dirname, "../../../specs");
const specs = readdirSync(root).filter((file) => file.endsWith(".dsk"));

function models(file: string): CheckedModel[] {
  const path = join(root, file);
  return [...checkFile({ path, text: readFileSync(path, "utf8") }, new Diagnostics()).models.values()];
}

test("there are specs", () => {
  expect(specs.length).toBeGreaterThan(10);
});

test.each(specs)("the modules of %s are sound, and their text parses back", (file) => {
  for (const { module } of models(file)) {
    expect(verifyModule(module)).toEqual([]);
    const text = printModule(module);
    expect(printModule(parseModule({ path: file, text }))).toBe(text);
  }
});

// Each for something of its own: sparse attention, three balance losses with token dropping, noisy gates, trees, capacity.
test.each([
  "attention-variants.dsk",
  "deepseek-v2-lite.dsk",
  "dense-mixtures.dsk",
  "gshard.dsk",
  "quickstart.dsk",
  "sparsely-gated.dsk",
])("the programs of %s are sound", (file) => {
  for (const { module, training } of models(file)) {
    expect(verifyProgram(scoreProgram(module, { gradients: true, hidden: true, metrics: true }))).toEqual([]);
    expect(verifyProgram(serveProgram(module, "decode"))).toEqual([]);
    const { module: trained, optimizer } = training();
    const losses = ["next_token", ...trained.losses, ...(trained.ahead.size > 0 ? ["mtp"] : [])];
    const step = trainStepProgram(trained, {
      objective: losses.map((loss) => ({ loss, weight: `train.loss.${loss}` })),
      optimizer: (type) => optimizer("AdamW", new Map(), type)!,
      clip: 1,
    });
    expect(verifyProgram(step)).toEqual([]);
  }
});

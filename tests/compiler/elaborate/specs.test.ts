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
import { runPasses } from "../../../compiler/passes/pipeline.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { printProgram } from "../../../compiler/tensor-ir/print.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";
import { checkFile, type CheckedModel } from "../../../dsl/semantics/check.ts";

const root = resolve(import.meta.dirname, "../../../specs");
const specs = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".dsk"));

function models(file: string, changed = (text: string): string => text): CheckedModel[] {
  const path = join(root, file);
  const text = changed(readFileSync(path, "utf8"));
  return [...checkFile({ path, text }, new Diagnostics()).models.values()];
}

test("there are specs", () => {
  expect(specs.length).toBeGreaterThan(20);
});

test.each(specs)("the modules of %s are sound, and their text parses back", (file) => {
  for (const { module } of models(file)) {
    expect(verifyModule(module)).toEqual([]);
    const text = printModule(module);
    expect(printModule(parseModule({ path: file, text }))).toBe(text);
  }
});

/** At most two layers of each kind in a stack: everything that a spec has, in a fraction of the ops. */
const shallow = (text: string): string =>
  text.replaceAll(/\b(\d+)(?= +of )/g, (count) => String(Math.min(Number(count), 2)));

function programs({ module, training }: CheckedModel): Program[] {
  const { module: trained, optimizer } = training();
  const losses = ["next_token", ...trained.losses, ...(trained.ahead.size > 0 ? ["mtp"] : [])];
  return [
    scoreProgram(module, { gradients: true, hidden: true, metrics: true }),
    serveProgram(module, "prefill"),
    serveProgram(module, "decode"),
    trainStepProgram(trained, {
      objective: losses.map((loss) => ({ loss, weight: `train.loss.${loss}` })),
      optimizer: (type) => optimizer("AdamW", new Map(), type)!,
      clip: 1,
    }),
  ];
}

test.each(specs)("the programs of %s are sound after each pass, and their text parses back", (file) => {
  const found = models(file, shallow);
  expect(found.length).toBeGreaterThan(0);
  for (const model of found) {
    for (const program of programs(model)) {
      expect(verifyProgram(program)).toEqual([]);
      for (const passed of [program, runPasses(program, { verify: true })]) {
        const text = printProgram(passed);
        expect(printProgram(parseProgram(text))).toBe(text);
      }
    }
  }
});

test("so does the text of all 61 layers of DeepSeek-V3", () => {
  for (const { module } of models("deepseek-v3.dsk")) {
    const text = printProgram(scoreProgram(module));
    expect(text.split("\n").length).toBeGreaterThan(15_000);
    expect(printProgram(parseProgram(text))).toBe(text);
  }
});

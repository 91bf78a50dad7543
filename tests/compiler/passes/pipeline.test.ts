import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../../compiler/elaborate/score.ts";
import { trainStepProgram } from "../../../compiler/elaborate/train-step.ts";
import { storesOf } from "../../../compiler/model-ir/places.ts";
import type { Module } from "../../../compiler/model-ir/types.ts";
import { PIPELINE, runPasses } from "../../../compiler/passes/pipeline.ts";
import type { Given, Outputs } from "../../../compiler/reference/border.ts";
import { runProgram } from "../../../compiler/reference/run.ts";
import { packRows } from "../../../compiler/reference/score-rows.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";

const path = resolve(import.meta.dirname, "../../fixtures/deepseek-v3-tiny.dsk");
const model = checkFile({ path, text: readFileSync(path, "utf8") }, new Diagnostics()).models.get("TinyV3")!;
const rows = [
  Array.from({ length: 10 }, (_, i) => (i * 37) % 160),
  Array.from({ length: 7 }, (_, i) => (i * 53 + 5) % 160),
];

function weights({ root, dims }: Module): Map<string, Given> {
  return new Map(
    storesOf(root).map(({ path: at, type }) => {
      const size = type.dims.reduce((product, label) => product * (dims.get(label) ?? 1), 1);
      return [at, { data: Array.from({ length: size }, (_, i) => 0.3 * Math.sin(i * 12.9898 + at.length * 78.233)) }];
    }),
  );
}

function run(program: Program, values: ReadonlyMap<string, Given>): Outputs {
  return runProgram(program, { sizes: { T: 17, S: 17, B: 2 }, values }, { precision: "f64" });
}

function expectSame(got: Outputs, want: Outputs): void {
  for (const part of ["outputs", "updates"] as const) {
    expect([...got[part].keys()]).toEqual([...want[part].keys()]);
    for (const [name, { data }] of want[part]) {
      const other = got[part].get(name)!.data;
      const worst = Math.max(...Array.from(data, (value, i) => Math.abs(value - other[i]!)));
      expect(worst).toBeLessThan(1e-9);
    }
  }
}

describe("every pass keeps the meaning", () => {
  const score = scoreProgram(model.module, { gradients: true, metrics: true });
  const scored = new Map([...weights(model.module), ...packRows(rows)]);
  const { module, optimizer } = model.training();
  const step = trainStepProgram(module, {
    objective: [
      { loss: "next_token", weight: 1 },
      { loss: "sequence_balance", weight: 0.1 },
    ],
    optimizer: (type) => optimizer("Sgd", new Map(), type)!,
    clip: 1,
  });
  const trained = new Map([...weights(module), ...packRows(rows)]);
  for (const { path: at } of storesOf(module.root)) {
    const param = trained.get(at)!;
    trained.set(`optimizer.${at}.velocity`, { data: Array.from(param.data, () => 0) });
  }
  for (const name of ["lr", "step", "train.balance_rate"]) trained.set(name, { data: [0.5] });

  test.each(PIPELINE.map(({ name }) => name))("%s", (after) => {
    const passed = runPasses(score, { after, verify: true });
    expectSame(run(passed, scored), run(score, scored));
    expectSame(run(runPasses(step, { after, verify: true }), trained), run(step, trained));
  });

  test("and together they leave fewer ops", () => {
    expect(runPasses(score).ops.length).toBeLessThan(score.ops.length);
  });
});

test("an unknown pass is refused", () => {
  expect(() => runPasses(scoreProgram(model.module), { after: "fuse-all" })).toThrow(/fuse-all/);
});

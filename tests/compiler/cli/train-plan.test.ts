import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { trainPlan } from "../../../compiler/cli/train-plan.ts";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import type { TrainPlan } from "../../../compiler/elaborate/train-step.ts";
import { printOp } from "../../../compiler/tensor-ir/print.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";

const path = resolve(import.meta.dirname, "../../../specs/quickstart.dsk");
const text = readFileSync(path, "utf8");

/** The plan of quickstart's training with a line of it replaced. */
function planOf(entry = "length", by = "length = 256 tokens"): TrainPlan {
  const pattern = new RegExp(`^  ${entry} *=.*$`, "m");
  expect(text).toMatch(pattern);
  const diagnostics = new Diagnostics();
  const source = { path, text: text.replace(pattern, `  ${by}`) };
  const { models, sections } = checkFile(source, diagnostics);
  expect(diagnostics.all).toEqual([]);
  return trainPlan(
    sections.all.find(({ name }) => name === "Pretrain"),
    models.get("Tiny")!.training(),
  );
}

const constants = ({ optimizer }: TrainPlan, decayed: boolean): number[] => {
  const { onStep } = optimizer({ dtype: "f32", dims: ["V", "D"] }, decayed);
  return onStep!.ops.filter((op) => op.name === "tensor.constant").map((op) => Number(op.attrs["value"]));
};

test("losses, clipping and the optimizer of a section", () => {
  const plan = planOf();
  expect(plan.objective).toEqual([
    { loss: "next_token", weight: 1 },
    { loss: "sequence_balance", weight: 1e-4 },
    { loss: "mtp", weight: 0.3 },
  ]);
  expect(plan.clip).toBe(1);
  expect(plan.master).toBeUndefined();
  expect(constants(plan, true)).toContain(0.95);
});

test("params that are not decayed lose nothing", () => {
  const ops = (decayed: boolean): string =>
    planOf()
      .optimizer({ dtype: "f32", dims: ["D"] }, decayed)
      .onStep!.ops.map(printOp)
      .join("\n");
  expect(ops(true)).toContain("value = 0.1}");
  expect(ops(false)).not.toContain("value = 0.1}");
});

test("weights that follow a schedule are inputs", () => {
  const plan = planOf(
    "loss",
    "loss = 2 * next_token() + mtp(schedule by tokens { ..1M => 0.3  ..end => 0.1 }, divide_by: length)",
  );
  expect(plan.objective).toEqual([
    { loss: "next_token", weight: 2 },
    { loss: "mtp", weight: "train.loss.mtp" },
  ]);
  expect(plan.divideAheadBy).toBe("length");
});

test("another optimizer, without clipping", () => {
  const plan = planOf("optimizer", "optimizer = sgd(momentum: 0.8)");
  expect(plan.clip).toBeUndefined();
  expect(constants(plan, true)).toContain(0.8);
});

/** A training step in several calls against the same step in one: DeepSeek-V3 in miniature with MTP and sequence balance. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { accumulationPrograms, type TrainPlan } from "../../../compiler/elaborate/train-step.ts";
import { modelFile, transientStates } from "../../../compiler/package/model.ts";
import { referenceSession } from "../../../compiler/reference/session.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";
import type { Sequence } from "../../../runtime/data/batch.ts";
import { TrainingClock } from "../../../runtime/train/clock.ts";
import { initialize } from "../../../runtime/train/init.ts";
import { constantSchedule } from "../../../runtime/train/schedule.ts";
import { Trainer } from "../../../runtime/train/trainer.ts";
import { PLAN } from "../../support/tiny-training.ts";

const path = "tests/fixtures/deepseek-v3-tiny.dsk";
const model = checkFile({ path, text: readFileSync(path, "utf8") }, new Diagnostics()).models.get("TinyV3")!;
const { module, optimizer } = model.training();
const step: TrainPlan = {
  objective: [
    { loss: "next_token", weight: 1 },
    { loss: "mtp", weight: 0.3 },
    { loss: "sequence_balance", weight: 1e-2 },
  ],
  clip: 1,
  optimizer: (type) => optimizer("AdamW", new Map([["beta2", 0.95]]), type)!,
};
const parts = accumulationPrograms(module, step);
const file = modelFile(module, undefined, step, transientStates(parts));
const plan = {
  ...PLAN,
  losses: step.objective.map(({ loss, weight }) => ({ name: loss, weight: Number(weight) })),
  lookAhead: 1,
  scalars: { lr: constantSchedule(1e-2), "train.balance_rate": constantSchedule(1e-3) },
};
const sequences = [7, 3, 5, 9, 2].map((length, r): Sequence => [
  { length, tokens: Int32Array.from({ length }, (_, i) => (r * 31 + i * i * 7 + i) % 160) },
]);

async function trained(tokensPerCall: number): Promise<ReadonlyMap<string, ArrayLike<number>>> {
  const session = referenceSession(model.module, { module, plan: step, split: true }, { precision: "f64" });
  initialize(session, file, 3);
  const trainer = new Trainer(session, plan, tokensPerCall);
  const clock = new TrainingClock(plan, 1000);
  const results: [string, ArrayLike<number>][] = [];
  for (let i = 0; i < 2; i++) {
    const { loss, losses, gradNorm, load, ...amount } = await trainer.step(sequences, clock);
    clock.advance({ ...amount, epochs: 0 });
    results.push([`loss ${i}`, [loss]], [`losses ${i}`, Object.values(losses)]);
    results.push([`norm ${i}`, [gradNorm]], [`load ${i}`, [load!.mean]]);
  }
  return new Map([...results, ...session.stores.map(({ name }) => [name, session.read(name)] as const)]);
}

test("the programs are sound", () => {
  for (const program of parts) expect(verifyProgram(program)).toEqual([]);
  expect(parts.map(({ name }) => name)).toEqual(["denominators", "gradients", "apply"]);
});

test("weights, moments, biases and results do not depend on the number of calls; sums are empty afterwards", async () => {
  const whole = await trained(Infinity);
  const split = await trained(10);
  for (const [name, want] of whole) {
    const got = split.get(name)!;
    const worst = Math.max(...Array.from(want, (x, i) => Math.abs(got[i]! - x)));
    expect([name, worst < 1e-5]).toEqual([name, true]);
  }
  const sums = [...split].filter(([name]) => /^(gradient|step)\./.test(name));
  expect(sums.length).toBeGreaterThan(20);
  expect(sums.filter(([, data]) => Array.from(data).some((x) => x !== 0)).map(([name]) => name)).toEqual([]);
});

/** Moments and sums of gradients in bf16: what is stored is rounded, what a step computes with is not. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { accumulationPrograms, type TrainPlan, trainStepProgram } from "../../../compiler/elaborate/train-step.ts";
import { modelFile, transientStates } from "../../../compiler/package/model.ts";
import { rounding } from "../../../compiler/reference/rounding.ts";
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
const F32: TrainPlan = {
  objective: [{ loss: "next_token", weight: 1 }],
  clip: 1,
  optimizer: (type) => optimizer("AdamW", new Map(), type)!,
};
const BF16: TrainPlan = { ...F32, moments: "bf16", gradients: "bf16" };
const PLAN_OF_RUN = {
  ...PLAN,
  losses: [{ name: "next_token", weight: 1 }],
  lookAhead: 0,
  scalars: { lr: constantSchedule(1e-2), "train.balance_rate": constantSchedule(1e-3) },
};
const SEQUENCES = [7, 5, 9].map((length, r): Sequence => [
  { length, tokens: Int32Array.from({ length }, (_, i) => (r * 31 + i * i * 7 + i) % 160) },
]);

/** States after so many steps, in f64 but for what is stored. */
async function states(plan: TrainPlan, steps: number, tokensPerCall = Infinity): Promise<Map<string, number[]>> {
  const file = modelFile(module, undefined, plan, transientStates(accumulationPrograms(module, plan)));
  const session = referenceSession(model.module, { module, plan, split: true }, { precision: "declared" });
  initialize(session, file, 3);
  const trainer = new Trainer(session, PLAN_OF_RUN, tokensPerCall);
  const clock = new TrainingClock(PLAN_OF_RUN, 1000);
  for (let i = 0; i < steps; i++) {
    const amount = await trainer.step(SEQUENCES, clock);
    clock.advance({ ...amount, epochs: 0 });
  }
  return new Map(
    session.stores.map(({ name }) => [name, Array.from(session.read(name) as ArrayLike<number>)] as const),
  );
}

const bf16 = rounding("bf16");

test("the programs are sound, and store what the plan says", () => {
  const programs = [trainStepProgram(module, BF16), ...accumulationPrograms(module, BF16)];
  for (const program of programs) expect(verifyProgram(program)).toEqual([]);
  const dtypes = new Map<string, Set<string>>();
  for (const { name, attrs, results } of programs.flatMap(({ ops }) => ops)) {
    if (name !== "model.state" && name !== "model.param") continue;
    const kind = name === "model.param" ? "param" : String(attrs["name"]).split(".")[0]!;
    dtypes.set(kind, (dtypes.get(kind) ?? new Set()).add(results[0]!.type.dtype));
  }
  expect(dtypes.get("optimizer")).toEqual(new Set(["bf16"]));
  expect(dtypes.get("gradient")).toEqual(new Set(["bf16"]));
  expect(dtypes.get("param")).toEqual(new Set(["f32"]));
});

test("after a step, moments are those of f32 rounded, and weights are the same", async () => {
  const [exact, rounded] = [await states(F32, 1), await states(BF16, 1)];
  const moments = [...exact.keys()].filter((name) => name.startsWith("optimizer."));
  expect(moments.length).toBeGreaterThan(20);
  for (const name of moments) expect([name, rounded.get(name)]).toEqual([name, exact.get(name)!.map(bf16)]);
  expect(exact.get("optimizer.embed.weight.m")!.some((x) => bf16(x) !== x)).toBe(true);
  expect(rounded.get("embed.weight")).toEqual(exact.get("embed.weight"));
});

test("after three, weights are near those of f32 but not the same", async () => {
  const [exact, rounded] = [await states(F32, 3), await states(BF16, 3)];
  const apart = exact.get("embed.weight")!.map((x, i) => Math.abs(x - rounded.get("embed.weight")![i]!));
  // Three steps of at most 1e-2, each off by the rounding of its moments, 2^-9 of them.
  expect(Math.max(...apart)).toBeLessThan(1e-3);
  expect(Math.max(...apart)).toBeGreaterThan(0);
});

test("sums of gradients over several calls are rounded, and empty after the step", async () => {
  const [whole, split] = [await states(BF16, 1), await states(BF16, 1, 10)];
  const [w, s] = [whole.get("optimizer.embed.weight.m")!, split.get("optimizer.embed.weight.m")!];
  const scale = Math.max(...w.map(Math.abs));
  const apart = Math.max(...w.map((x, i) => Math.abs(x - s[i]!)));
  expect(apart).toBeGreaterThan(0);
  expect(apart / scale).toBeLessThan(2 ** -7);
  const sums = [...split].filter(([name]) => name.startsWith("gradient."));
  expect(sums.flatMap(([, data]) => data).every((x) => x === 0)).toBe(true);
});

import { describe, expect, test } from "vitest";
import type { Sequence } from "../../../runtime/data/batch.ts";
import { TrainingClock } from "../../../runtime/train/clock.ts";
import { evaluate } from "../../../runtime/train/evaluate.ts";
import { microBatches } from "../../../runtime/train/micro-batches.ts";
import { constantSchedule } from "../../../runtime/train/schedule.ts";
import { DivergedError, Trainer } from "../../../runtime/train/trainer.ts";
import { BigramSession } from "../../support/bigram-session.ts";
import { PLAN } from "../../support/tiny-training.ts";

const plan = {
  ...PLAN,
  losses: [{ name: "next_token", weight: 1 }],
  lookAhead: 0,
  scalars: { lr: constantSchedule(0.5) },
};
const sequence = (tokens: number[]): Sequence => [{ length: tokens.length, tokens: Int32Array.from(tokens) }];
/** Of different lengths: the mean over all tokens is not that of the means. */
const sequences = [
  [1, 2, 3, 4, 5, 6],
  [3, 1],
  [2, 2, 4, 0],
  [6, 1, 2, 3, 4, 5, 5, 2],
  [0, 1, 0],
].map(sequence);

async function trained(tokensPerCall: number): Promise<{ session: BigramSession; losses: number[] }> {
  const session = new BigramSession(7);
  const trainer = new Trainer(session, plan, tokensPerCall);
  const clock = new TrainingClock(plan, 100);
  const losses: number[] = [];
  for (let i = 0; i < 3; i++) {
    const { loss, ...amount } = await trainer.step(sequences, clock);
    clock.advance({ ...amount, epochs: 0 });
    losses.push(loss);
  }
  return { session, losses };
}

describe("micro-batches", () => {
  test("hold whole sequences in order, as many as fit", () => {
    const sizes = (tokens: number): number[] => microBatches(sequences, tokens, 0).map(({ sizes: { T } }) => T);
    expect(sizes(8)).toEqual([8, 4, 8, 3]);
    expect(sizes(12)).toEqual([12, 11]);
    expect(sizes(Infinity)).toEqual([23]);
    expect(sizes(1)).toEqual([6, 2, 4, 8, 3]);
  });

  test("losses and weights do not depend on how a step is split", async () => {
    const whole = await trained(Infinity);
    expect(whole.session.calls.map(({ program }) => program)).toEqual(["train_step", "train_step", "train_step"]);
    expect(whole.losses[0]).toBeCloseTo(Math.log(7), 6);
    expect(whole.losses[2]).toBeLessThan(whole.losses[0]!);
    for (const tokens of [12, 8, 1]) {
      const { session, losses } = await trained(tokens);
      expect(session.calls.some(({ program }) => program === "train_step")).toBe(false);
      for (const [i, loss] of losses.entries()) expect(loss).toBeCloseTo(whole.losses[i]!, 6);
      const table = session.read("table");
      for (const [i, value] of whole.session.read("table").entries()) expect(table[i]).toBeCloseTo(value, 6);
    }
  });

  test("a session without the programs for it says so", async () => {
    const session = new BigramSession(7);
    const limited = Object.assign(session, { programs: ["train_step", "evaluate"] });
    const step = new Trainer(limited, plan, 8).step(sequences, new TrainingClock(plan, 100));
    await expect(step).rejects.toThrow("there is no program denominators, gradients, apply");
  });
});

test("memory for a step is asked for by its calls", () => {
  const session = new BigramSession(7);
  const asked: unknown[] = [];
  const device = Object.assign(session, { reserve: (...call: unknown[]) => asked.push(call) });
  new Trainer(device, plan).reserve(5, 23);
  new Trainer(device, plan, 8).reserve(5, 23);
  new Trainer(device, plan, 3).reserve(5, 23);
  expect(asked).toEqual([
    ["train_step", { T: 23, S: 23, B: 5 }],
    ["gradients", { T: 8, S: 8, B: 5 }],
    ["gradients", { T: 3, S: 3, B: 3 }],
  ]);
});

test("an evaluation is the mean over all tokens, however it is split", async () => {
  const { session } = await trained(Infinity);
  const whole = await evaluate(session, sequences, Infinity);
  expect(whole.tokens).toBe(23 - 5);
  const split = await evaluate(session, sequences, 4);
  expect(split.tokens).toBe(whole.tokens);
  expect(split.loss).toBeCloseTo(whole.loss, 6);
});

test("a loss that is not finite ends the step, with the first bad tensor", async () => {
  const session = new BigramSession(7);
  session.write(
    "table",
    Float32Array.from({ length: 49 }, (_, i) => (i === 15 ? NaN : 0)),
  );
  const step = new Trainer(session, plan).step(sequences, new TrainingClock(plan, 100));
  await expect(step).rejects.toThrow(DivergedError);
  await expect(new Trainer(session, plan).step(sequences, new TrainingClock(plan, 100))).rejects.toThrow(
    "step 1: the loss `next_token` is NaN; the first bad tensor is `table`, from element 14 on",
  );
});

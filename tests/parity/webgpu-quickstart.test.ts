/**
 * The quickstart trained on WebGPU follows the CPU. `DSKC_TRAINED_STEPS=50 DSKC_TRAINED_SEQUENCES=8 DSKC_TRAINED_LENGTH=256` makes what its
 * section says, which takes hours on a driver in software; `node bench/run.mjs devices` tells more of each step.
 */
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { forTraining } from "../../compiler/cli/open-session.ts";
import { loadModel } from "../../compiler/cli/load-model.ts";
import { tableOf } from "../../compiler/cli/name-table.ts";
import { trainPlan } from "../../compiler/cli/train-plan.ts";
import { trainingPlan } from "../../compiler/package/training-plan.ts";
import type { Sequence } from "../../runtime/data/batch.ts";
import { philox } from "../../runtime/program/philox.ts";
import { TrainingClock } from "../../runtime/train/clock.ts";
import { initialize } from "../../runtime/train/init.ts";
import { Trainer } from "../../runtime/train/trainer.ts";
import { HAS_WEBGPU } from "../support/on-webgpu.ts";

const number = (name: string, usual: number): number => Number(process.env[`DSKC_TRAINED_${name}`] ?? usual);
const [steps, sequences, length] = [number("STEPS", 4), number("SEQUENCES", 2), number("LENGTH", 32)];

/** Text that can be learned: each token is followed by one of two. */
function drawn(step: number, row: number): Sequence {
  const tokens = Int32Array.of(row + 1, ...Array.from({ length }, () => 0));
  for (let i = 1; i <= length; i++)
    tokens[i] = (tokens[i - 1]! * 31 + (philox([i, row, step, 0], [7, 7])[0] % 2)) % 512;
  return [{ length, tokens }];
}

test.skipIf(!HAS_WEBGPU)(
  "each step gives the loss, the norm of the gradient and the loads of the CPU",
  { timeout: 0 },
  async () => {
    const loaded = loadModel(resolve("specs/quickstart.dsk"), undefined)!;
    const plan = trainingPlan(loaded.trains[0]!, loaded, loaded.diagnostics)!;
    const step = trainPlan(loaded.trains[0], loaded.training());
    const { model, open } = forTraining(loaded, step, tableOf(loaded.module), false);
    const layers = model.stores.flatMap(({ name }) => /^(.*)\.bias$/.exec(name)?.[1] ?? []);
    expect(layers.length).toBe(4);
    const sessions = [await open("cpu"), await open("webgpu")] as const;
    for (const session of sessions) initialize(session, model, plan.seed);
    const trainers = sessions.map(
      (session) =>
        new Trainer(
          session,
          plan,
          Infinity,
          layers.map((layer) => `${layer}.load`),
        ),
    );
    const clock = new TrainingClock(plan, 1e6);
    let first = 0;
    let last = 0;
    for (let s = 0; s < steps; s++) {
      const rows = Array.from({ length: sequences }, (_, row) => drawn(s, row));
      // A tie of a router that falls the other way moves biases, and the runs would part: every step begins where the CPU is.
      for (const { name } of sessions[0].stores) sessions[1].write(name, await sessions[0].read(name));
      const [cpu, gpu] = [await trainers[0]!.step(rows, clock), await trainers[1]!.step(rows, clock)];
      clock.advance({ sequences, tokens: cpu.tokens, epochs: 0 });
      expect(Math.abs(gpu.loss - cpu.loss)).toBeLessThan(1e-3);
      expect(Math.abs(gpu.gradNorm / cpu.gradNorm - 1)).toBeLessThan(1e-3);
      for (const layer of layers) {
        const [mine, others] = [cpu, gpu].map(({ metrics }) => metrics[`${layer}.load`]!) as [Int32Array, Int32Array];
        const moved = mine.reduce((sum, load, e) => sum + Math.abs(load - others[e]!), 0) / 2;
        // Of all choices of the layer, four for each token.
        expect(moved).toBeLessThanOrEqual(1e-3 * 4 * sequences * length);
      }
      if (s === 0) first = cpu.loss;
      last = gpu.loss;
    }
    expect(last).toBeLessThan(first);
    for (const session of sessions) session.close();
  },
);

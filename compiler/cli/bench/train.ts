/** `dskc bench train`: steps of a train section, on tokens that are drawn. */
import type { Sequence } from "../../../runtime/data/batch.ts";
import type { Session } from "../../../runtime/device/session.ts";
import { microBatches } from "../../../runtime/train/micro-batches.ts";
import { TrainingClock } from "../../../runtime/train/clock.ts";
import type { TrainingPlan } from "../../../runtime/train/plan.ts";
import { Trainer } from "../../../runtime/train/trainer.ts";
import { programCost } from "../../kernel-ir/cost.ts";
import type { KernelModule } from "../../kernel-ir/types.ts";
import { drawnToken } from "./calls.ts";
import type { Machine, MeasureMachine } from "./machine.ts";
import { type Spread, spreadOf } from "./statistics.ts";

export interface TrainReport {
  readonly section: string;
  readonly machine: Machine;
  readonly sequences: number;
  readonly length: number;
  /** Of a step. */
  readonly tokens: number;
  readonly seconds: Spread;
  readonly tokensPerSecond: number;
  /** Operations of a step, and what share of the machine's peak they had. */
  readonly flops: number;
  readonly shareOfPeak: number;
  /** Params, states and what the optimizer keeps; what a step needs beside them. */
  readonly storeBytes: number;
  readonly arenaBytes: number;
}

/** Makes steps for about so many seconds; three at least, and one before. */
export async function benchTrain(
  session: Session,
  plan: TrainingPlan,
  { kernels, programs }: KernelModule,
  vocabulary: number,
  { seconds, measure }: { readonly seconds: number; readonly measure: MeasureMachine },
): Promise<TrainReport> {
  const { length, lookAhead } = plan;
  const clock = new TrainingClock(plan, Infinity);
  const trainer = new Trainer(session, plan);
  const sequences = Array.from({ length: clock.batch }, (_, row): Sequence => {
    const tokens = Int32Array.from({ length: length + lookAhead + 1 }, (__, i) =>
      drawnToken(row * length + i, vocabulary),
    );
    return [{ length, tokens }];
  });
  const tokens = sequences.length * length;
  const step = async (): Promise<number> => {
    const started = performance.now();
    await trainer.step(sequences, clock);
    const took = (performance.now() - started) / 1000;
    clock.advance({ sequences: sequences.length, tokens, epochs: 0 });
    return took;
  };
  await step();
  const times: number[] = [];
  const end = performance.now() + 1000 * seconds;
  do times.push(await step());
  while (performance.now() < end || times.length < 3);
  const [batch] = microBatches(sequences, Infinity, lookAhead);
  const program = programs.find(({ name }) => name === "train_step")!;
  const costs = programCost(program, kernels, batch!.sizes, { seen: (length + 1) / 2 });
  const flops = costs.reduce((sum, cost) => sum + cost.flops, 0);
  const { storeBytes, arenaBytes } = session.memory();
  const machine = await measure(storeBytes + arenaBytes);
  const spread = spreadOf(times);
  return {
    section: plan.name,
    machine,
    sequences: sequences.length,
    length,
    tokens,
    seconds: spread,
    tokensPerSecond: tokens / spread.median,
    flops,
    shareOfPeak: flops / spread.median / machine.flops,
    storeBytes,
    arenaBytes,
  };
}

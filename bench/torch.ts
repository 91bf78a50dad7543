/**
 * Training steps of specs/quickstart.dsk here and in PyTorch: the same weights, tokens and threads, step by step in turn, after
 * losses and all gradients were found equal. `PYTHON=FILE` is a Python that has torch:
 * `chrt -r 10 node bench/run.mjs torch [--experts loop|grouped|padded] [--compile] [--threads N] [--sequences N] [--rounds N]`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { drawnToken } from "../compiler/cli/bench/calls.ts";
import { measureMachine } from "../compiler/cli/bench/machine.ts";
import { median } from "../compiler/cli/bench/statistics.ts";
import { loadModel } from "../compiler/cli/load-model.ts";
import { openOnCpu } from "../compiler/cli/open-session.ts";
import { trainPlan } from "../compiler/cli/train-plan.ts";
import { programCost } from "../compiler/kernel-ir/cost.ts";
import { modelFile } from "../compiler/package/model.ts";
import { lowered } from "../compiler/package/package.ts";
import { trainingPrograms } from "../compiler/package/programs.ts";
import { trainingPlan } from "../compiler/package/training-plan.ts";
import { batchOf, type Sequence } from "../runtime/data/batch.ts";
import type { CpuSession } from "../runtime/device/cpu/session.ts";
import { writeSafetensors } from "../runtime/io/safetensors/write.ts";
import { f32 } from "../runtime/io/safetensors/written.ts";
import { TrainingClock } from "../runtime/train/clock.ts";
import { initialize } from "../runtime/train/init.ts";
import { Trainer } from "../runtime/train/trainer.ts";
import { EXPERTS, type Losses, openTorch, type TorchOptions, type TorchPeer } from "./peers/torch-peer.ts";

/** How far losses (relative) and gradients (of their norm) may lie apart: f32 differs by the order of sums. */
const MOST = { loss: 2e-6, gradient: 1e-4 };
/** The same after some steps on the same tokens. */
const MOST_AT_END = 2e-2;
/** Milliseconds before each turn: threads of OpenMP spin for 10 of them behind a step, on processors that the other one needs. */
const PAUSE = 50;
const SEED = 1;

const { values: options } = parseArgs({
  args: process.argv.slice(3),
  options: {
    experts: { type: "string", default: "grouped" },
    compile: { type: "boolean", default: false },
    threads: { type: "string", multiple: true, default: ["1", "2"] },
    sequences: { type: "string", multiple: true, default: ["8", "32"] },
    rounds: { type: "string", default: "9" },
  },
});
const experts = EXPERTS.find((one) => one === options.experts);
if (experts === undefined) throw new Error(`--experts: ${EXPERTS.join(", ")}`);
const rounds = Number(options.rounds);

const loaded = loadModel("specs/quickstart.dsk", undefined)!;
const section = loaded.trains[0]!;
const plan = trainingPlan(section, loaded, loaded.diagnostics)!;
const trained = loaded.training();
const step = trainPlan(section, trained);
const { programs, transient } = trainingPrograms(loaded.module, trained.module, step, true);
const model = modelFile(trained.module, undefined, step, transient);
const made = lowered(programs);
const folder = mkdtempSync(join(tmpdir(), "dskc-bench-"));

function sequencesOf(count: number): Sequence[] {
  const tokens = plan.length + plan.lookAhead + 1;
  return Array.from({ length: count }, (_, row) => [
    {
      length: plan.length,
      tokens: Int32Array.from({ length: tokens }, (__, i) => drawnToken(row * tokens + i, model.vocabulary)),
    },
  ]);
}

/** Params, or gradients with the names of their params, in a file. */
function save(session: CpuSession, name: string, prefix: string): string {
  const file = join(folder, name);
  const stores = session.stores.filter((store) => model.stores.some((own) => prefix + own.name === store.name));
  writeSafetensors(
    file,
    stores.map((store) => f32(store.name.slice(prefix.length), store.shape, session.read(store.name))),
  );
  return file;
}

/** Gradients of the first step, which leave no trace in the session. */
async function gradients(session: CpuSession, sequences: readonly Sequence[]): Promise<string> {
  const { sizes, inputs } = batchOf(sequences, plan.lookAhead);
  const scalars = Object.fromEntries(Object.keys(plan.scalars).map((name) => [name, Float32Array.of(0)]));
  const given = { ...inputs, ...scalars, step: Float32Array.of(1), seed: Int32Array.of(plan.seed) };
  const counts = await session.run({ program: "denominators", sizes, inputs: given });
  await session.run({ program: "gradients", sizes, inputs: { ...given, ...counts } });
  const file = save(session, "gradients.safetensors", "gradient.");
  initialize(session, model, SEED);
  return file;
}

const apart = (ours: Losses, theirs: Losses): number =>
  Math.max(...Object.entries(theirs).map(([name, loss]) => Math.abs(ours[name as keyof Losses] / loss - 1)));

/** @throws Error where they are not equal */
async function measure(session: CpuSession, peer: TorchPeer, count: number, threads: number): Promise<string> {
  const sequences = sequencesOf(count);
  const file = await gradients(session, sequences);
  const checked = await peer.check(
    sequences.map(([piece]) => [...piece!.tokens]),
    file,
  );
  const clock = new TrainingClock(plan, Infinity);
  const trainer = new Trainer(session, plan);
  const [ours, theirs, processor]: [number[], number[], number[]] = [[], [], []];
  const tokens = count * plan.length;
  let distance = 0;
  // The first two steps allocate and choose kernels.
  for (let round = -2; round < rounds; round++) {
    await setTimeout(PAUSE);
    const [started, used] = [performance.now(), process.cpuUsage()];
    const mine = await trainer.step(sequences, clock);
    const seconds = (performance.now() - started) / 1000;
    const { user, system } = process.cpuUsage(used);
    clock.advance({ sequences: count, tokens, epochs: 0 });
    const { lr, "train.balance_rate": rate } = mine.scalars as { lr: number; "train.balance_rate": number };
    await setTimeout(PAUSE);
    const other = await peer.step(lr, rate);
    distance = apart(mine.losses as unknown as Losses, other.losses);
    if (round === -2 && !(distance <= MOST.loss && checked.distance <= MOST.gradient))
      throw new Error(`losses differ by ${distance}, the gradient of ${checked.gradient} by ${checked.distance}`);
    if (round < 0) continue;
    ours.push(seconds);
    theirs.push(other.seconds);
    processor.push((1e6 * other.processor) / (user + system));
  }
  if (!(distance <= MOST_AT_END)) throw new Error(`losses differ by ${distance} after ${rounds + 2} steps`);
  const program = made.programs.find(({ name }) => name === "train_step")!;
  const { sizes } = batchOf(sequences, plan.lookAhead);
  const costs = programCost(program, made.kernels, sizes, { seen: (plan.length + 1) / 2 });
  const flops = costs.reduce((sum, cost) => sum + cost.flops, 0);
  const machine = await measureMachine(1 << 20, threads);
  const share = (times: readonly number[]): string => `${((100 * flops) / median(times) / machine.flops).toFixed(0)} %`;
  const rate = (times: readonly number[]): string => (tokens / median(times)).toFixed(0);
  const cells = [
    count,
    threads,
    rate(ours),
    share(ours),
    rate(theirs),
    share(theirs),
    median(theirs.map((time, i) => time / ours[i]!)).toFixed(2),
    median(processor).toFixed(2),
    checked.distance.toExponential(1),
    distance.toExponential(1),
  ];
  return `| ${cells.join(" | ")} |\n`;
}

try {
  for (const threads of options.threads.map(Number)) {
    for (const count of options.sequences.map(Number)) {
      const session = await openOnCpu({ programs, model }, { threads });
      initialize(session, model, SEED);
      const weights = save(session, "weights.safetensors", "");
      const peerOptions: TorchOptions = { weights, threads, experts, compile: options.compile };
      const peer = await openTorch(peerOptions);
      const row = await measure(session, peer, count, threads);
      process.stdout.write(`torch ${peer.version} ${experts}${options.compile ? " compiled" : ""} ${row}`);
      await peer.close();
      session.close();
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}

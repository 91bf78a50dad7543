/**
 * Training steps with losses made block by block and without: `node bench/run.mjs loss [SPEC [SEQUENCES [LENGTH [ROUNDS]]]]`.
 * Both packages are in one process, a step of one follows a step of the other. Prints medians of whole steps and of the
 * launches between a head and its gradients, and the arenas.
 */
import { median } from "../compiler/cli/bench/statistics.ts";
import { drawnCall } from "../compiler/cli/bench/calls.ts";
import { loadModel } from "../compiler/cli/load-model.ts";
import { packageInCache } from "../compiler/cli/open-session.ts";
import { trainPlan } from "../compiler/cli/train-plan.ts";
import { vocabularySize } from "../compiler/elaborate/forward.ts";
import { trainStepProgram } from "../compiler/elaborate/train-step.ts";
import type { Fusion } from "../compiler/lower/fusions.ts";
import { modelFile } from "../compiler/package/model.ts";
import { lowered, packageFiles } from "../compiler/package/package.ts";
import { type CpuSession, openCpuSession } from "../runtime/device/cpu/session.ts";
import type { Call } from "../runtime/device/session.ts";
import type { LaunchProgram } from "../runtime/program/launch.ts";
import { initialize } from "../runtime/train/init.ts";

const [spec = "specs/quickstart.dsk", ...numbers] = process.argv.slice(3);
const [sequences = 8, length = 256, rounds = 15] = numbers.map(Number);

const loaded = loadModel(spec, undefined)!;
const training = loaded.training();
const plan = trainPlan(loaded.trains[0], training);
const programs = [trainStepProgram(training.module, plan)];
const model = modelFile(training.module, undefined, plan);
const vocabulary = vocabularySize(loaded.module);

/** The launches that read or write rows of logits. */
function headOf({ buffers, launches }: LaunchProgram): number[] {
  const isWide = (buffer: number): boolean => {
    const { kind, shape } = buffers[buffer]!;
    return kind === "temp" && shape[0] === "T" && shape[1] === vocabulary;
  };
  return launches.flatMap(({ args }, i) => (args.some(isWide) ? [i] : []));
}

interface Case {
  readonly name: string;
  readonly session: CpuSession;
  readonly call: Call;
  readonly head: readonly number[];
}

const cases: Case[] = [];
for (const without of [[], ["fuse-loss"]] as const satisfies readonly (readonly Fusion[])[]) {
  const lower = { without: new Set<Fusion>(without) };
  const directory = await packageInCache(packageFiles({ programs, model, lower }));
  const session = openCpuSession(directory, { profile: true });
  initialize(session, model, 1);
  const [program] = lowered(programs, lower).programs;
  const { call } = drawnCall(program!, { sequences, length }, vocabulary);
  cases.push({ name: without.length === 0 ? "block by block" : "all at once", session, call, head: headOf(program!) });
}

const headTime = ({ session, head }: Case): number => {
  const profile = session.profile();
  return head.reduce((sum, i) => sum + profile[i]!.nanoseconds, 0) / 1e6;
};

const times = cases.map(() => ({ step: [] as number[], head: [] as number[] }));
for (let round = -1; round < rounds; round++) {
  for (const [i, one] of cases.entries()) {
    const before = headTime(one);
    const started = performance.now();
    await one.session.run({ ...one.call, outputs: ["loss"] });
    if (round < 0) continue;
    times[i]!.step.push(performance.now() - started);
    times[i]!.head.push(headTime(one) - before);
  }
}

console.log(`${spec}: ${sequences} x ${length} tokens, V = ${vocabulary}, ${rounds} rounds`);
for (const [i, { name, session }] of cases.entries()) {
  const { step, head } = times[i]!;
  const [whole, part] = [median(step).toFixed(1), median(head).toFixed(2)];
  console.log(`${name}: step ${whole} ms, head and loss ${part} ms, arena ${session.memory().arenaHighWater} bytes`);
  session.close();
}

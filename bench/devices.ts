/**
 * The quickstart trained here and there, step by step, on the same sequences:
 * `node bench/run.mjs devices --spec quickstart/quickstart.dsk --other webgpu --sequences 4 --length 128`. `--spec` has its text beside
 * it (`npm start` or `dskc corpus` gather some); `--other` is webgpu, or split: the CPU with each step in two calls. With `--forced`
 * each step of the other one starts from the state of the CPU; `--every 5` makes only every fifth one there. Tells, for each step,
 * how far losses, gradients and params are
 * apart, which tokens went to other experts, by which margin the CPU decided, and how far affinities are apart.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { loadModel } from "../compiler/cli/load-model.ts";
import { tableOf } from "../compiler/cli/name-table.ts";
import { forTraining } from "../compiler/cli/open-session.ts";
import { trainPlan } from "../compiler/cli/train-plan.ts";
import { trainingPlan } from "../compiler/package/training-plan.ts";
import type { Call, Session } from "../runtime/device/session.ts";
import { TrainingClock } from "../runtime/train/clock.ts";
import { initialize } from "../runtime/train/init.ts";
import { openTrainingData } from "../runtime/train/open-data.ts";
import { constantSchedule } from "../runtime/train/schedule.ts";
import { type StepResult, Trainer } from "../runtime/train/trainer.ts";

const { values: options } = parseArgs({
  args: process.argv.slice(3),
  options: {
    spec: { type: "string", default: "quickstart/quickstart.dsk" },
    other: { type: "string", default: "webgpu" },
    sequences: { type: "string", default: "8" },
    length: { type: "string", default: "256" },
    steps: { type: "string", default: "50" },
    forced: { type: "boolean", default: false },
    every: { type: "string", default: "1" },
  },
});
const [sequences, length, steps] = [options.sequences, options.length, options.steps].map(Number) as [
  number,
  number,
  number,
];

/** The router with its affinities told. */
const [block] = /^block DeepSeekMoe\[D\].*?^}\n/ms.exec(readFileSync("dsl/std/moe.dsk", "utf8"))!;
const telling = block.replace("metric chosen  = chosen", "metric chosen = chosen\n    metric affinity = affinity");
const folder = dirname(options.spec);
const path = join(folder, "telling.dsk");
const text = readFileSync(options.spec, "utf8").replace('import { DeepSeekMoe } from "std/moe"\n', "");
writeFileSync(path, `${text}\n${telling}`);

const loaded = loadModel(path, undefined)!;
const planned = trainingPlan(loaded.trains[0]!, loaded, loaded.diagnostics)!;
const plan = { ...planned, length, batch: { unit: "sequences", size: constantSchedule(sequences) } } as const;
const step = trainPlan(loaded.trains[0], loaded.training());
const { model, open } = forTraining(loaded, step, tableOf(loaded.module), options.other === "split");
const layers = model.stores.flatMap(({ name }) => /^(.*)\.bias$/.exec(name)?.[1] ?? []);
const metrics = layers.flatMap((layer) => [`${layer}.chosen`, `${layer}.affinity`, `${layer}.load`]);
const data = await openTrainingData(plan, model.vocabulary, {
  root: folder,
  run: join(folder, "runs", "Pretrain"),
  remark: () => undefined,
});

const own = await open("cpu");
const other = await open(options.other === "webgpu" ? "webgpu" : "cpu");
for (const session of [own, other]) initialize(session, model, plan.seed);
/** What the routers told in the calls of a step, one after the other. */
const told = new Map<string, number[]>();
const listening: Session = Object.assign(Object.create(other) as Session, {
  run: async (call: Call) => {
    const outputs = await other.run(call);
    for (const metric of metrics) {
      const values = outputs[`metric.${metric}`];
      if (values !== undefined) told.set(metric, [...(told.get(metric) ?? []), ...values]);
    }
    return outputs;
  },
});
const trainers = [
  new Trainer(own, plan, Infinity, metrics),
  options.other === "split"
    ? new Trainer(listening, plan, (sequences * length) / 2)
    : new Trainer(listening, plan, Infinity, metrics),
] as const;

async function statesOf(session: Session): Promise<Map<string, Float32Array>> {
  const states = new Map<string, Float32Array>();
  for (const { name } of own.stores) states.set(name, (await session.read(name)) as Float32Array);
  return states;
}

/** The largest distance of two arrays, and the largest element of the first. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): { apart: number; largest: number } {
  let [apart, largest] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    apart = Math.max(apart, Math.abs(a[i]! - b[i]!));
    largest = Math.max(largest, Math.abs(a[i]!));
  }
  return { apart, largest };
}

/** Tokens that the routers of a layer sent to other experts. */
function flips(layer: string, before: ReadonlyMap<string, Float32Array>, { metrics: mine }: StepResult) {
  const bias = before.get(`${layer}.bias`)!;
  const E = bias.length;
  const both = (metric: string) => [[...mine[`${layer}.${metric}`]!], told.get(`${layer}.${metric}`)!] as const;
  const chosen = both("chosen");
  const affinity = both("affinity");
  const tokens = affinity[0].length / E;
  const K = chosen[0].length / tokens;
  const found = [];
  for (let t = 0; t < tokens; t++) {
    const [mine, others] = chosen.map((all) => new Set(all.slice(t * K, (t + 1) * K))) as [Set<number>, Set<number>];
    const left = [...mine].filter((e) => !others.has(e));
    if (left.length === 0) continue;
    const taken = [...others].filter((e) => !mine.has(e));
    // What the router compares: affinity and bias, and of groups the sums of their two best.
    const score = (e: number): number => affinity[0][t * E + e]! + bias[e]!;
    const size = E / 4;
    const group = (e: number): number => Math.floor(e / size);
    const sum = (g: number): number => {
      const best = Array.from({ length: size }, (_, i) => score(g * size + i)).sort((x, y) => y - x);
      return best[0]! + best[1]!;
    };
    const groups = new Set([...mine].map(group));
    const margins = taken.map((e) =>
      groups.has(group(e))
        ? Math.min(...left.map((l) => score(l) - score(e)))
        : Math.min(...left.map((l) => sum(group(l)) - sum(group(e)))),
    );
    const rows = affinity.map((all) => all.slice(t * E, (t + 1) * E));
    const { apart } = distance(rows[0]!, rows[1]!);
    found.push({ token: t, from: left, to: taken, margin: Math.min(...margins), affinities: apart });
  }
  return found;
}

const clock = new TrainingClock(plan, data.train.tokens);
const stream = data.stream({ lookAhead: plan.lookAhead });
const worst = { loss: 0, flips: 0 };
for (let s = 1; s <= steps; s++) {
  const drawn = stream.next(sequences);
  if (options.forced && s % Number(options.every) !== 0) {
    const { sequences: count, tokens } = await trainers[0].step(drawn, clock);
    clock.advance({ sequences: count, tokens, epochs: stream.epochs });
    continue;
  }
  const before = await statesOf(own);
  if (options.forced) for (const [name, values] of before) other.write(name, values);
  told.clear();
  const a = await trainers[0].step(drawn, clock);
  const b = await trainers[1].step(drawn, clock);
  clock.advance({ sequences: a.sequences, tokens: a.tokens, epochs: stream.epochs });
  const [mine, others] = [await statesOf(own), await statesOf(other)];
  const moved = layers.map((layer) => ({ layer, found: flips(layer, before, a) }));
  let biases = 0;
  let params = 0;
  for (const [name, values] of mine) {
    const theirs = others.get(name)!;
    if (name.endsWith(".bias")) biases += values.filter((x, i) => Math.abs(x - theirs[i]!) > 1e-6).length;
    else if (!name.includes("optimizer") && model.stores.some((store) => store.name === name && store.kind === "param"))
      params = Math.max(params, distance(values, theirs).apart);
  }
  const apart = Math.abs(a.loss - b.loss);
  worst.loss = Math.max(worst.loss, apart);
  worst.flips += moved.reduce((n, { found }) => n + found.length, 0);
  const numbers = [`loss ${a.loss.toFixed(6)}`, `apart ${apart.toExponential(1)}`];
  const norm = Math.abs(a.gradNorm / b.gradNorm - 1);
  numbers.push(`norm ${norm.toExponential(1)}`, `params ${params.toExponential(1)}`, `biases ${biases}`);
  console.log(`step ${s}: ${numbers.join(", ")}`);
  for (const { layer, found } of moved)
    for (const { token, from, to, margin, affinities } of found.slice(0, 3))
      console.log(
        `  ${layer}, token ${token}: ${from.join()} became ${to.join()}; decided by ${margin.toExponential(1)}, affinities are ${affinities.toExponential(1)} apart; ${found.length} tokens of this layer`,
      );
}
console.log(`most: loss ${worst.loss.toExponential(1)}, ${worst.flips} tokens to other experts`);
for (const session of [own, other]) session.close();
data.close();

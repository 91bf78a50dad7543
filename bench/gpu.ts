/**
 * The kernels of the CUDA device beside those of PyTorch: `npm run bench:gpu`, and docs/cuda.md. Every case is a program that the
 * compiler lowers and prints as it does for a package; the table is printed line by line, `--json FILE` has all of it.
 */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { architecturesOf, findGpus } from "../runtime/device/cuda/gpu.ts";
import type { Case } from "./gpu/case.ts";
import { allCases } from "./gpu/cases.ts";
import { directoryOf, SIMULATED } from "./gpu/directory.ts";
import { type Goal, GOALS } from "./gpu/goals.ts";
import { Bench, type Row } from "./gpu/measure.ts";
import { serveOurs } from "./gpu/ours.ts";
import { benchPackage } from "./gpu/package.ts";
import { summaries, tableHead, tableRow, wholeLines } from "./gpu/table.ts";
import { Talk } from "./gpu/talk.ts";
import { type Whole, wholePackage, wholes } from "./gpu/v2lite.ts";

const { values: options } = parseArgs({
  options: {
    /** Compiles the kernels of all cases, where nvcc is: nothing is measured. */
    prepare: { type: "boolean", default: false },
    /** A pattern of names. */
    only: { type: "string" },
    /** Seconds after which no case begins. */
    budget: { type: "string", default: "600" },
    rounds: { type: "string", default: "3" },
    json: { type: "string" },
    tiny: { type: "boolean", default: false },
    "no-peer": { type: "boolean", default: false },
    /** This process is the one that runs our kernels. */
    child: { type: "boolean", default: false },
  },
});
/** Milliseconds. PyTorch and Triton compile; nothing of ours takes seconds on a GPU unless it hangs. */
const QUICK = { open: 15_000, peer: 60_000, time: 5_000, whole: 90_000 };
const SLOW = { open: 300_000, peer: 300_000, time: 300_000, whole: 300_000 };

const rounds = Number(options.rounds);
const budget = Number(options.budget);
if (!(rounds >= 1) || !(budget > 0)) throw new Error("--rounds and --budget are numbers above 0");
const only = new RegExp(options.only ?? ".");
const cases = allCases(options.tiny).filter(({ name }) => only.test(name));
/** Whole models take many gigabytes and seconds: only those that are asked for are measured. */
const [models, left] = [true, false].map((wanted) =>
  wholes(options.tiny).filter(({ name }) => wanted === (options.only !== undefined && only.test(name))),
) as [Whole[], Whole[]];

/** What kernels are prepared for. */
const HOPPER = architecturesOf({ major: 9, minor: 0 });

async function prepare(): Promise<void> {
  // Whole models first: they have most kernels. They are packages of a kind.
  const kinds = new Set(wholes(options.tiny).flatMap((one) => (only.test(one.name) ? [one.kind] : [])));
  const all = [
    ...[...kinds].map((kind) => ({ name: `v2lite-${kind}`, files: () => wholePackage(kind, options.tiny).files })),
    ...cases.map((one) => ({ name: one.name, files: () => benchPackage(one, options.tiny, HOPPER).files })),
  ];
  const queue = all.entries();
  const work = async (): Promise<void> => {
    for (const [i, { name, files }] of queue)
      console.log(`${i + 1} of ${all.length}: ${name} in ${await directoryOf(files())}`);
  };
  // A case has one or two files, which keep as many processors busy.
  await Promise.all(Array.from({ length: availableParallelism() }, work));
}

/** Why nothing can be measured here. */
function noGpu(): string | undefined {
  if (SIMULATED) return undefined;
  try {
    return findGpus().length === 0 ? "the CUDA driver shows no GPU" : undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

async function measureAll(): Promise<void> {
  const why = noGpu();
  if (why !== undefined) {
    console.log(`skipped: all ${cases.length} cases. ${why}`);
    return;
  }
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  const own = [process.argv[1]!, "--child", ...(options.tiny ? ["--tiny"] : [])];
  const bench = new Bench({
    rounds,
    ours: () => new Talk(process.execPath, own),
    peer: options["no-peer"]
      ? undefined
      : () => new Talk(process.env["PYTHON"] ?? "python3", ["bench/peers/torch_gpu.py"]),
    patience: SIMULATED ? SLOW : QUICK,
  });
  const rows: Row[] = [];
  try {
    if (await bench.measureLimits()) {
      const { gpu, torch, copy, bf16, fp8 } = bench.limits!;
      const eight = fp8 === undefined ? "not there" : `${(fp8 / 1e12).toFixed(0)} TFLOPS`;
      console.log(
        `${gpu}, torch ${torch}: copies ${(copy / 1e12).toFixed(2)} TB/s; products of 8192 cubed in bf16 ${(bf16 / 1e12).toFixed(0)} TFLOPS, in e4m3 ${eight}`,
      );
    } else console.log(`skipped: peers and limits. ${bench.without.get("peers") ?? "--no-peer"}`);
    console.log(tableHead());
    const add = (goal: Goal | undefined, row: Row): void => {
      rows.push(row);
      console.log(tableRow(goal, row));
      if (options.json !== undefined) save(options.json, bench, rows);
    };
    const late = `the budget of ${budget} s was over`;
    for (const one of cases) add(one.goal, seconds() < budget ? await bench.measure(one) : skipped(one, late));
    for (const one of models) {
      const row = seconds() < budget ? await bench.measureWhole(one) : skipped({ ...one, limit: "memory" }, late);
      add(one.kind === "train" ? GOALS["v2lite-train"] : undefined, row);
    }
  } finally {
    bench.close();
  }
  const goals = new Map(cases.flatMap(({ name, goal }) => (goal === undefined ? [] : [[name, goal] as const])));
  console.log(["", ...summaries(rows, goals), ...rows.flatMap((row) => wholeLines(row))].join("\n"));
  for (const { name } of left) console.log(`skipped: ${name}, which has to be asked for (--only v2lite)`);
  for (const [what, reason] of bench.without) console.log(`skipped: ${what}. ${reason}`);
  const count = (status: Row["status"]): number => rows.filter((row) => row.status === status).length;
  console.log(
    `${count("measured")} measured, ${count("wrong")} wrong, ${count("failed")} failed, ${count("skipped")} skipped in ${seconds().toFixed(0)} s`,
  );
  if (count("wrong") + count("failed") > 0) process.exitCode = 1;
}

function skipped({ name, limit }: Pick<Case, "name" | "limit">, why: string): Row {
  return { name, limit, flops: 0, bytes: 0, status: "skipped", why, peers: {}, compared: why, seconds: 0 };
}

/** After each case: a run that is ended has what was measured so far. */
function save(file: string, { limits, without }: Bench, rows: readonly Row[]): void {
  const head = { date: new Date().toISOString(), command: process.argv.slice(2).join(" "), rounds, limits };
  writeFileSync(file, `${JSON.stringify({ ...head, without: Object.fromEntries(without), rows }, undefined, 1)}\n`);
}

if (options.child) await serveOurs(cases, options.tiny);
else if (options.prepare) await prepare();
else await measureAll();

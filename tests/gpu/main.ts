/**
 * The tests that run on the GPU of this machine (`npm run test:gpu`), or prepare packages for one elsewhere. Each file has a
 * process of its own: one whose kernel never ends, or breaks the context, costs no other its results.
 */
import { spawn } from "node:child_process";
import { findGpus } from "../../runtime/device/cuda/gpu.ts";
import { type Counts, runFile } from "./runner.ts";

interface File {
  readonly name: string;
  readonly load: () => Promise<unknown>;
  /** The tests of it that are for GPUs; others are part of `npm test`. */
  readonly tests?: RegExp;
}

const FILES: readonly File[] = [
  { name: "sessions", load: () => import("../runtime/device/cuda/session.test.ts") },
  { name: "products on tensor cores", load: () => import("../compiler/targets/cuda/hopper/gemm.test.ts") },
  {
    name: "clusters that share sums on tensor cores",
    load: () => import("../compiler/targets/cuda/hopper/few.test.ts"),
    tests: /^sums of clusters/,
  },
  { name: "eight bits on tensor cores", load: () => import("../compiler/targets/cuda/hopper/fp8.test.ts") },
  { name: "attention on tensor cores", load: () => import("../compiler/targets/cuda/hopper/attention.test.ts") },
  {
    name: "attention backward on tensor cores",
    load: () => import("../compiler/targets/cuda/hopper/backward.test.ts"),
  },
  {
    name: "columns that blocks share on tensor cores",
    load: () => import("../compiler/targets/cuda/hopper/attention-split.test.ts"),
  },
  { name: "programs of all families", load: () => import("../compiler/targets/cuda/random.test.ts") },
  { name: "few results of many terms", load: () => import("../compiler/targets/cuda/shares.test.ts") },
  { name: "sums of many terms, wide rows", load: () => import("../compiler/targets/cuda/spread.test.ts") },
  { name: "rows and elements", load: () => import("../compiler/targets/cuda/rows.test.ts") },
  { name: "an optimizer in few launches", load: () => import("../compiler/targets/cuda/lists.test.ts") },
  { name: "codes in eight bits", load: () => import("../compiler/targets/cuda/codes.test.ts") },
  { name: "a model in bf16", load: () => import("../parity/bf16.test.ts"), tests: /^cuda, products/ },
  { name: "casts", load: () => import("../parity/casts.test.ts"), tests: /^cuda/ },
  { name: "products in eight bits", load: () => import("../parity/fp8-products.test.ts"), tests: /^cuda/ },
  {
    name: "gradients of weights in eight bits",
    load: () => import("../parity/fp8-weight-gradients.test.ts"),
    tests: /^cuda/,
  },
  {
    name: "gradients of experts' weights in eight bits",
    load: () => import("../parity/fp8-expert-gradients.test.ts"),
    tests: /^cuda/,
  },
  { name: "models of the fixtures", load: () => import("../parity/cuda.test.ts") },
  { name: "training steps of the fixtures", load: () => import("../parity/cuda-training.test.ts") },
  { name: "random models", load: () => import("../parity/random-models.test.ts"), tests: /on cuda$/ },
];

/** DSKC_GPU_FILES and DSKC_GPU_ONLY are patterns of names of files and tests. */
const files = new RegExp(process.env["DSKC_GPU_FILES"] ?? ".");
const only = new RegExp(process.env["DSKC_GPU_ONLY"] ?? ".");
/** The file that this process runs. */
const own = process.env["DSKC_GPU_FILE"];
/** A tool of compute-sanitizer under which each file runs: memcheck, synccheck, initcheck. */
const sanitizer = process.env["DSKC_GPU_SANITIZER"];
const preparing = process.env["DSKC_GPU"] === "prepare";
/** Seconds that a file may take on a GPU; all kernels are small. */
const limit = Number(process.env["DSKC_GPU_SECONDS"] ?? 300);

if (own !== undefined) await runOne(FILES.find(({ name }) => name === own)!);
else if (preparing || hasGpu()) await runAll();

function hasGpu(): boolean {
  try {
    const [gpu] = findGpus();
    if (gpu === undefined) throw new Error("the CUDA driver shows no GPU");
    console.log(`on ${gpu.name}, compute capability ${gpu.capability}, driver for CUDA ${gpu.driver}`);
    return true;
  } catch (error) {
    console.log(`skipped: all of it. ${(error as Error).message}`);
    return false;
  }
}

async function runOne({ name, load, tests = /./ }: File): Promise<never> {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0, prepared: 0 };
  await runFile(name, load, counts, (test) => only.test(test) && tests.test(test));
  console.log(JSON.stringify(counts));
  process.exit(0);
}

async function runAll(): Promise<void> {
  const waiting = FILES.filter(({ name }) => files.test(name));
  const sum: Counts = { passed: 0, failed: 0, skipped: 0, prepared: 0 };
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const counts = await inChild(file);
      for (const key of ["passed", "failed", "skipped", "prepared"] as const) sum[key] += counts[key];
    }
  };
  await Promise.all([work(), work()]);
  console.log("not run here: failures of driver calls (they are made by the stand-in), the command line, servers");
  console.log(
    preparing
      ? `${sum.prepared} prepared, ${sum.skipped} skipped, ${sum.failed} failed`
      : `${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`,
  );
  process.exit(sum.failed > 0 ? 1 : 0);
}

async function inChild({ name }: File): Promise<Counts> {
  const run = [process.execPath, process.argv[1]!];
  const checked = ["compute-sanitizer", "--tool", sanitizer!, "--error-exitcode", "3", ...run];
  const [command, ...args] = sanitizer === undefined ? run : checked;
  const child = spawn(command!, args, { env: { ...process.env, DSKC_GPU_FILE: name } });
  let [text, late] = ["", false];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (text += String(data)));
  const timer = setTimeout(() => (late = child.kill("SIGKILL")), preparing ? 2 ** 31 - 1 : limit * 1000);
  const code = await new Promise((resolve) =>
    child.on("close", resolve).on("error", ({ message }) => resolve(message)),
  );
  clearTimeout(timer);
  const lines = text.trimEnd().split("\n");
  const last = lines.findLastIndex((line) => line.startsWith("{"));
  const counts = last < 0 ? undefined : (JSON.parse(lines.splice(last, 1)[0]!) as Counts);
  console.log(lines.join("\n"));
  if (counts !== undefined && code === 0) return counts;
  if (counts !== undefined) {
    console.log(`  FAILED   ${sanitizer} finds what is said above`);
    return { ...counts, failed: counts.failed + 1 };
  }
  if (typeof code === "string") console.log(`  FAILED   ${code}`);
  const passed = lines.filter((line) => line.startsWith("  passed ")).length;
  const failed = lines.filter((line) => line.startsWith("  FAILED ")).length + 1;
  console.log(`  FAILED   the test after these ${late ? `had not ended after ${limit} s` : "ended the process"}`);
  return { passed, failed, skipped: 0, prepared: 0 };
}

/**
 * The quickstart's model in one page of Chromium, greedy token after token, here on WebGPU and in jax-js with the same weights, in turn:
 * `npm install --ignore-scripts @jax-js/jax` in a folder, then `node bench/run.mjs webgpu-decode --peer FOLDER`.
 * Logits are compared first, with those of the reference interpreter too. Processor time is that of all processes of the browser.
 */
import { parseArgs } from "node:util";
import { median } from "../compiler/cli/bench/statistics.ts";
import { loadModel } from "../compiler/cli/load-model.ts";
import { modelFile } from "../compiler/package/model.ts";
import { loweredSource } from "../compiler/package/package.ts";
import { servingPrograms } from "../compiler/package/programs.ts";
import { referenceSession } from "../compiler/reference/session.ts";
import { printWebGpu } from "../compiler/targets/webgpu/print.ts";
import type { SimtKernels } from "../runtime/program/grids.ts";
import { inputsOf } from "../runtime/serve/engine/call.ts";
import type { Sequence } from "../runtime/serve/engine/sequence.ts";
import { initialize } from "../runtime/train/init.ts";
import { biases } from "./peers/biases.ts";
import { openChromiumPage } from "./peers/chromium-page.ts";
import type { DecodePage, Package, Work } from "./peers/decode-page.ts";
import type { JaxWays } from "./peers/jax-decode.ts";
import { processorTime } from "./peers/processor-time.ts";

const CASES = [
  { name: "behind 16", sequences: 1, context: 16 },
  { name: "behind 256", sequences: 1, context: 256 },
  { name: "8 behind 16", sequences: 8, context: 16 },
];

/** What jax-js can do in several ways; the fastest one counts. */
const WAYS: Readonly<Record<string, JaxWays>> = {
  "jax-js, latent, experts gathered": { absorbed: true, gathered: true },
  "jax-js, latent, all experts": { absorbed: true, gathered: false },
  "jax-js, heads, experts gathered": { absorbed: false, gathered: true },
  "jax-js, heads, all experts": { absorbed: false, gathered: false },
};

const { values: options } = parseArgs({
  args: process.argv.slice(3),
  options: {
    peer: { type: "string" },
    way: { type: "string", multiple: true, default: Object.keys(WAYS) },
    case: { type: "string", multiple: true, default: CASES.map(({ name }) => name) },
    steps: { type: "string", default: "8" },
    rounds: { type: "string", default: "5" },
  },
});
if (options.peer === undefined) throw new Error("--peer FOLDER: where @jax-js/jax is installed");
const steps = Number(options.steps);

const { module } = loadModel("specs/quickstart.dsk", undefined)!;
const { programs, kernels } = loweredSource({
  programs: servingPrograms(module, false),
});
const files = printWebGpu(kernels);
const source: Package = {
  programs,
  kernels: (JSON.parse(files.get("webgpu.json")!) as SimtKernels).kernels,
  sources: Object.fromEntries([...files].map(([name, text]) => [name.replace(/\.wgsl$/, ""), text])),
  model: modelFile(module),
};
const vocabulary = programs.at(-1)!.buffers.find(({ name }) => name === "logits")!.shape[1] as number;

/** The logits behind the last tokens, by the interpreter. */
async function exact(columns: readonly (readonly number[])[], { sequences, positions }: Work): Promise<Float32Array> {
  const session = referenceSession(module, undefined, { cacheRows: sequences * positions });
  initialize(session, modelFile(module), 1);
  biases(session);
  const parts = columns[0]!.map((_, s) => ({
    sequence: { rows: Int32Array.from(columns, (_c, p) => s * positions + p) } as unknown as Sequence,
    from: 0,
    tokens: columns.map((tokens) => tokens[s]!),
    wanted: 1,
    samples: true,
  }));
  const { logits } = await session.run({ program: "prefill", ...inputsOf(parts), outputs: ["logits"] });
  return logits as Float32Array;
}

/** The largest difference, as a share of the spread of what is expected. */
function difference(got: ArrayLike<number>, want: Float32Array): number {
  const spread = Math.sqrt(want.reduce((sum, x) => sum + x * x, 0) / want.length);
  return want.reduce((worst, x, i) => Math.max(worst, Math.abs(x - got[i]!)), 0) / spread;
}

const page = await openChromiumPage<DecodePage>("bench/peers/decode-page.ts", options.peer);
try {
  for (const { name, sequences, context } of CASES.filter((one) => options.case.includes(one.name))) {
    const work: Work = { sequences, positions: context + 1 + steps };
    // The first `context` columns are read, and generation starts with the last one.
    const columns = Array.from({ length: context + 1 }, (_, p) =>
      Array.from({ length: sequences }, (_s, s) => (p * 37 + s * 101 + 5) % vocabulary),
    );
    await page.call("open", source, work, Object.fromEntries(options.way.map((way) => [way, WAYS[way]!])));
    const want = await exact(columns, work);
    const sides = ["dskc", ...options.way];
    for (const side of sides) {
      const worst = difference(await page.call<number[]>("logits", side, columns), want);
      process.stdout.write(`${name}: ${side}: logits differ by ${(100 * worst).toFixed(4)} % of their spread\n`);
      if (!(worst < 1e-3)) throw new Error(`${side}: logits differ`);
    }
    const times = new Map<string, number[]>(sides.map((side) => [side, []]));
    const processor = new Map<string, number>(sides.map((side) => [side, 0]));
    const chosen = new Map<string, string>();
    for (let round = 0; round <= Number(options.rounds); round++)
      for (const side of sides) {
        const before = processorTime();
        const got = await page.call<Awaited<ReturnType<DecodePage["decode"]>>>(
          "decode",
          side,
          columns.at(-1)!,
          context,
          steps,
        );
        chosen.set(side, JSON.stringify(got.tokens));
        // The first round compiles.
        if (round === 0) continue;
        times.get(side)!.push(...got.times);
        processor.set(side, processor.get(side)! + processorTime() - before);
      }
    const own = median(times.get("dskc")!);
    const ownProcessor = processor.get("dskc")!;
    for (const side of sides) {
      const time = median(times.get(side)!);
      const spent = processor.get(side)!;
      const same = chosen.get(side) === chosen.get("dskc") ? "the same tokens" : "other tokens";
      process.stdout.write(
        `${name.padEnd(12)} ${side.padEnd(33)} ${time.toFixed(1).padStart(6)} ms ${((1000 * sequences) / time).toFixed(1).padStart(6)} tokens/s, dskc is ${(time / own).toFixed(2)}x` +
          `   processor ${(spent / times.get(side)!.length).toFixed(1).padStart(6)} ms, ${(spent / ownProcessor).toFixed(2)}x   ${same}\n`,
      );
    }
  }
} finally {
  await page.close();
}

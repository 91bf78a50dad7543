/**
 * The same weights on the same threads here and in llama.cpp, call by call in turn:
 * `chrt -f 10 node bench/run.mjs llama --peer FOLDER [--spec small|medium] [--dtype f32|bf16] [--threads N] [--case NAME] [--rounds N] [--profile CASE]`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { median } from "../compiler/cli/bench/statistics.ts";
import { measureMachine } from "../compiler/cli/bench/machine.ts";
import { Engine } from "../runtime/serve/engine/engine.ts";
import { GREEDY } from "../runtime/serve/sampling/sampling.ts";
import type { CpuSession } from "../runtime/device/cpu/session.ts";
import { compare } from "./peers/compare.ts";
import { writeDeepseek2 } from "./peers/deepseek2.ts";
import type { Generator } from "./peers/generator.ts";
import { type Llama, llamaInfo, openLlama } from "./peers/llama-cpp.ts";
import { type ModelDtype, openModel, oursAs } from "./peers/ours.ts";

const SAMPLED = { temperature: 0.8, topP: 0.95 };
const CONTEXT = 2112;
const SEQUENCES = 8;

/** Sequences that have `context` tokens read `tokens` more each, `calls` times one after the other. */
interface Case {
  readonly name: string;
  readonly sequences: number;
  readonly context: number;
  readonly tokens: number;
  readonly calls: number;
}

const CASES: readonly Case[] = [
  { name: "prefill 512", sequences: 1, context: 0, tokens: 512, calls: 1 },
  { name: "prefill 2048", sequences: 1, context: 0, tokens: 2048, calls: 1 },
  { name: "decode behind 16", sequences: 1, context: 16, tokens: 1, calls: 32 },
  { name: "decode behind 2048", sequences: 1, context: 2048, tokens: 1, calls: 32 },
  { name: "decode 8 behind 16", sequences: SEQUENCES, context: 16, tokens: 1, calls: 16 },
  { name: "decode 8 behind 512", sequences: SEQUENCES, context: 512, tokens: 1, calls: 16 },
];

/** How many answers the server draws at once, by the name of the case. */
const ANSWERS: ReadonlyMap<string, number> = new Map([
  ["1 answer, drawn", 1],
  [`${SEQUENCES} answers, drawn`, SEQUENCES],
]);

const { values: options } = parseArgs({
  args: process.argv.slice(3),
  options: {
    peer: { type: "string" },
    spec: { type: "string", multiple: true, default: ["small", "medium"] },
    dtype: { type: "string", multiple: true, default: ["f32", "bf16"] },
    threads: { type: "string", multiple: true, default: ["1", "2"] },
    case: { type: "string", multiple: true, default: [...CASES.map(({ name }) => name), ...ANSWERS.keys()] },
    rounds: { type: "string", default: "7" },
    profile: { type: "string" },
  },
});
if (options.peer === undefined)
  throw new Error(
    "--peer FOLDER: where `npm install --ignore-scripts node-llama-cpp @node-llama-cpp/linux-x64` was run",
  );
const peer = options.peer;
const rounds = Number(options.rounds);

/** Tokens that look like nothing in particular; experts and rows of the embedding change from token to token. */
const tokensOf = (sequence: number, from: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => ((from + i + 1) * 7919 + sequence * 104_729) % 1021);

async function read(generator: Generator, sequences: number, from: number, tokens: number): Promise<void> {
  const pieces = Array.from({ length: sequences }, (_, sequence) => ({
    sequence,
    from,
    tokens: tokensOf(sequence, from, tokens),
  }));
  // Longer pieces go alone.
  for (const group of tokens > 1 ? pieces.map((piece) => [piece]) : [pieces]) await generator.read(group);
}

async function prepare(generator: Generator, { sequences, context }: Case): Promise<void> {
  if (context > 0) await read(generator, sequences, 0, context);
}

/** Tokens in a second. */
async function rateOf(generator: Generator, { sequences, context, tokens, calls }: Case): Promise<number> {
  const started = performance.now();
  for (let i = 0; i < calls; i++) await read(generator, sequences, context + i * tokens, tokens);
  return (1000 * sequences * tokens * calls) / (performance.now() - started);
}

function row(name: string, ours: readonly number[], theirs: readonly number[], more = ""): void {
  const ratio = median(ours.map((rate, i) => rate / theirs[i]!));
  const text = [name, median(ours).toFixed(0), median(theirs).toFixed(0), ratio.toFixed(2), more];
  process.stdout.write(`| ${text.join(" | ")} |\n`);
}

/** Whole answers of server and peer: a step, the draw of the next token, and so on. */
async function answers(session: CpuSession, llama: Llama, count: number): Promise<[number, number]> {
  const [prompt, length] = [16, 48];
  const engine = new Engine(session, { context: CONTEXT });
  let first = 0;
  const requests = Array.from({ length: count }, (_, i) => ({
    prompt: tokensOf(i, 0, prompt),
    maxTokens: length + 1,
    sampling: { ...GREEDY, ...SAMPLED, seed: i },
    stopTokens: new Set<number>(),
    onToken: () => {
      first ||= performance.now();
      return false;
    },
  }));
  await Promise.all(engine.submit(requests));
  const ours = (1000 * count * length) / (performance.now() - first);
  for (let i = 0; i < count; i++) await llama.read([{ sequence: i, from: 0, tokens: tokensOf(i, 0, prompt) }]);
  let tokens = tokensOf(7, prompt, count);
  const started = performance.now();
  for (let step = 0; step < length; step++) {
    await llama.read(tokens.map((token, sequence) => ({ sequence, from: prompt + step, tokens: [token] })));
    tokens = await llama.sample();
  }
  return [ours, (1000 * count * length) / (performance.now() - started)];
}

function printProfile(session: CpuSession, program: string): void {
  const all = session.profile().filter((one) => one.program === program && one.calls > 0);
  const total = all.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0);
  const kernels = new Map<string, { launches: number; items: number; us: number }>();
  for (const { kernel, calls, items, nanoseconds } of all) {
    const so = kernels.get(kernel) ?? { launches: 0, items: 0, us: 0 };
    kernels.set(kernel, {
      launches: so.launches + 1,
      items: so.items + items / calls,
      us: so.us + nanoseconds / calls / 1000,
    });
  }
  for (const [kernel, { launches, items, us }] of [...kernels].toSorted(([, a], [, b]) => b.us - a.us))
    console.log(
      `${us.toFixed(1).padStart(10)} us ${String(launches).padStart(4)} x ${items.toFixed(0).padStart(5)} items  ${kernel}`,
    );
  console.log(`${(total / all[0]!.calls / 1000).toFixed(1).padStart(10)} us in ${all.length} launches`);
}

async function measure(spec: string, dtype: ModelDtype, threads: number, folder: string): Promise<void> {
  const profile = options.profile !== undefined;
  const { session, save } = await openModel(`bench/peers/${spec}.dsk`, dtype, {
    threads,
    cacheRows: SEQUENCES * CONTEXT,
    profile,
  });
  const ours = oursAs(session, CONTEXT);
  if (profile) {
    const one = CASES.find(({ name }) => name === options.profile)!;
    await prepare(ours, one);
    for (let i = 0; i < 8; i++) await rateOf(ours, one);
    printProfile(session, one.tokens > 1 ? "prefill" : "decode");
    return ours.close();
  }
  save(folder);
  const gguf = join(folder, "model.gguf");
  writeDeepseek2(folder, dtype === "bf16" ? "BF16" : "F32", gguf);
  const place = { threads, sequences: SEQUENCES, context: CONTEXT };
  const exact = await openLlama(peer, gguf, { ...place, attention: "exact" });
  process.stdout.write(
    `\n${spec} ${dtype}, ${threads} threads: ${await compare(ours, exact, tokensOf(0, 0, 256), dtype)}\n`,
  );
  await exact.close();
  const ways = ["flash", "plain"] as const;
  const llamas = await Promise.all(ways.map((attention) => openLlama(peer, gguf, { ...place, attention }, SAMPLED)));
  const fastest = (rates: readonly number[]): number => rates.indexOf(Math.max(...rates));
  process.stdout.write("| work | here | llama.cpp | ratio | its attention |\n| --- | --- | --- | --- | --- |\n");
  for (const one of CASES.filter(({ name }) => options.case.includes(name))) {
    for (const side of [ours, ...llamas]) await prepare(side, one).then(() => rateOf(side, one));
    const tried: number[] = [];
    for (const llama of llamas) tried.push(await rateOf(llama, one));
    const way = fastest(tried);
    const [own, their]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      own.push(await rateOf(ours, one));
      their.push(await rateOf(llamas[way]!, one));
    }
    row(one.name, own, their, ways[way]);
  }
  for (const [name, count] of ANSWERS) {
    if (!options.case.includes(name)) continue;
    const tried: number[] = [];
    for (const llama of llamas) tried.push((await answers(session, llama, count))[1]);
    const way = fastest(tried);
    const [own, their]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      const [a, b] = await answers(session, llamas[way]!, count);
      own.push(a);
      their.push(b);
    }
    row(name, own, their, ways[way]);
  }
  for (const llama of llamas) await llama.close();
  await ours.close();
}

console.log(await llamaInfo(peer));
for (const threads of options.threads.map(Number)) {
  const { flops, read: memory } = await measureMachine(1 << 28, threads);
  console.log(
    `${threads} threads: ${(flops / 1e9).toFixed(0)} GFLOP/s, ${(memory.bytesPerSecond / 1e9).toFixed(1)} GB/s from memory`,
  );
  for (const spec of options.spec)
    for (const dtype of options.dtype as ModelDtype[]) {
      const folder = mkdtempSync(join(tmpdir(), "dskc-llama-"));
      try {
        await measure(spec, dtype, threads, folder);
      } finally {
        rmSync(folder, { recursive: true });
      }
    }
}
process.exit(0);

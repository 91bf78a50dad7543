/**
 * What drawn answers cost on WebGPU: `node bench/run.mjs webgpu-draw`. The quickstart's model with random weights answers with tokens
 * chosen by shortlists and by all logits, in turn: tokens a second, processor time and bytes that are read back for each token.
 */
import { readFileSync } from "node:fs";
import { openOnWebGpu } from "../compiler/cli/open-session.ts";
import { Diagnostics } from "../compiler/diagnostics/diagnostic.ts";
import { modelFile } from "../compiler/package/model.ts";
import { servingPrograms } from "../compiler/package/programs.ts";
import { checkFile } from "../dsl/semantics/check.ts";
import type { Session } from "../runtime/device/session.ts";
import { Engine } from "../runtime/serve/engine/engine.ts";
import { GREEDY, type Sampling } from "../runtime/serve/sampling/sampling.ts";
import { initialize } from "../runtime/train/init.ts";

const CASES: readonly { readonly answers: number; readonly sampling: Partial<Sampling> }[] = [
  { answers: 1, sampling: {} },
  { answers: 1, sampling: { temperature: 1 } },
  { answers: 1, sampling: { temperature: 0.8, topP: 0.95 } },
  { answers: 1, sampling: { temperature: 0.8, topK: 40 } },
  { answers: 8, sampling: { temperature: 0.8, topP: 0.95 } },
  { answers: 1, sampling: { temperature: 0.8, topP: 0.95, repetitionPenalty: 1.1, alternatives: 5 } },
];
const [TOKENS, ROUNDS] = process.argv.slice(3).map(Number).concat(60, 3) as [number, number];

const text = readFileSync("specs/quickstart.dsk", "utf8")
  // The vocabulary of a usual tokenizer: with the quickstart's 1,024 tokens logits are few.
  .replace("dim V = 1_024", `dim V = ${process.env["V"] ?? "1_024"}`)
  .replace(/expect params.*\n/g, "");
const { module } = checkFile({ path: "specs/quickstart.dsk", text }, new Diagnostics()).models.get("Tiny")!;
const model = modelFile(module);
const session = await openOnWebGpu({ programs: servingPrograms(module, false), model }, { cacheRows: 4096 });
initialize(session, model, 1);

/** Bytes that were mapped to be read. */
let read = 0;
const createBuffer = session.gpu.createBuffer.bind(session.gpu);
session.gpu.createBuffer = (descriptor) => {
  if ((descriptor.usage & GPUBufferUsage.MAP_READ) !== 0) read += descriptor.size;
  return createBuffer(descriptor);
};
let calls = 0;
const whole: Session = Object.assign(Object.create(session) as Session, {
  shortlist: undefined,
  run: (...call: Parameters<Session["run"]>) => session.run(...call),
});
const short: Session = Object.assign(Object.create(session) as Session, {
  shortlist: (...call: Parameters<NonNullable<Session["shortlist"]>>) => session.shortlist!(...call),
  run: (...call: Parameters<Session["run"]>) => {
    calls++;
    return session.run(...call);
  },
});

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

for (const { answers, sampling } of CASES) {
  const rates = new Map<string, { rate: number[]; cpu: number[]; bytes: number }>();
  calls = 0;
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [way, device] of [
      ["shortlists", short],
      ["logits", whole],
    ] as const) {
      const engine = new Engine(device, { draftTokens: 0, context: 512 });
      const requests = Array.from({ length: answers }, (_, i) => ({
        prompt: Array.from({ length: 16 }, (_, k) => (k * 37 + i * 11) % model.vocabulary),
        maxTokens: TOKENS,
        sampling: { ...GREEDY, ...sampling, seed: i },
        stopTokens: new Set<number>(),
        onToken: () => false,
      }));
      const before = read;
      const [started, used] = [performance.now(), process.cpuUsage()];
      await Promise.all(engine.submit(requests));
      const seconds = (performance.now() - started) / 1000;
      const { user, system } = process.cpuUsage(used);
      if (round === 0) continue;
      const known = rates.get(way) ?? { rate: [], cpu: [], bytes: 0 };
      known.rate.push((answers * TOKENS) / seconds);
      known.cpu.push((user + system) / 1000 / answers / TOKENS);
      rates.set(way, { ...known, bytes: (read - before) / answers / TOKENS });
    }
  }
  const told = [...rates].map(
    ([way, { rate, cpu, bytes }]) =>
      `${way} ${median(rate).toFixed(1)} tokens/s, ${median(cpu).toFixed(2)} ms of processors and ${bytes.toFixed(0)} bytes read a token`,
  );
  console.log(`${JSON.stringify({ answers, ...sampling })}: ${told.join("; ")}; ${calls} calls made again`);
}
session.close();

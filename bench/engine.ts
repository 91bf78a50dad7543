/** What the engine of the server adds to the calls of the device: the model of the quickstart, drawn at random. */
import { readFileSync } from "node:fs";
import { openOnCpu } from "../compiler/cli/open-session.ts";
import { Diagnostics } from "../compiler/diagnostics/diagnostic.ts";
import { servingPrograms } from "../compiler/package/programs.ts";
import { modelFile } from "../compiler/package/model.ts";
import { checkFile } from "../dsl/semantics/check.ts";
import type { Session } from "../runtime/device/session.ts";
import { Engine } from "../runtime/serve/engine/engine.ts";
import { GREEDY, type Sampling } from "../runtime/serve/sampling/sampling.ts";
import { initialize } from "../runtime/train/init.ts";

interface Case {
  readonly answers: number;
  readonly prompt: number;
  readonly sampling: Partial<Sampling>;
  readonly draftTokens?: number;
}

const SAMPLED = { temperature: 0.8, topP: 0.95 };
const CASES: readonly Case[] = [
  { answers: 1, prompt: 16, sampling: {} },
  { answers: 1, prompt: 16, sampling: SAMPLED },
  { answers: 1, prompt: 16, sampling: SAMPLED, draftTokens: 1 },
  { answers: 1, prompt: 1024, sampling: {} },
  { answers: 8, prompt: 16, sampling: SAMPLED },
  { answers: 64, prompt: 64, sampling: SAMPLED },
];
const TOKENS = 400;

const path = "specs/quickstart.dsk";
const source = { path, text: readFileSync(path, "utf8") };
const { module } = checkFile(source, new Diagnostics()).models.get("Tiny")!;
const model = modelFile(module);
const programs = servingPrograms(module);
const session = await openOnCpu({ programs, model }, { cacheRows: 16_384 });
initialize(session, model, 1);

/** The session, and how long it was at work. */
function timed(): { readonly session: Session; readonly busy: () => number } {
  let busy = 0;
  const timing = async <T>(work: () => Promise<T>): Promise<T> => {
    const started = performance.now();
    try {
      return await work();
    } finally {
      busy += performance.now() - started;
    }
  };
  const run: Session["run"] = (...call) => timing(() => session.run(...call));
  const choose: Session["choose"] = (...call) => timing(() => session.choose!(...call));
  return { session: Object.assign(Object.create(session) as Session, { run, choose }), busy: () => busy };
}

async function measure({ answers, prompt, sampling, draftTokens = 0 }: Case): Promise<void> {
  const { session: device, busy } = timed();
  const engine = new Engine(device, { draftTokens, context: 2048 });
  const request = (i: number, maxTokens: number) => ({
    prompt: Array.from({ length: prompt }, (_, k) => (k * 37 + i * 11) % model.vocabulary),
    maxTokens,
    sampling: { ...GREEDY, ...sampling, seed: i },
    stopTokens: new Set<number>(),
  });
  const generate = async (count: number, onToken: () => boolean): Promise<void> => {
    await Promise.all(engine.submit(Array.from({ length: answers }, (_, i) => ({ ...request(i, count), onToken }))));
  };
  await generate(3, () => false);
  const [before, started] = [busy(), performance.now()];
  let first = 0;
  await generate(TOKENS, () => {
    first ||= performance.now() - started;
    return false;
  });
  const total = performance.now() - started;
  const own = total - (busy() - before);
  const rate = ((answers * TOKENS) / total) * 1000;
  const what = JSON.stringify({ answers, prompt, ...sampling, draftTokens });
  console.log(
    `${what}: ${rate.toFixed(0)} tokens/s, first token after ${first.toFixed(1)} ms, ` +
      `${((own / total) * 100).toFixed(1)} % outside of the device, ${((own * 1000) / answers / TOKENS).toFixed(0)} us a token`,
  );
}

for (const one of CASES) await measure(one);
session.close();

/** Tokens that are chosen by what the device tells of logits against those that JavaScript takes of all of them. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ProgramBuilder } from "../../../compiler/tensor-ir/builder.ts";
import type { DimLabel, Program } from "../../../compiler/tensor-ir/types.ts";
import type { Choice, ChoiceRules } from "../../../runtime/device/choice.ts";
import { MOST_LIFTED } from "../../../runtime/device/choice.ts";
import type { Call, Session } from "../../../runtime/device/session.ts";
import { choose } from "../../../runtime/serve/sampling/choose.ts";
import { gumbel, noiseWords, wordOf } from "../../../runtime/serve/sampling/noise.ts";
import { runAndChoose } from "../../../runtime/serve/sampling/run-and-choose.ts";
import { GREEDY } from "../../../runtime/serve/sampling/sampling.ts";
import { onCuda } from "../../support/on-cuda.ts";
import { HAS_WEBGPU, onWebGpu } from "../../support/on-webgpu.ts";

const V = 700;

/** Logits f32[B, V] that are twice the input. */
function doubled(): Program {
  const builder = new ProgramBuilder(
    new Map<DimLabel, number | null>([
      ["B", null],
      ["V", V],
    ]),
  );
  const type = { dtype: "f32", dims: ["B", "V"] } as const;
  const x = builder.emit("program.input", [], type, { name: "x" }, "x");
  builder.effect("program.output", [builder.emit("math.add", [x, x], type)], { name: "logits" });
  return builder.finish("decode");
}

/** Few values, so that many are equal. */
const logit = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom(-3, -0.5, -0, 0, 0.25, 2) },
  { weight: 2, arbitrary: fc.constant(-Infinity) },
);
const odd = fc.oneof({ weight: 400, arbitrary: logit }, { weight: 1, arbitrary: fc.constantFrom(Infinity, NaN, 3e38) });
/** GPUs may take the smallest numbers for 0. */
const any = fc.float({ noNaN: true }).map((x) => (Math.abs(x) < 1e-30 ? 0 : x));
const full = { minLength: V, maxLength: V };
/** As models give them: all different, with a peak or without. */
const usual = fc
  .tuple(fc.integer(), fc.double({ min: 0.1, max: 4, noNaN: true }))
  .map(([seed, spread]) =>
    Array.from({ length: V }, (_, i) => Math.fround(-spread * gumbel(wordOf(noiseWords(Math.abs(seed), 7, 7), i)) - 3)),
  );
const row = fc.oneof(
  { weight: 6, arbitrary: usual },
  { weight: 2, arbitrary: fc.array(odd, full) },
  { weight: 1, arbitrary: fc.array(any, full) },
  { weight: 1, arbitrary: fc.constant(Array.from({ length: V }, () => -Infinity)) },
);

const share = fc.double({ min: 0, max: 1, noNaN: true });
const rules: fc.Arbitrary<ChoiceRules> = fc.record({
  temperature: fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0.01, max: 2, noNaN: true })),
  topP: fc.oneof(fc.constant(1), share, fc.constant(0.95)),
  topK: fc.oneof(
    { weight: 3, arbitrary: fc.constant(0) },
    fc.integer({ min: 1, max: 80 }),
    fc.constantFrom(V - 1, V, 9999),
  ),
  minP: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.constantFrom(0.02, 0.3), share),
  frequencyPenalty: fc.constantFrom(0, 0.5),
  presencePenalty: fc.constantFrom(0, -1),
  repetitionPenalty: fc.constantFrom(1, 1.3),
  logitBias: fc
    .array(fc.tuple(fc.nat(V + 2), fc.constantFrom(-100, -1, 2, 100)), { maxLength: 3 })
    .map((pairs) => new Map(pairs)),
});
const choice = fc.record({
  rules: fc
    .tuple(rules, fc.option(fc.nat(20)))
    .map(([all, alternatives]): ChoiceRules => (alternatives === null ? all : { ...all, alternatives })),
  noise: fc.nat().map((seed) => noiseWords(seed, 1, 2)),
  touched: fc.uniqueArray(fc.nat(V - 1), { maxLength: 60 }),
});

interface Device {
  readonly name: string;
  readonly open: (programs: readonly Program[]) => Promise<Session>;
  /** Where every thread is emulated, fewer of them. */
  readonly runs: number;
}

const DEVICES: readonly Device[] = [
  ...(HAS_WEBGPU ? [{ name: "webgpu", open: onWebGpu, runs: 150 }] : []),
  { name: "cuda", open: onCuda, runs: 40 },
];

describe.each(DEVICES)("what is chosen by shortlists on $name", ({ open, runs }) => {
  let session: Session;
  beforeAll(async () => (session = await open([doubled()])), 120_000);
  afterAll(() => session.close());

  /** Counts the calls that asked for all logits. */
  function counting(): { readonly device: Session; readonly whole: () => number } {
    let whole = 0;
    const run = (call: Call) => {
      whole++;
      return session.run(call);
    };
    const shortlist: Session["shortlist"] = (...call) => session.shortlist!(...call);
    return { device: Object.assign(Object.create(session) as Session, { run, shortlist }), whole: () => whole };
  }

  const callOf = (rows: readonly (readonly number[])[]): { call: Call; logits: Float32Array } => {
    const x = Float32Array.from(rows.flat(), (value) => value / 2);
    const call = { program: "decode", sizes: { B: rows.length }, inputs: { x }, outputs: [] };
    return { call, logits: x.map((value) => value + value) };
  };

  test("is what JavaScript takes of all logits", { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(row, choice), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: V + 3 }),
        async (cases, known) => {
          const { call, logits } = callOf(cases.map(([values]) => values));
          const choices = cases.map(([, { touched, ...one }], i): Choice => ({
            ...one,
            row: i,
            touched,
            counts: touched.map((t) => t % 3),
          }));
          const { outputs, chosen } = await runAndChoose(session, call, choices, known);
          expect(Object.keys(outputs).filter((name) => name !== "logits")).toEqual([]);
          for (const [i, one] of choices.entries()) {
            const want = choose(logits.subarray(i * V, i * V + Math.min(known, V)), one);
            expect(chosen[i]?.token).toBe(want?.token);
            if (want?.logprob === undefined) continue;
            expect(Math.abs(chosen[i]!.logprob! - want.logprob)).toBeLessThanOrEqual(1e-5);
            expect(chosen[i]!.alternatives!.map(({ token }) => token)).toEqual(
              want.alternatives!.map(({ token }) => token),
            );
          }
        },
      ),
      { numRuns: runs },
    );
  });

  test("hardly ever needs the logits", { timeout: 300_000 }, async () => {
    const asked: Partial<ChoiceRules>[] = [
      {},
      { temperature: 0.8, topP: 0.95 },
      { temperature: 1 },
      { temperature: 1, topP: 0.9 },
      { temperature: 0.7, topK: 40 },
      { temperature: 1, minP: 0.05 },
      { temperature: 1, topK: 40, topP: 0.9, minP: 0.02 },
      { temperature: 0.8, topP: 0.95, repetitionPenalty: 1.2, frequencyPenalty: 0.1 },
      { temperature: 1, topP: 0.8, alternatives: 20 },
    ];
    for (const own of asked) {
      const { device, whole } = counting();
      let calls = 0;
      for (const values of fc.sample(usual, { numRuns: 10, seed: 3 })) {
        const { call, logits } = callOf([values]);
        for (let seed = 0; seed < 4; seed++) {
          const touched = own.repetitionPenalty === undefined ? [] : [1, 5, 9, 600];
          const noise = noiseWords(seed, calls, 0);
          const one: Choice = { row: 0, rules: { ...GREEDY, ...own }, noise, touched, counts: touched.map(() => 1) };
          const { chosen } = await runAndChoose(device, call, [one]);
          expect(chosen[0]?.token).toBe(choose(logits, one)?.token);
          calls++;
        }
      }
      expect([own, whole()]).toEqual([own, Math.min(whole(), 1)]);
    }
  });

  test("no token that is not told is above the bounds, and sums are right", { timeout: 60_000 }, async () => {
    for (const values of fc.sample(usual, { numRuns: 12, seed: 5 })) {
      const { call, logits } = callOf([values]);
      const noise = noiseWords(11, 0, 3);
      const named = [3, 77, 410];
      const temperature = 0.7;
      const asked = { row: 0, named, likeliest: 30, lifted: MOST_LIFTED, temperature, noise };
      const { lists } = await session.shortlist!(call, [asked]);
      const { others, floor, lift, ahead, weight, rawWeight, largest } = lists[0]!;
      expect([...lists[0]!.named]).toEqual(named.map((token) => [token, logits[token]]));
      const all = [...logits.entries()].filter(([token]) => !named.includes(token));
      expect(largest).toBe(Math.max(...all.map(([, l]) => l)));
      const score = (token: number): number => (logits[token]! - largest) / temperature + gumbel(wordOf(noise, token));
      const untold = all.filter(([token]) => !others.has(token));
      for (const [token, l] of others) expect(l).toBe(logits[token]);
      expect(untold.every(([, l]) => l <= floor!)).toBe(true);
      expect(Math.max(...untold.map(([token]) => score(token))) - lift!).toBeLessThanOrEqual(1e-5);
      expect(others.size).toBeGreaterThanOrEqual(30);
      expect(ahead.size).toBe(MOST_LIFTED);
      const heavy =
        (t: number) =>
        (sum: number, [, l]: readonly [number, number]) =>
          sum + Math.exp((l - largest) / t);
      const total = all.reduce(heavy(temperature), 0);
      expect(Math.abs(weight / total - 1)).toBeLessThan(1e-5);
      expect(Math.abs(rawWeight / all.reduce(heavy(1), 0) - 1)).toBeLessThan(1e-5);
      for (const [token, sum] of ahead) {
        const before = all.filter(([t, l]) => l > logits[token]! || (l === logits[token] && t < token));
        expect(Math.abs(sum - before.reduce(heavy(temperature), 0)) / total).toBeLessThan(1e-5);
      }
    }
  });

  test("rows may be asked about several times, and in any order", async () => {
    const rows = [0, 1, 2].map((r) => Array.from({ length: V }, (_, i) => ((i * 37 + r * 11) % V) / 50));
    const { call, logits } = callOf(rows);
    const choices = [2, 0, 2, 1].map((at, i): Choice => {
      const rules = { ...GREEDY, temperature: i === 1 ? 0 : 1, topP: 0.9 };
      return { row: at, rules, noise: noiseWords(i, 0, 0), touched: [], counts: [] };
    });
    const { chosen } = await runAndChoose(session, call, choices);
    expect(chosen).toEqual(choices.map((one) => choose(logits.subarray(one.row * V, (one.row + 1) * V), one)));
  });
});

/** Tokens that the addon chooses, against those of JavaScript. */
import { rmSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Choice } from "../../../../runtime/device/choice.ts";
import { type CpuSession, openCpuSession } from "../../../../runtime/device/cpu/session.ts";
import type { LaunchProgram } from "../../../../runtime/program/launch.ts";
import { choose } from "../../../../runtime/serve/sampling/choose.ts";
import { noiseWords } from "../../../../runtime/serve/sampling/noise.ts";
import { GREEDY, type Sampling } from "../../../../runtime/serve/sampling/sampling.ts";
import { buffer, kernelPackage, writePrograms } from "../../../support/kernels.ts";
import { randoms } from "../../../support/plain.ts";
import { KERNELS } from "./kernels.ts";

/** Logits of a row: not a multiple of what vectors hold. */
const V = 1003;

/** The logits are an input. */
const GIVEN: LaunchProgram = {
  name: "given",
  dims: ["B", "all"],
  buffers: [
    buffer("input", "a", "f32", 1),
    buffer("input", "x", "f32", "B", V),
    buffer("input", "y", "f32", "B", V),
    buffer("output", "logits", "f32", "B", V),
    buffer("output", "short", "f32", "B"),
  ],
  launches: [{ kernel: "axpy", args: [0, 1, 2, 3], extents: ["all"] }],
};

let directory: string;
let session: CpuSession;

beforeAll(async () => {
  directory = await kernelPackage(KERNELS);
  writePrograms(directory, GIVEN);
  session = openCpuSession(directory, { threads: 2 });
});
afterAll(() => {
  session.close();
  rmSync(directory, { recursive: true });
});

function call(logits: Float32Array, outputs: readonly string[] = []) {
  const B = logits.length / V;
  const inputs = { a: Float32Array.of(0), x: new Float32Array(logits.length), y: logits };
  return { program: "given", sizes: { B, all: logits.length }, inputs, outputs };
}

const choice = (row: number, sampling: Partial<Sampling>, more: Partial<Choice> = {}): Choice => {
  const rules = { ...GREEDY, ...sampling };
  return { row, rules, noise: noiseWords(rules.seed, rules.choice, 0), touched: [], counts: [], ...more };
};

const token = fc.nat(V - 1);
const penalty = fc.constantFrom(0, 0, 0.3, -0.7);
const CHOICES = fc.record({
  seed: fc.nat(),
  /** Of the logits: flat, as of a model, and far apart. */
  scale: fc.constantFrom(0.01, 1, 4, 60),
  /** Rounds the logits, so that some are equal. */
  steps: fc.constantFrom(1, 16, 2 ** 20),
  impossible: fc.array(token, { maxLength: 20 }),
  temperature: fc.constantFrom(0, 0.1, 0.7, 1, 1.9),
  topP: fc.constantFrom(1, 0.99, 0.9, 0.3, 0),
  topK: fc.constantFrom(0, 0, 1, 7, 300, V, 5000),
  minP: fc.constantFrom(0, 0.01, 0.4, 1),
  frequencyPenalty: penalty,
  presencePenalty: penalty,
  repetitionPenalty: fc.constantFrom(1, 1.3, 0.8),
  logitBias: fc.array(fc.tuple(token, fc.double({ min: -100, max: 100, noNaN: true })), { maxLength: 9 }),
  alternatives: fc.constantFrom(undefined, 0, 1, 20, V + 1),
  touched: fc.uniqueArray(fc.tuple(token, fc.nat(5)), { maxLength: 40, selector: ([one]) => one }),
});

describe("the addon chooses what JavaScript chooses, and tells the same log-probabilities, to the last bit", () => {
  test.each([undefined, V - 4, 1])("with tokens below %s", async (known) => {
    const property = fc.asyncProperty(fc.array(CHOICES, { minLength: 1, maxLength: 6 }), async (list) => {
      const logits = new Float32Array(list.length * V);
      const choices = list.map(
        ({ seed, scale, steps, impossible, logitBias, alternatives, touched, ...rules }, row) => {
          logits.set(
            Array.from(randoms(seed, V, scale), (x) => Math.round(x * steps) / steps + 0),
            row * V,
          );
          for (const none of impossible) logits[row * V + none] = -Infinity;
          const sampling = { ...rules, seed, logitBias: new Map(logitBias) };
          const how = alternatives === undefined ? sampling : { ...sampling, alternatives };
          return choice(row, how, { touched: touched.map(([one]) => one), counts: touched.map(([, count]) => count) });
        },
      );
      const { chosen } = await session.choose!(call(logits), choices, known);
      expect(chosen).toEqual(
        choices.map((one) => choose(logits.subarray(one.row * V, (one.row + 1) * V).subarray(0, known), one)),
      );
    });
    await fc.assert(property, { numRuns: 150, seed: 3 });
  });

  test("of many rows, on any number of threads, in any order", async () => {
    const logits = Float32Array.from(randoms(5, 64 * V, 3));
    const choices = Array.from({ length: 64 }, (_, i) =>
      choice((i * 37) % 64, { temperature: 0.9, topP: 0.95, seed: i, ...(i % 3 === 0 ? { alternatives: i % 5 } : {}) }),
    );
    const wanted = choices.map((one) => choose(logits.subarray(one.row * V, (one.row + 1) * V), one));
    for (const threads of [1, 2, 3]) {
      const other = openCpuSession(directory, { threads });
      const { chosen, outputs } = await other.choose!(call(logits, ["logits"]), choices);
      expect(chosen).toEqual(wanted);
      expect(outputs["logits"]).toEqual(logits);
      other.close();
    }
  });
});

test("a row that is no number gives nothing, the others are chosen", async () => {
  const logits = Float32Array.from(randoms(6, 4 * V));
  logits[V + V - 1] = NaN;
  logits.fill(-Infinity, 2 * V, 3 * V);
  logits[3 * V] = Infinity;
  const choices = [0, 1, 2, 3].map((row) => choice(row, { alternatives: 2 }));
  const { chosen } = await session.choose!(call(logits), choices);
  expect(chosen.map((one) => one === undefined)).toEqual([false, true, true, true]);
});

test("choices that do not fit are refused", async () => {
  const logits = new Float32Array(2 * V);
  const refused = (one: Choice, message: string): Promise<void> =>
    expect(session.choose!(call(logits), [one])).rejects.toThrow(message);
  await refused(choice(2, {}), "program given: there is no row 2");
  await refused(choice(0.5, {}), "a whole number is needed");
  await refused(choice(0, { topK: -1 }), "a choice keeps or tells a wrong number of tokens");
  await refused(choice(0, {}, { touched: [-3], counts: [1] }), "-3 is no token");
  await refused(choice(0, {}, { touched: [1, 2], counts: [1] }), "there are too few numbers");
});

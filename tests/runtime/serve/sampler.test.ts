import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cutoff, isKept } from "../../../runtime/serve/sampling/cutoff.ts";
import type { Sampled } from "../../../runtime/device/choice.ts";
import { choose } from "../../../runtime/serve/sampling/choose.ts";
import { gumbel, GUMBEL_MAX, leastWord, noiseWords, wordOf } from "../../../runtime/serve/sampling/noise.ts";
import { Sampler } from "../../../runtime/serve/sampling/sampler.ts";
import { GREEDY, type Sampling } from "../../../runtime/serve/sampling/sampling.ts";
import { randoms } from "../../support/plain.ts";

const logits = (...values: number[]): Float32Array => Float32Array.from(values);
const sample = (sampler: Sampler, raw: Float32Array, guesses: readonly number[] = []): Sampled | undefined =>
  choose(raw, sampler.choice(0, guesses));
const draw = (raw: Float32Array, sampling: Partial<Sampling>, prompt: number[] = []): number =>
  sample(new Sampler({ ...GREEDY, temperature: 1, ...sampling }, prompt), raw)!.token;

function softmax(values: ArrayLike<number>): number[] {
  const weights = Array.from(values, (v) => Math.exp(v));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / total);
}

/** Pearson's statistic of draws with the seeds 0, 1, 2, ... against probabilities. */
function chiSquare(probabilities: readonly number[], draws: number, choose: (seed: number) => number): number {
  const counts = probabilities.map(() => 0);
  for (let seed = 0; seed < draws; seed++) counts[choose(seed)]!++;
  return probabilities.reduce((sum, p, i) => {
    if (p > 0) return sum + (counts[i]! - p * draws) ** 2 / (p * draws);
    expect(counts[i]).toBe(0);
    return sum;
  }, 0);
}

describe("greedy", () => {
  test("takes the lowest of the largest logits", () => {
    expect(draw(logits(1, 3, 3, 2), { temperature: 0 })).toBe(1);
    expect(draw(logits(-Infinity, -5, -Infinity), { temperature: 0 })).toBe(1);
  });

  test.each([[logits(1, NaN, 2)], [logits(-Infinity, -Infinity)], [logits(1, Infinity)]])(
    "refuses what is no number: %s",
    (raw) => expect(sample(new Sampler(GREEDY, []), raw)).toBeUndefined(),
  );
});

describe("a draw", () => {
  // Seven logits: 6 degrees of freedom, and 22.46 is passed by one sample in a thousand.
  const raw = logits(...randoms(17, 7, 2));

  test("has the probabilities of the softmax, at any temperature", () => {
    for (const temperature of [0.5, 1, 1.7]) {
      const probabilities = softmax(raw.map((v) => v / temperature));
      expect(chiSquare(probabilities, 20_000, (seed) => draw(raw, { seed, temperature }))).toBeLessThan(22.46);
    }
  });

  test("has those of what top_k, top_p and min_p leave", () => {
    const order = [...raw.keys()].toSorted((a, b) => raw[b]! - raw[a]!);
    const probabilities = softmax(raw);
    const kept = (some: readonly number[]): number[] => {
      const total = some.reduce((sum, token) => sum + probabilities[token]!, 0);
      return probabilities.map((p, token) => (some.includes(token) ? p / total : 0));
    };
    const two = probabilities[order[0]!]! + probabilities[order[1]!]!;
    const cases: [Partial<Sampling>, number[]][] = [
      [{ topK: 3 }, order.slice(0, 3)],
      [{ topP: two + 1e-9 }, order.slice(0, 3)],
      [{ topP: two - 1e-9 }, order.slice(0, 2)],
      [{ minP: probabilities[order[3]!]! / probabilities[order[0]!]! - 1e-9 }, order.slice(0, 4)],
    ];
    for (const [filter, some] of cases) {
      expect(chiSquare(kept(some), 20_000, (seed) => draw(raw, { seed, ...filter }))).toBeLessThan(22.46);
    }
  });

  test("differs with seed, choice and place, and not with anything else", () => {
    const wide = logits(...randoms(3, 500, 0.1));
    const first = draw(wide, { seed: 1 });
    expect(draw(wide, { seed: 1, topP: 1, topK: 0 })).toBe(first);
    expect(draw(wide, { seed: 1, topK: 500 })).toBe(first);
    const others = [{ seed: 2 }, { seed: 1, choice: 1 }, { seed: 1 + 2 ** 32 }].map((other) => draw(wide, other));
    const sampler = new Sampler({ ...GREEDY, temperature: 1, seed: 1 }, []);
    sampler.accept(first);
    others.push(sample(sampler, wide)!.token);
    expect(new Set([first, ...others]).size).toBe(5);
  });

  test("takes the largest sum of logit and noise, whether it looks at all noise or not", () => {
    for (let seed = 0; seed < 300; seed++) {
      const raw = logits(...randoms(seed, 200, [0.1, 3, 30][seed % 3]!));
      const noise = noiseWords(seed, 0, 0);
      const sums = Array.from(raw, (logit, token) => logit + gumbel(wordOf(noise, token)));
      expect(draw(raw, { seed })).toBe(sums.indexOf(Math.max(...sums)));
    }
  });

  test("a choice behind guesses is the one that is made when they were right", () => {
    const wide = logits(...randoms(5, 500, 0.1));
    const sampler = new Sampler({ ...GREEDY, temperature: 1, seed: 9, frequencyPenalty: 5 }, []);
    const guess = sample(sampler, wide, [3, 4])!.token;
    sampler.accept(3);
    sampler.accept(4);
    expect(sample(sampler, wide)!.token).toBe(guess);
  });
});

describe("noise", () => {
  test.each([
    ["over tokens", (i: number) => wordOf(noiseWords(11, 0, 0), i)],
    ["over places", (i: number) => wordOf(noiseWords(11, 0, i), 5)],
    ["over seeds", (i: number) => wordOf(noiseWords(i, 2, 7), 5)],
  ])("has the mean and the variance of Gumbel's distribution, and no memory, %s", (_, word) => {
    const values = Array.from({ length: 40_000 }, (_unused, i) => gumbel(word(i)));
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
    // Three standard errors each.
    expect(Math.abs(mean - 0.577_215_66)).toBeLessThan(0.02);
    expect(Math.abs(variance - Math.PI ** 2 / 6)).toBeLessThan(0.06);
    for (const lag of [1, 2, 4, 256]) {
      const pairs = values.slice(lag).reduce((sum, v, i) => sum + (v - mean) * (values[i]! - mean), 0);
      expect(Math.abs(pairs / values.length / variance)).toBeLessThan(0.02);
    }
  });

  test("words are spread evenly", () => {
    const noise = noiseWords(3, 0, 1);
    const counts = new Float64Array(256);
    for (let token = 0; token < 65_536; token++) counts[wordOf(noise, token) >>> 24]!++;
    const statistic = counts.reduce((sum, count) => sum + (count - 256) ** 2 / 256, 0);
    // 255 degrees of freedom: one sample in a thousand is above 330, one below 190.
    expect(statistic).toBeLessThan(330);
    expect(statistic).toBeGreaterThan(190);
  });

  test("a word below the least one of a gap gives less than the gap", () => {
    for (let gap = 0; gap < GUMBEL_MAX; gap += 0.25) {
      const least = leastWord(gap);
      expect(gumbel(Math.max(0, least - 1))).toBeLessThanOrEqual(gap + 1e-9);
      // Nor is much more looked at than must be.
      expect(gumbel(least)).toBeGreaterThan(Math.floor(gap) - 1);
    }
  });
});

test("filters keep what sorting all tokens would keep", () => {
  const plain = (values: readonly number[], topK: number, topP: number, minP: number): number[] => {
    const max = Math.max(...values);
    const weight = (i: number): number => Math.exp(values[i]! - max);
    let kept = values.map((_, i) => i).toSorted((a, b) => values[b]! - values[a]! || a - b);
    kept = kept.filter((i) => minP === 0 || values[i]! >= max + Math.log(minP));
    if (topK > 0) kept = kept.slice(0, topK);
    if (topP === 1) return kept;
    const total = kept.reduce((sum, i) => sum + weight(i), 0);
    let sum = 0;
    const end = kept.findIndex((i) => (sum += weight(i)) >= topP * total);
    return end < 0 ? kept : kept.slice(0, end + 1);
  };
  fc.assert(
    fc.property(
      // Few whole values, so that there are ties.
      fc.array(fc.oneof(fc.integer({ min: -8, max: 4 }), fc.double({ min: -60, max: 4, noNaN: true })), {
        minLength: 1,
        maxLength: 60,
      }),
      fc.nat(20),
      fc.constantFrom(1, 0.97, 0.5, 0.1),
      fc.constantFrom(0, 0.01, 0.3),
      (values, topK, topP, minP) => {
        const logits64 = Float64Array.from(values);
        const cut = cutoff(logits64, Math.max(...values), { topK, topP, minP });
        const kept = values.map((_, i) => i).filter((token) => isKept(logits64, token, cut));
        expect(kept).toEqual(plain(values, topK, topP, minP).toSorted((a, b) => a - b));
      },
    ),
    { numRuns: 500, seed: 2 },
  );
});

describe("penalties", () => {
  const raw = logits(2, 1.9, -1, 0);
  const next = (sampling: Partial<Sampling>, prompt: number[], generated: number[]): number => {
    const sampler = new Sampler({ ...GREEDY, ...sampling }, prompt);
    for (const token of generated) sampler.accept(token);
    return sample(sampler, raw)!.token;
  };

  test("of presence count once, of frequency every time, neither for the prompt", () => {
    expect(next({ presencePenalty: 0.2 }, [0], [])).toBe(0);
    expect(next({ presencePenalty: 0.2 }, [], [0])).toBe(1);
    expect(next({ frequencyPenalty: 0.06 }, [], [0])).toBe(0);
    expect(next({ frequencyPenalty: 0.06 }, [], [0, 0])).toBe(1);
  });

  test("of repetition divide what is positive and multiply what is negative, for the prompt too", () => {
    expect(next({ repetitionPenalty: 1.1 }, [0], [])).toBe(1);
    expect(next({ repetitionPenalty: 1.1, logitBias: new Map([[2, 3.05]]) }, [], [])).toBe(2);
    expect(next({ repetitionPenalty: 1.1, logitBias: new Map([[2, 3.05]]) }, [2], [])).toBe(0);
  });

  test("and biases come before the choice, log-probabilities do not know them", () => {
    const sampler = new Sampler({ ...GREEDY, logitBias: new Map([[3, 50]]), temperature: 0.1, alternatives: 2 }, []);
    const { token, logprob, alternatives } = sample(sampler, raw)!;
    const probabilities = softmax(raw);
    expect(token).toBe(3);
    expect(logprob).toBeCloseTo(Math.log(probabilities[3]!), 6);
    expect(alternatives!.map((other) => other.token)).toEqual([0, 1]);
    expect(alternatives![1]!.logprob).toBeCloseTo(Math.log(probabilities[1]!), 6);
    expect(sample(new Sampler({ ...GREEDY, alternatives: 9 }, []), raw)!.alternatives!.length).toBe(4);
  });
});

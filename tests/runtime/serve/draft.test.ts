/** Guessing more than one token: a model with two look-ahead modules. */
import { describe, expect, test } from "vitest";
import { parseModule } from "../../../compiler/model-ir/parse.ts";
import { referenceSession } from "../../../compiler/reference/session.ts";
import { Engine } from "../../../runtime/serve/engine/engine.ts";
import type { EngineOptions } from "../../../runtime/serve/engine/options.ts";
import { ALWAYS, type Pace } from "../../../runtime/serve/engine/pace.ts";
import { GREEDY, type Sampling } from "../../../runtime/serve/sampling/sampling.ts";
import { randoms } from "../../support/plain.ts";
import { TINY } from "../../support/tiny-module.ts";

const session = referenceSession(parseModule({ path: "tiny.model", text: TINY }));
session.stores.forEach(({ name, shape }, i) => {
  const count = shape.reduce((a, b) => a * b, 1);
  session.write(name, Float32Array.from(randoms(7 * i + 1, count, 0.8)));
});

const engine = (options: Partial<EngineOptions>, pace: Pace = ALWAYS): Engine =>
  new Engine(session, { pageSize: 4, ...options }, pace);

async function answer(on: Engine, prompt: number[], sampling: Partial<Sampling>, maxTokens: number): Promise<number[]> {
  const tokens: number[] = [];
  const request = { prompt, maxTokens, sampling: { ...GREEDY, ...sampling }, stopTokens: new Set<number>() };
  await on.submit([{ ...request, onToken: ({ token }) => tokens.push(token) < 0 }])[0];
  return tokens;
}

const jobs = Array.from({ length: 12 }, (_, i) => ({
  prompt: randoms(i + 1, 1 + i).map((x) => Math.floor(Math.abs(x) * 1e6) % 11),
  sampling: i % 2 === 0 ? {} : { temperature: 1, seed: i, presencePenalty: 0.3 },
  maxTokens: 3 + ((i * 5) % 17),
}));

describe("two modules", async () => {
  const wanted: number[][] = [];
  for (const { prompt, sampling, maxTokens } of jobs)
    wanted.push(await answer(engine({}), prompt, sampling, maxTokens));

  test.each<Partial<EngineOptions>>([
    { draftTokens: 2, maxRunning: 12, tokensPerStep: 36 },
    { draftTokens: 2, maxRunning: 2, tokensPerStep: 6, pageSize: 3 },
    { draftTokens: 1, maxRunning: 12 },
  ])("give what is given without them: %j", async (options) => {
    const on = engine(options);
    for (const round of [0, 1]) {
      const all = jobs.map(({ prompt, sampling, maxTokens }) => answer(on, prompt, sampling, maxTokens));
      expect(await Promise.all(all), `round ${round}`).toEqual(wanted);
    }
    expect(on.counts.acceptedTokens).toBeGreaterThan(0);
    expect(on.pages.held).toBe(0);
  });

  test("give what is given without them when there are times without guesses", async () => {
    let step = 0;
    const on = engine({ draftTokens: 2, maxRunning: 3 }, { choose: () => step++ % 7 < 4, record: () => undefined });
    const all = jobs.map(({ prompt, sampling, maxTokens }) => answer(on, prompt, sampling, maxTokens));
    expect(await Promise.all(all)).toEqual(wanted);
    expect(on.counts.acceptedTokens).toBeGreaterThan(0);
  });

  test("three tokens in a step where both are right", async () => {
    const on = engine({ draftTokens: 2 });
    const tokens = await answer(on, [1, 2, 3], { logitBias: new Map([[7, 100]]) }, 31);
    expect(tokens).toEqual(tokens.map(() => 7));
    expect(on.counts).toMatchObject({ steps: 11, draftedTokens: 20, acceptedTokens: 20 });
  });
});

/** The engine on compiled kernels, where prompts and answers go through programs that differ in the last bits. */
import { afterAll, describe, expect, test, vi } from "vitest";
import { Engine } from "../../../runtime/serve/engine/engine.ts";
import type { EngineOptions } from "../../../runtime/serve/engine/options.ts";
import { ALWAYS, MeasuredPace, type Pace } from "../../../runtime/serve/engine/pace.ts";
import { type Answer, answer, jobs, plain } from "../../support/answers.ts";
import { fixtureTensors } from "../../support/fixture.ts";
import { tinyV3, tinyV3OnCpu } from "../../support/tiny-v3.ts";

// Kernels are compiled here when nobody did it before.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const session = await tinyV3OnCpu(tinyV3());
afterAll(() => session.close());

const engine = (options: Partial<EngineOptions> = {}, pace: Pace = ALWAYS): Engine =>
  new Engine(session, { pageSize: 4, ...options }, pace);
const list = jobs(32).map((job, i) => ({ ...job, maxTokens: job.maxTokens! + (i % 4) * 10 }));

test("greedy tokens are those of the fixture", async () => {
  const io = fixtureTensors("a1_v3_plain", "io.safetensors");
  const prompt = io("greedy.prompt").data;
  for (const draftTokens of [0, 1]) {
    const { tokens } = await answer(engine({ draftTokens }), { prompt, maxTokens: 16 });
    expect(tokens).toEqual(io("greedy.tokens").data);
  }
});

describe("an answer is the same to the last bit", async () => {
  const alone: Answer[] = [];
  for (const job of list) alone.push(await answer(engine(), job));

  test.each<Partial<EngineOptions>>([
    { maxRunning: 3, tokensPerStep: 3 },
    { maxRunning: 32, tokensPerStep: 100 },
    { maxRunning: 32, tokensPerStep: 4096, pageSize: 1 },
    { maxRunning: 32, tokensPerStep: 100, draftTokens: 1 },
    { maxRunning: 3, tokensPerStep: 7, draftTokens: 1 },
  ])("in a batch of 32, with the cache empty and full: %j", async (options) => {
    const on = engine(options);
    for (const round of [0, 1]) {
      const answers = await Promise.all(list.map((job) => answer(on, job)));
      expect(plain(answers), `round ${round}`).toEqual(plain(alone));
    }
    expect(on.pages.held).toBe(0);
  });

  test("when one token of the prompt is left for a call of its own, and guesses could follow it", async () => {
    const calls = vi.spyOn(session, "choose");
    for (const [i, job] of list.entries()) {
      const { length } = job.prompt;
      if (length < 3) continue;
      const got = await answer(engine({ maxRunning: 1, tokensPerStep: length - 1, draftTokens: 1 }), job);
      expect(plain([got]), `${i}`).toEqual(plain([alone[i]!]));
      // A guess that were right there would be kept as the wrong program computes it.
      const prefilled = calls.mock.calls.flatMap(([{ program, inputs }]) =>
        program === "prefill" ? [...inputs["pos"]!] : [],
      );
      expect(prefilled).toEqual(Array.from({ length }, (_, at) => at));
      calls.mockClear();
    }
    calls.mockRestore();
  });

  test("when it is measured whether guessing is worth its time", async () => {
    const on = engine({ maxRunning: 4, draftTokens: 1 }, new MeasuredPace());
    const answers = await Promise.all(list.map((job) => answer(on, job)));
    expect(plain(answers)).toEqual(plain(alone));
    expect(on.counts.draftedTokens).toBeGreaterThan(0);
    expect(on.counts.draftedTokens).toBeLessThan(on.counts.generatedTokens - on.counts.acceptedTokens - list.length);
  });

  test("when answers have to start again for lack of pages", async () => {
    const small = await tinyV3OnCpu(tinyV3(), 100);
    const on = new Engine(small, { pageSize: 4, draftTokens: 1, maxRunning: 32 });
    const answers = await Promise.all(list.map((job) => answer(on, job)));
    expect(on.counts.preemptions).toBeGreaterThan(0);
    expect(plain(answers)).toEqual(plain(alone));
    small.close();
  });
});

/**
 * The model of specs/quickstart.dsk: the same request alone and in a batch of 32, in chunks of any size, with and without
 * beginnings from the cache and guesses, has the same answer to the last bit. `DSKC_QUICKSTART=RUN` for trained weights, whose
 * guesses are often right; without it they are those that training starts with, made larger.
 */
import { afterAll, describe, expect, test, vi } from "vitest";
import { loadModel } from "../../../compiler/cli/load-model.ts";
import { tableOf } from "../../../compiler/cli/name-table.ts";
import { openOnCpu } from "../../../compiler/cli/open-session.ts";
import { modelFile } from "../../../compiler/package/model.ts";
import { servingPrograms } from "../../../compiler/package/programs.ts";
import { loadWeights } from "../../../runtime/device/weights.ts";
import { Engine } from "../../../runtime/serve/engine/engine.ts";
import type { EngineOptions } from "../../../runtime/serve/engine/options.ts";
import { ALWAYS } from "../../../runtime/serve/engine/pace.ts";
import { initialize } from "../../../runtime/train/init.ts";
import { type Answer, answer, type Job, jobs, plain } from "../../support/answers.ts";
import { randoms } from "../../support/plain.ts";

vi.setConfig({ testTimeout: 900_000, hookTimeout: 300_000 });

const { module } = loadModel("specs/quickstart.dsk", undefined)!;
const model = modelFile(module, tableOf(module));
const session = await openOnCpu({ programs: servingPrograms(module), model }, { cacheRows: 16_384 });
afterAll(() => session.close());

const trained = process.env["DSKC_QUICKSTART"];
if (trained !== undefined) loadWeights(session, model, trained);
else {
  initialize(session, model, 7);
  for (const { name, shape } of session.stores) {
    if (shape.length < 2) continue;
    const values = session.read(name) as Float32Array;
    session.write(
      name,
      values.map((x) => 4 * x),
    );
  }
}

/** Up to 300 tokens of all of the vocabulary; every third one begins as the others of its kind do. */
const list = jobs(32, 9).map((job, i): Job => {
  const tokens = randoms(50 + i, 1 + ((i * 37) % 200)).map((x) => Math.floor(Math.abs(x) * 1e6) % 1024);
  const common = randoms(3, 100).map((x) => Math.floor(Math.abs(x) * 1e6) % 1024);
  return { ...job, prompt: i % 3 === 0 ? [...common, ...tokens] : tokens, maxTokens: 8 + ((i * 5) % 40) };
});

const engine = (options: Partial<EngineOptions> = {}): Engine =>
  new Engine(session, { pageSize: 64, ...options }, ALWAYS);

describe("the same answer to the last bit", async () => {
  const alone: Answer[] = [];
  for (const job of list) alone.push(await answer(engine(), job));

  test("is no accident: answers differ", () => {
    expect(new Set(alone.map(({ tokens }) => tokens.join())).size).toBe(32);
  });

  test.each<Partial<EngineOptions>>([
    { maxRunning: 32, tokensPerStep: 33 },
    { maxRunning: 32, tokensPerStep: 256 },
    { maxRunning: 32, tokensPerStep: 8192 },
    { maxRunning: 5, tokensPerStep: 7, pageSize: 1 },
    { maxRunning: 32, tokensPerStep: 256, draftTokens: 1 },
    { maxRunning: 7, tokensPerStep: 40, draftTokens: 1, pageSize: 16 },
  ])("in a batch, with the cache empty and full: %j", async (options) => {
    const on = engine(options);
    let cached = 0;
    for (const round of [0, 1]) {
      const answers = await Promise.all(list.map((job) => answer(on, job)));
      expect(plain(answers), `round ${round}`).toEqual(plain(alone));
      cached = answers.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0);
    }
    expect(cached).toBeGreaterThan(1000);
    expect(on.pages.held).toBe(0);
    const { acceptedTokens, draftedTokens } = on.counts;
    expect(draftedTokens > 100).toBe(options.draftTokens === 1);
    console.info(`${acceptedTokens} of ${draftedTokens} guesses right`);
  });

  test.each([0, 1])("alone in chunks of every size, %i tokens guessed", async (draftTokens) => {
    for (const i of [1, 21, 23]) {
      const { length } = list[i]!.prompt;
      for (const chunk of [1, 2, 3, 5, 8, 13, 31, 64, 65, 100, 128, length - 2, length - 1, length, 1000]) {
        const got = await answer(
          engine({ maxRunning: 1, tokensPerStep: Math.max(chunk, 1 + draftTokens), draftTokens }),
          list[i]!,
        );
        expect(plain([got]), `prompt of ${length} in chunks of ${chunk}`).toEqual(plain([alone[i]!]));
      }
    }
  });
});

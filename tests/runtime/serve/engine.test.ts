import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import type { HostSession } from "../../../runtime/device/session.ts";
import { Engine } from "../../../runtime/serve/engine/engine.ts";
import type { EngineOptions } from "../../../runtime/serve/engine/options.ts";
import { ALWAYS, type Pace } from "../../../runtime/serve/engine/pace.ts";
import {
  ContextError,
  DeadlineError,
  DrainingError,
  type EngineRequest,
  QueueFullError,
} from "../../../runtime/serve/engine/request.ts";
import type { Sampled } from "../../../runtime/device/choice.ts";
import { GREEDY } from "../../../runtime/serve/sampling/sampling.ts";
import { type Answer, answer, type Job, jobs, plain } from "../../support/answers.ts";
import { fixtureTensors } from "../../support/fixture.ts";
import { tinyV3, tinyV3Session } from "../../support/tiny-v3.ts";

// A busy machine is no failure.
vi.setConfig({ testTimeout: 300_000 });

const model = tinyV3();

const sessions = new Map<number, HostSession>();

/** A new engine; sessions of one size are the same, with whatever the caches held before. */
function engine(options: Partial<EngineOptions> = {}, cacheRows = 1024, pace: Pace = ALWAYS): Engine {
  const session = sessions.get(cacheRows) ?? tinyV3Session(model, undefined, { cacheRows });
  sessions.set(cacheRows, session);
  return new Engine(session, { pageSize: 4, ...options }, pace);
}

async function alone(list: readonly Job[]): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const job of list) answers.push(await answer(engine(), job));
  return answers;
}

test("greedy tokens are those of the fixture", async () => {
  const io = fixtureTensors("a1_v3_plain", "io.safetensors");
  const { tokens, reason } = await answer(engine(), { prompt: io("greedy.prompt").data, maxTokens: 16 });
  expect(tokens).toEqual(io("greedy.tokens").data);
  expect(reason).toBe("length");
});

describe("an answer depends on its own request alone", async () => {
  const list = jobs(32);
  const wanted = plain(await alone(list));

  test.each<Partial<EngineOptions>>([
    { tokensPerStep: 3, maxRunning: 3 },
    { tokensPerStep: 64, maxRunning: 32 },
    { tokensPerStep: 48, maxRunning: 32, only: "decode" },
  ])("in a batch of 32 with %j", async (options) => {
    const on = engine(options);
    const answers = await Promise.all(list.map((job) => answer(on, job)));
    expect(plain(answers)).toEqual(wanted);
    expect(on.pages.held).toBe(0);
  });

  test("when the pages do not suffice, and the latest are sent back", async () => {
    const on = engine({ maxRunning: 32 }, 60);
    const answers = await Promise.all(list.map((job) => answer(on, job)));
    expect(on.counts.preemptions).toBeGreaterThan(0);
    expect(plain(answers)).toEqual(wanted);
    expect(on.pages.held).toBe(0);
  });

  test("when its beginning comes from the cache", async () => {
    const on = engine();
    await Promise.all(list.map((job) => answer(on, job)));
    const again = await Promise.all(list.map((job) => answer(on, job)));
    expect(plain(again)).toEqual(wanted);
    const cached = again.map(({ cachedTokens }) => cachedTokens);
    expect(cached).toEqual(list.map(({ prompt }) => Math.floor((prompt.length - 1) / 4) * 4));
  });
});

describe("guesses of a look-ahead module change nothing but the number of steps", async () => {
  const list = jobs(12, 2).map((job) => ({ ...job, maxTokens: job.maxTokens! + 6 }));
  const wanted = plain(await alone(list));

  test.each<Partial<EngineOptions>>([
    { maxRunning: 1 },
    { maxRunning: 12, tokensPerStep: 30 },
    { maxRunning: 12, only: "decode", pageSize: 1 },
  ])("%j", async (options) => {
    const on = engine({ ...options, draftTokens: 1 });
    for (const round of [0, 1]) {
      // The second time the beginnings come from the cache, rows of the module among them.
      const answers = await Promise.all(list.map((job) => answer(on, job)));
      expect(plain(answers), `round ${round}`).toEqual(wanted);
    }
    expect(on.pages.held).toBe(0);
    expect(on.counts.draftedTokens).toBeGreaterThan(100);
    expect(on.counts.acceptedTokens).toBeGreaterThan(0);
    expect(on.counts.acceptedTokens).toBeLessThan(on.counts.draftedTokens);
  });

  test("when pages do not suffice, and when the context ends", async () => {
    const on = engine({ draftTokens: 1, maxRunning: 12 }, 48);
    const answers = await Promise.all(list.map((job) => answer(on, job)));
    expect(on.counts.preemptions).toBeGreaterThan(0);
    expect(plain(answers)).toEqual(wanted);
    const [short, plainly] = [engine({ draftTokens: 1, context: 30 }), engine({ context: 30 })];
    const job = { ...list[1]!, maxTokens: 100 };
    expect(plain([await answer(short, job)])).toEqual(plain([await answer(plainly, job)]));
  });

  test("when there are times without guesses", async () => {
    // Three steps with, two without, and so on.
    let step = 0;
    const pace: Pace = { choose: () => step++ % 5 < 3, record: () => undefined };
    const on = engine({ draftTokens: 1, maxRunning: 4 }, 1024, pace);
    const answers = await Promise.all(list.map((job) => answer(on, job)));
    expect(plain(answers)).toEqual(wanted);
    expect(on.counts.acceptedTokens).toBeGreaterThan(0);
    // Without such times there is a guess for nearly every token.
    expect(on.counts.draftedTokens).toBeLessThan(0.7 * on.counts.generatedTokens);
  });

  test("guesses of a module that is always right save every other step", async () => {
    // With the same token whatever was said before, module and model agree.
    const sampling = { temperature: 1, seed: 1, logitBias: new Map([[7, 100]]) };
    const on = engine({ draftTokens: 1 });
    const { tokens } = await answer(on, { prompt: [1, 2, 3], maxTokens: 21, sampling });
    expect(tokens).toEqual(tokens.map(() => 7));
    // One token of the prompt's step, then two in each.
    expect(on.counts).toMatchObject({ steps: 11, draftedTokens: 10, acceptedTokens: 10 });
  });

  test("a session without such a module says so", () => {
    expect(() => engine({ draftTokens: 2 })).toThrow("the model has no look-ahead module 2: it cannot guess 2 tokens");
  });
});

test("answers to one prompt that come together read it once", async () => {
  const on = engine();
  const prompt = jobs(20)[18]!.prompt;
  expect(prompt.length).toBeGreaterThan(12);
  const choices = [0, 1, 2, 3].map((choice) => ({ prompt, sampling: { temperature: 1, seed: 7, choice } }));
  const answers = await Promise.all(choices.map((job) => answer(on, job)));
  const shared = Math.floor((prompt.length - 1) / 4) * 4;
  expect(answers.map(({ cachedTokens }) => cachedTokens)).toEqual([0, shared, shared, shared]);
  expect(on.counts.promptTokens).toBe(prompt.length + 3 * (prompt.length - shared));
  expect(new Set(answers.map(({ tokens }) => tokens.join())).size).toBe(4);
});

describe("ends", () => {
  const job: Job = { prompt: [1, 2, 3], maxTokens: 20 };

  test("with a stop token, or when the listener says so, and then nothing more is sampled", async () => {
    const { tokens } = await answer(engine(), job);
    const stopped = await answer(engine(), { ...job, stop: (_, index) => index === 4 });
    expect(stopped).toMatchObject({ reason: "stop", tokens: tokens.slice(0, 5) });
    const seen: number[] = [];
    const request: EngineRequest = {
      prompt: job.prompt,
      maxTokens: 20,
      sampling: GREEDY,
      stopTokens: new Set([tokens[2]!]),
      onToken: ({ token }) => seen.push(token) > 100,
    };
    expect(await engine().submit([request])[0]).toMatchObject({ reason: "stop" });
    expect(seen).toEqual(tokens.slice(0, tokens.indexOf(tokens[2]!) + 1));
  });

  test("at the end of the context, which a prompt must leave room in", async () => {
    const on = engine({ context: 10 });
    expect(await answer(on, job)).toMatchObject({ reason: "length", tokens: { length: 7 } });
    await expect(answer(on, { prompt: Array.from({ length: 10 }, () => 1) })).rejects.toThrow(ContextError);
    // The caches bound it as well: 12 rows are three pages.
    expect(engine({ context: 100 }, 14).options.context).toBe(12);
  });

  test("at its deadline", async () => {
    const request = { prompt: [1], maxTokens: 500, sampling: GREEDY, stopTokens: new Set<number>() };
    const on = engine();
    const [late] = on.submit([{ ...request, deadline: performance.now() + 20, onToken: () => false }]);
    await expect(late).rejects.toThrow(DeadlineError);
    expect(on.pages.held).toBe(0);
  });

  test("when it is canceled, while it waits and while it runs", async () => {
    const on = engine({ maxRunning: 1 });
    const [first, second] = [new AbortController(), new AbortController()];
    const running = answer(on, {
      ...job,
      signal: first.signal,
      stop: (_, i) => (i === 2 && first.abort("enough"), false),
    });
    const waiting = answer(on, { ...job, signal: second.signal });
    expect(on.waiting).toBe(2);
    second.abort("never mind");
    expect(on.waiting).toBe(1);
    await expect(waiting).rejects.toBe("never mind");
    await expect(running).rejects.toBe("enough");
    expect([on.waiting, on.running, on.pages.held]).toEqual([0, 0, 0]);
  });

  test("when the queue is full or the engine drains: at once, and what there is goes on", async () => {
    const on = engine({ maxRunning: 1, maxWaiting: 1 });
    const taken = [answer(on, job), answer(on, job)];
    const refused = await answer(on, job).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(QueueFullError);
    expect((refused as QueueFullError).retryAfter).toBeGreaterThanOrEqual(1);
    const drained = on.drain();
    await expect(answer(on, job)).rejects.toThrow(DrainingError);
    await drained;
    for (const done of taken) expect((await done).tokens.length).toBe(20);
  });

  test("with what the device says, and others go on", async () => {
    const session = tinyV3Session(model);
    const on = new Engine(session);
    const run = vi.spyOn(session, "run").mockRejectedValueOnce(new Error("out of memory"));
    await expect(answer(on, job)).rejects.toThrow("out of memory");
    run.mockRestore();
    session.write("norm.weight", session.read("norm.weight").fill(NaN));
    await expect(answer(on, job)).rejects.toThrow("logits that are no numbers");
    expect(on.pages.held).toBe(0);
  });
});

test("no page is lost, and no answer changed, whoever leaves when", async () => {
  const list = jobs(24, 5);
  const wanted = await alone(list);
  const event = fc.record({
    job: fc.nat(list.length - 1),
    /** Leaves after so many tokens; 0 before any. */
    leaves: fc.option(fc.nat(6), { nil: undefined }),
    /** Arrives after so many tokens of all answers together. */
    arrives: fc.nat(30),
  });
  const property = fc.asyncProperty(
    fc.array(event, { minLength: 1, maxLength: 16 }),
    fc.record({ tokensPerStep: fc.integer({ min: 4, max: 40 }), maxRunning: fc.integer({ min: 1, max: 8 }) }),
    fc.integer({ min: 36, max: 120 }),
    async (events, options, rows) => {
      const on = engine(options, rows);
      const due = events.toSorted((a, b) => a.arrives - b.arrives);
      const pending: Promise<void>[] = [];
      let total = 0;
      const arrive = (): void => {
        while (due.length > 0 && due[0]!.arrives <= total) {
          const { job, leaves } = due.shift()!;
          const leaving = new AbortController();
          const stop = (_: Sampled, index: number): boolean => {
            total++;
            arrive();
            if (index + 1 === leaves) leaving.abort();
            return false;
          };
          const check = async (): Promise<void> => {
            const got = await answer(on, { ...list[job]!, signal: leaving.signal, stop }).catch(() => undefined);
            expect(got === undefined ? leaving.signal.aborted : plain([got])).toEqual(
              got === undefined ? true : plain([wanted[job]!]),
            );
          };
          pending.push(check());
          if (leaves === 0) leaving.abort();
        }
      };
      while (due.length > 0 || pending.length > 0) {
        arrive();
        total = Math.max(total, pending.length === 0 ? (due[0]?.arrives ?? 0) : 0);
        await Promise.all(pending.splice(0));
      }
      expect([on.pages.held, on.running, on.waiting]).toEqual([0, 0, 0]);
    },
  );
  await fc.assert(property, { numRuns: 10, seed: 3 });
});

test("new weights: answers that have begun keep the old ones, later ones find nothing of them in the cache", async () => {
  const prompt = [5, 9, 2, 44, 8, 17, 3, 21, 60];
  const job = { prompt, maxTokens: 10 };
  const session = tinyV3Session(model);
  const on = new Engine(session, { pageSize: 4, maxRunning: 2 });
  const old = await answer(on, job);
  const change = (to: HostSession): void =>
    to.write(
      "norm.weight",
      to.read("norm.weight").map((x, i) => (i % 2 ? -x : x)),
    );
  let [updated, later]: [Promise<void> | undefined, Promise<Answer> | undefined] = [undefined, undefined];
  const first = await answer(on, {
    ...job,
    stop: () => {
      updated ??= on.whenIdle(() => {
        on.forget();
        change(session);
      });
      later ??= answer(on, job);
      return false;
    },
  });
  await updated;
  const fresh = tinyV3Session(model);
  change(fresh);
  const wanted = await answer(new Engine(fresh, { pageSize: 4 }), job);
  expect(first.tokens).toEqual(old.tokens);
  expect(await later).toEqual(wanted);
  expect(wanted.tokens).not.toEqual(old.tokens);
  await expect(
    on.whenIdle(() => {
      throw new Error("no weights");
    }),
  ).rejects.toThrow("no weights");
  expect((await answer(on, job)).cachedTokens).toBe(8);
});

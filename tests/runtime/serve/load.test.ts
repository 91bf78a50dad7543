/** Many streams at the same time that leave at random: `DSKC_LOAD_SECONDS=300` for longer than a few seconds. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, test, vi } from "vitest";
import { startTiny, TINY_MODEL } from "../../support/tiny-server.ts";
import { tinyV3, tinyV3OnCpu } from "../../support/tiny-v3.ts";

const seconds = Number(process.env["DSKC_LOAD_SECONDS"] ?? 6);
vi.setConfig({ testTimeout: (seconds + 300) * 1000 });

const STREAMS = 64;

const session = await tinyV3OnCpu(tinyV3(), 2048);
// Less than what 64 answers may need: some have to start again.
const server = await startTiny({ maxRunning: 48, maxWaiting: 64, draftTokens: 1, context: 160 }, {}, session);
afterAll(async () => {
  await server.drain(0);
  session.close();
});

interface Body {
  readonly [field: string]: unknown;
}

/** The text of a stream; undefined when the client left after so many chunks. */
async function stream(body: Body, leavesAfter: number): Promise<string | undefined> {
  const leaving = new AbortController();
  const init = { method: "POST", body: JSON.stringify({ ...body, stream: true }), signal: leaving.signal };
  const response = await fetch(`${server.url}/v1/completions`, init);
  expect(response.status).toBe(200);
  let text = "";
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (let chunks = 0; ; chunks++) {
    if (chunks > leavesAfter) {
      leaving.abort();
      reader.closed.catch(() => undefined);
      return undefined;
    }
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
  }
  expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  const events = text.split("\n\n").slice(0, -2);
  return events
    .map((event) => (JSON.parse(event.slice(6)) as { choices: { text: string }[] }).choices[0]!.text)
    .join("");
}

/** A small generator of numbers below 1, so that a run can be repeated. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

test(`${STREAMS} streams for ${seconds} seconds with random disconnects`, async () => {
  const bodies = Array.from({ length: 40 }, (_, i): Body => {
    const prompt = "The quick brown fox jumps over the lazy dog. ".repeat(2).slice(i % 7, 8 + ((i * 11) % 70));
    const sampling = [{ temperature: 0 }, { temperature: 1, seed: i }, { temperature: 0.8, top_p: 0.9, seed: i }][
      i % 3
    ];
    return { model: TINY_MODEL, prompt, max_tokens: 5 + ((i * 13) % 60), ...sampling };
  });
  const solo: (string | undefined)[] = [];
  for (const body of bodies) solo.push(await stream(body, Infinity));

  const end = performance.now() + seconds * 1000;
  let [finished, left] = [0, 0];
  const changed: string[] = [];
  const memory: number[] = [];
  // A slow machine takes longer for as many streams.
  const goesOn = (): boolean => performance.now() < end || finished <= STREAMS || left <= STREAMS / 2;
  const client = async (id: number): Promise<void> => {
    const random = randomFrom(id);
    while (goesOn()) {
      const which = Math.floor(random() * bodies.length);
      const text = await stream(bodies[which]!, random() < 0.4 ? Math.floor(random() * 20) : Infinity);
      if (text === undefined) left++;
      else {
        finished++;
        if (text !== solo[which]) changed.push(`${text} instead of ${solo[which]}`);
      }
      if (random() < 0.1) await sleep(random() * 50);
    }
  };
  const watch = async (): Promise<void> => {
    while (performance.now() < end) {
      await sleep(Math.min(1000, seconds * 100));
      memory.push(process.memoryUsage().rss);
    }
  };
  await Promise.all([...Array.from({ length: STREAMS }, (_, id) => client(id)), watch()]);
  while (server.engine.running + server.engine.waiting > 0) await sleep(10);
  expect([server.engine.pages.held, server.engine.waiting]).toEqual([0, 0]);
  expect(changed).toEqual([]);
  expect(finished).toBeGreaterThan(STREAMS);
  expect(left).toBeGreaterThan(STREAMS / 2);
  // Memory settles: the last third does not need more than the one before, but for what the garbage collector is late with.
  const third = Math.floor(memory.length / 3);
  const most = (from: number): number => Math.max(...memory.slice(from * third, (from + 1) * third));
  const allowed = seconds >= 60 ? 32 * 2 ** 20 : Infinity;
  expect(most(2) - most(1)).toBeLessThan(allowed);
  console.info(
    `${finished} finished, ${left} left, ${server.engine.counts.preemptions} preemptions, ${memory.map((m) => (m / 2 ** 20).toFixed(0)).join(" ")} MiB`,
  );
});

/** Caches in fewer bits: rows are rounded when they are written, on generated kernels as in the interpreter. */
import { describe, expect, test, vi } from "vitest";
import type { Elements, Session } from "../../runtime/device/session.ts";
import { Engine } from "../../runtime/serve/engine/engine.ts";
import { answer, jobs, plain } from "../support/answers.ts";
import { tinyV3, tinyV3OnCpu, tinyV3Session } from "../support/tiny-v3.ts";

vi.setConfig({ testTimeout: 300_000 });

const model = tinyV3();
/** Latent and rotary key of three layers and of the look-ahead module. */
const VALUES = 4 * (model.module.dims.get("C")! + model.module.dims.get("R")!);
const PROMPT = [5, 9, 2, 44, 8, 17, 101, 3, 77, 60, 12];
const CHUNK = 4;

/** The logits of every position: the prompt in chunks, each of which reads rows that the one before it wrote, then decoded. */
async function logitsOf(session: Session): Promise<number[]> {
  const ints = (count: number, of: (i: number) => number): Int32Array =>
    Int32Array.from({ length: count }, (_, i) => of(i));
  const logits: number[] = [];
  for (let done = 0; done < PROMPT.length;) {
    const count = done < 2 * CHUNK ? CHUNK : 1;
    const [program, first, end] = [count === 1 ? "decode" : "prefill", done, done + count];
    const fresh = (of: (i: number) => number): Int32Array => ints(count, (i) => of(first + i));
    const inputs: Record<string, Elements> = {
      tokens: fresh((p) => PROMPT[p]!),
      pos: fresh((p) => p),
      seq: ints(count, () => 0),
      "key.pos": ints(end, (p) => p),
      "key.seq": ints(end, () => 0),
      "cache.slot": ints(end, (p) => 3 * p + 1),
      "cache.row": fresh((p) => 3 * p + 1),
      rows: ints(count, (i) => i),
    };
    const result = await session.run({ program, sizes: { T: count, S: end, B: count }, inputs });
    logits.push(...result["logits"]!);
    done = end;
  }
  return logits;
}

function distance(a: readonly number[], b: readonly number[]): number {
  return Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));
}

describe.each(["bf16", "f16"] as const)("caches in %s", async (caches) => {
  const session = await tinyV3OnCpu(model, 1024, caches);

  test("a position takes two bytes for each value", () => {
    expect(session.cacheRowBytes).toBe(2 * VALUES);
    expect(session.memory().cacheBytes).toBe(1024 * 2 * VALUES);
  });

  test("logits are those of an interpreter that rounds the same", async () => {
    const got = await logitsOf(session);
    const wanted = await logitsOf(tinyV3Session(model, undefined, { caches }));
    const exact = await logitsOf(tinyV3Session(model));
    const rounding = distance(wanted, exact);
    expect(distance(got, wanted)).toBeLessThan(6e-5);
    // It is no accident that they are near: without rounding they are others.
    expect(rounding).toBeGreaterThan(10 * 6e-5);
  });

  test("an answer depends on its own request alone", async () => {
    const list = jobs(32, 4);
    const alone = [];
    for (const job of list) alone.push(await answer(new Engine(session, { pageSize: 4 }), job));
    const wanted = plain(alone);
    for (const options of [
      { tokensPerStep: 3, maxRunning: 3 },
      { maxRunning: 32, draftTokens: 1 },
    ]) {
      const engine = new Engine(session, { pageSize: 4, ...options });
      // The second time, beginnings come from the cache.
      for (const round of [0, 1]) {
        const answers = await Promise.all(list.map((job) => answer(engine, job)));
        expect(plain(answers), `round ${round}`).toEqual(wanted);
      }
      expect(engine.pages.held).toBe(0);
    }
  });
});

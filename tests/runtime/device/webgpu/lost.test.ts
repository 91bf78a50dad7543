/** A GPU device that is gone in the middle of a call, of an answer, of a training. */
import { afterAll, describe, expect, test } from "vitest";
import { DeviceLostError } from "../../../../runtime/device/session.ts";
import type { WebGpuSession } from "../../../../runtime/device/webgpu/session.ts";
import { Engine } from "../../../../runtime/serve/engine/engine.ts";
import { type Answer, answer as answerOn, type Job } from "../../../support/answers.ts";
import { HAS_WEBGPU } from "../../../support/on-webgpu.ts";
import { startTiny } from "../../../support/tiny-server.ts";
import { tinyV3, tinyV3OnWebGpu } from "../../../support/tiny-v3.ts";

const model = tinyV3();
const opened: WebGpuSession[] = [];
const open = async (): Promise<WebGpuSession> => {
  const session = await tinyV3OnWebGpu(model, 128);
  opened.push(session);
  return session;
};

afterAll(() => {
  for (const session of opened) session.close();
});

const JOB = { prompt: [1, 5, 9, 20], maxTokens: 6 };
const answer = (engine: Engine, job: Job = JOB): Promise<Answer> => answerOn(engine, job);
/** The device goes with the first token. */
const losing = (engine: Engine): Job => ({
  ...JOB,
  stop: () => {
    (engine.session as WebGpuSession).gpu.destroy();
    return false;
  },
});

describe.skipIf(!HAS_WEBGPU)("a device that is lost", () => {
  test("rejects calls that are under way and later ones, and says so", { timeout: 300_000 }, async () => {
    const session = await open();
    const decode = {
      program: "decode",
      sizes: { T: 1, S: 1, B: 1 },
      inputs: Object.fromEntries(
        ["tokens", "pos", "seq", "key.pos", "key.seq", "cache.slot", "cache.row", "rows"].map((name) => [
          name,
          Int32Array.of(0),
        ]),
      ),
    };
    await session.run(decode);
    const calls = [session.run(decode), session.run(decode), session.read("norm.weight")];
    const results = Promise.allSettled(calls);
    session.gpu.destroy();
    for (const result of await results) {
      if (result.status === "fulfilled") continue;
      expect(result.reason).toBeInstanceOf(DeviceLostError);
    }
    await expect(session.run(decode)).rejects.toThrow(/^the GPU device was lost: /);
    await expect(session.read("norm.weight")).rejects.toThrow(DeviceLostError);
    expect(() => session.write("norm.weight", new Float32Array(64))).toThrow(DeviceLostError);
  });

  test(
    "fails answers that run; those that come later are what they would have been",
    { timeout: 300_000 },
    async () => {
      const engine = new Engine(await open(), { pageSize: 8, context: 64 }, undefined, open);
      const wanted = await answer(engine);
      expect(wanted.tokens.length).toBe(6);
      await expect(answer(engine, losing(engine))).rejects.toThrow(DeviceLostError);
      expect(engine.lost).toBeInstanceOf(DeviceLostError);
      await expect(answer(engine)).rejects.toThrow(DeviceLostError);
      await engine.whenIdle(() => undefined);
      expect([engine.lost, engine.pages.held]).toEqual([undefined, 0]);
      expect(await answer(engine)).toEqual(wanted);
    },
  );

  test("that cannot be opened again fails what waits, and is tried again", { timeout: 300_000 }, async () => {
    let works = false;
    const reopen = (): Promise<WebGpuSession> => (works ? open() : Promise.reject(new Error("no adapter")));
    const engine = new Engine(await open(), { pageSize: 8, context: 64, maxRunning: 1 }, undefined, reopen);
    const [first, second] = [answer(engine, losing(engine)), answer(engine)];
    const results = await Promise.allSettled([first, second]);
    expect(results.map((result) => String((result as PromiseRejectedResult).reason))).toEqual([
      expect.stringContaining("the GPU device was lost"),
      "Error: no adapter",
    ]);
    works = true;
    await expect(answer(engine)).rejects.toThrow(DeviceLostError);
    await engine.whenIdle(() => undefined);
    expect((await answer(engine)).tokens.length).toBe(6);
  });

  test("is 503 over HTTP until the weights are there again", { timeout: 300_000 }, async () => {
    let ready!: () => void;
    const gate = new Promise<void>((resolve) => (ready = resolve));
    const server = await startTiny({ context: 64 }, {}, await open(), () => gate.then(open));
    const complete = (): Promise<Response> =>
      fetch(`${server.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "tiny-v3", prompt: [1, 5, 9, 20], max_tokens: 6, temperature: 0 }),
      });
    const text = async (response: Response): Promise<string> =>
      ((await response.json()) as { choices: { text: string }[] }).choices[0]!.text;
    const wanted = await text(await complete());
    (server.engine.session as WebGpuSession).gpu.destroy();
    for (let i = 0; i < 2; i++) {
      const response = await complete();
      expect([response.status, response.headers.get("retry-after")]).toEqual([503, "5"]);
      expect(await response.json()).toMatchObject({ error: { code: "device_lost" } });
    }
    const health = await fetch(`${server.url}/health`);
    expect([health.status, await health.json()]).toMatchObject([503, { status: "reloading" }]);
    ready();
    await server.engine.whenIdle(() => undefined);
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    expect(await text(await complete())).toBe(wanted);
    await server.drain(1000);
  });
});

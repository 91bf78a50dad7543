/** A generated package in Chromium: answers, training and weights over the network. */
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { BrowserModel, LoadOptions } from "../../runtime/browser/model.ts";
import type { ShardIndex } from "../../runtime/io/safetensors/shard-index.ts";
import { openPackage } from "../../runtime/package/open-package.ts";
import { type Browser, HAS_CHROMIUM, openChromium } from "../support/chromium.ts";
import { type PicoPackage, picoPackage } from "../support/pico-package.ts";
import { type Fault, serveFolders, type StaticServer } from "../support/static-server.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

/** In the page. */
declare const load: (options?: LoadOptions) => Promise<BrowserModel>;
declare const dskc: typeof import("../../runtime/browser/index.ts");

const ROWS = ["the sea is rough", "the sea is calm", "a lighthouse stands by the sea"];
const PROMPTS = ["the sea", "a light", "the", "rough"];
const CHAT = [{ role: "user", content: "the sea?" }] as const;
const SHARD = "/pico/weights/model.safetensors";

interface OnCpu {
  readonly answers: number[][];
  readonly chat: number[];
  readonly loss: number;
  readonly trained: number[];
}

let pico: PicoPackage;
let cpu: OnCpu;
let server: StaticServer;
let browser: Browser;
let page: Page;

describe.skipIf(!HAS_CHROMIUM)("in Chromium", () => {
  beforeAll(async () => {
    pico = picoPackage("--target", "cpu,webgpu");
    const learned = join(pico.folder, "learned");
    const untrained = await openPackage(pico.directory, { device: "cpu" });
    const trainer = await untrained.trainer("Short");
    for (let i = 0; i < 30; i++) await trainer.step(ROWS);
    await trainer.save(learned);
    await untrained.close();
    const args = ["build", "pico.dsk", "-o", pico.directory, "--tokenizer", "tokenizer", "--weights", learned];
    execFileSync(process.execPath, [resolve("bin/dskc.js"), ...args, "--target", "cpu,webgpu"], {
      cwd: pico.folder,
      stdio: "pipe",
    });
    cpu = await onCpu();
    server = await serveFolders({ dskc: resolve("dist/browser"), pico: pico.directory, page: import.meta.dirname });
    browser = await openChromium();
    page = await openPage();
  });

  afterAll(async () => {
    await browser?.close();
    server?.close();
    rmSync(pico.folder, { recursive: true, force: true });
  });

  afterEach(() => server.faults.clear());

  test("trained weights are read, and a chat is answered as on the CPU", async () => {
    const got = await page.evaluate(
      async ([rows, chat]) => {
        const steps: string[] = [];
        const model = await load({ onProgress: ({ what }) => steps.push(what) });
        const answer = model.chat(chat, { temperature: 0, maxTokens: 12, ignoreEos: true });
        const tokens: number[] = [];
        let text = "";
        for await (const token of answer) {
          tokens.push(token.token);
          text += token.text;
        }
        const { loss } = await model.score(rows);
        const decoded = await model.decode(tokens);
        const facts = [model.name, model.device, model.context, model.trainings.join()];
        await model.close();
        return { tokens, text, decoded, loss, facts, end: answer.end, steps: [...new Set(steps)] };
      },
      [ROWS, CHAT] as const,
    );
    expect(got.facts).toEqual(["Pico", "webgpu", 64, "Short"]);
    expect(got.tokens).toEqual(cpu.chat);
    expect(got.text).toBe(got.decoded);
    expect(got.loss).toBeCloseTo(cpu.loss, 4);
    expect(got.end).toMatchObject({ reason: "length", generatedTokens: 12 });
    expect(got.steps.toSorted()).toEqual([
      "checking weights",
      "compiling kernels",
      "fetching weights",
      "reading weights",
    ]);
  });

  test("four conversations at once share the steps of one worker", async () => {
    const { answers, steps } = await page.evaluate(async (prompts) => {
      const model = await load();
      const options = { temperature: 0, maxTokens: 12, ignoreEos: true };
      const answers = await Promise.all(prompts.map((prompt) => model.generate(prompt, options).tokens()));
      const counts = await model.counts();
      await model.close();
      return { answers, steps: counts!.steps };
    }, PROMPTS);
    expect(answers).toEqual(cpu.answers);
    // Alone each of the four takes up to 12 steps.
    expect(steps).toBeLessThan(20);
  });

  test("training lowers the loss as on the CPU, and answers follow it", async () => {
    const got = await page.evaluate(async (rows) => {
      const model = await load({ draftTokens: 0 });
      const before = await model.score(rows);
      const trainer = await model.trainer("Short");
      const losses: number[] = [];
      for (let i = 0; i < 4; i++) losses.push((await trainer.step(rows)).loss);
      const unpublished = await model.score(rows);
      await trainer.publish();
      const after = await model.score(rows);
      const file = await (await trainer.save()).arrayBuffer();
      const { steps } = trainer;
      await trainer.close();
      await model.close();
      const scores = [before, unpublished, after].map(({ loss }) => loss);
      return { losses, scores, steps, header: new TextDecoder().decode(file.slice(8, 200)), bytes: file.byteLength };
    }, ROWS);
    expect(got.losses).toHaveLength(4);
    for (const [i, loss] of got.losses.entries()) expect(loss).toBeCloseTo(cpu.trained[i]!, 3);
    expect(got.losses[3]).toBeLessThan(got.losses[0]!);
    expect(got.scores[1]).toBe(got.scores[0]);
    expect(got.scores[2]).toBeLessThan(got.scores[0]!);
    expect(got.steps).toBe(4);
    expect(got.header).toContain('"format":"pt"');
    expect(got.bytes).toBe(statSync(join(pico.folder, "learned", "model.safetensors")).size);
  });

  test("who aborts an answer is told so, and who stops reading leaves the others alone", async () => {
    const got = await page.evaluate(async () => {
      const model = await load();
      const controller = new AbortController();
      const read: number[] = [];
      let error: unknown;
      const other = model.generate("the sea", { temperature: 0, maxTokens: 40, ignoreEos: true }).tokens();
      try {
        for await (const { token } of model.generate("a", { ignoreEos: true, signal: controller.signal })) {
          read.push(token);
          if (read.length === 3) controller.abort(new Error("enough"));
        }
      } catch (thrown) {
        error = thrown;
      }
      for await (const _ of model.generate("b", { ignoreEos: true })) break;
      const length = (await other).length;
      const again = await model.generate("the sea", { temperature: 0, maxTokens: 40, ignoreEos: true }).tokens();
      const same = again.join() === (await other).join();
      const gone = new AbortController();
      gone.abort(new Error("before"));
      const refused = await load({ signal: gone.signal }).catch((e: Error) => e.message);
      await model.close();
      const closed = await model
        .generate("x")
        .text()
        .catch((e: Error) => e.message);
      return { read: read.length, error: (error as Error).message, length, same, refused, closed };
    });
    expect(got).toMatchObject({ error: "enough", length: 40, same: true, refused: "before", closed: "Pico is closed" });
    expect(got.read).toBeLessThan(10);
  });

  test("what is wrong with a call is told as in Node", async () => {
    const got = await page.evaluate(async () => {
      const model = await load();
      const wrong = async (work: Promise<unknown>): Promise<string> =>
        work.then(
          () => "nothing",
          (e: Error) => `${e instanceof dskc.ModelError ? "ModelError" : e.name}: ${e.message}`,
        );
      const problems = [
        await wrong(model.generate("x", { temperature: -1 }).text()),
        await wrong(model.trainer("Long")),
        await wrong(model.generate(Array.from({ length: 70 }, () => 1)).text()),
        await wrong(load({ package: "/nowhere/" } as LoadOptions)),
      ];
      await model.close();
      return problems;
    });
    expect(got[0]).toMatch(/^ModelError: `temperature` is -1/);
    expect(got[1]).toMatch(/^ModelError: Pico has no training `Long`/);
    expect(got[2]).toMatch(/^ContextError: the context is 64 tokens/);
    expect(got[3]).toMatch(/^ModelError: http.*\/nowhere\/ is no package.*there is no/);
  });

  describe("weights over the network", () => {
    test("are fetched once and kept", async () => {
      expect(await fetches({}, [])).toEqual([undefined]);
      expect(await fetches()).toEqual([]);
      expect(await fetches({ cache: false })).toEqual([undefined]);
    });

    test("that are damaged are fetched anew once, and refused by name when they stay so", async () => {
      expect(await fetches({}, [{ flip: 9000 }])).toEqual([undefined, undefined]);
      const error = await failure([{ flip: 9000 }, { flip: 9000 }]);
      expect(error.is).toBe("ShardError");
      expect(error.message).toMatch(
        /^the shard `model.safetensors` is not the one that shards.json means: its SHA-256 is [0-9a-f]{64}, not [0-9a-f]{64}/,
      );
      // What was wrong is not kept.
      expect(await fetches({}, undefined, false)).toEqual([undefined]);
    });

    test("whose connection ends are gone on with where it ended", async () => {
      expect(await fetches({}, [{ cutAt: 5000 }, { cutAt: 3000 }])).toEqual([undefined, "bytes=5000-", "bytes=8000-"]);
      expect(await fetches()).toEqual([]);
      const error = await failure([{ cutAt: 7000 }, { cutAt: 0 }, { cutAt: 0 }, { cutAt: 0 }]);
      expect(error.message).toMatch(/^the shard `model.safetensors` stopped at byte 7000 of \d+: /);
      expect(await fetches({}, undefined, false)).toEqual(["bytes=7000-"]);
    });

    test("whose tab is closed meanwhile are no whole ones, and are gone on with later", async () => {
      await removed();
      server.faults.set(SHARD, [{ hangAt: 6000 }]);
      const tab = await openPage();
      const begun = tab.evaluate(
        () =>
          new Promise<void>((resolve) => {
            void load({ onProgress: ({ what, done }) => what === "fetching weights" && done > 0 && resolve() });
          }),
      );
      await begun;
      await tab.close();
      // What the server gave may have come in pieces, of which the tab saw the first one.
      const [range, ...more] = (await fetches({}, undefined, false)) as string[];
      const kept = Number(/^bytes=(\d+)-$/.exec(range!)?.[1]);
      expect(kept).toBeGreaterThan(0);
      expect(kept).toBeLessThanOrEqual(6000);
      expect(more).toEqual([]);
    });

    test("that the page has no room for are told", async () => {
      await removed();
      const session = await browser.context.newCDPSession(page);
      await session.send("Storage.overrideQuotaForOrigin", { origin: server.url, quotaSize: 5000 });
      const error = await failure([]);
      await session.send("Storage.overrideQuotaForOrigin", { origin: server.url });
      await session.detach();
      expect(error.is).toBe("ShardError");
      expect(error.message).toMatch(
        /^the shard `model.safetensors` of [\d,]+ bytes has no room in what this page may store/,
      );
    });

    test("may lie in a folder that the reader has chosen, where they are checked as well", async () => {
      const got = await page.evaluate(async () => {
        const root = await navigator.storage.getDirectory();
        const folder = await root.getDirectoryHandle("chosen", { create: true });
        const put = async (name: string, change?: (bytes: Uint8Array) => void): Promise<void> => {
          const bytes = new Uint8Array(await (await fetch(`/pico/weights/${name}`)).arrayBuffer());
          change?.(bytes);
          const file = await (await folder.getFileHandle(name, { create: true })).createWritable();
          await file.write(bytes);
          await file.close();
        };
        await put("model.safetensors");
        await put("shards.json");
        const model = await load({ weights: folder });
        const tokens = await model.generate("the sea", { temperature: 0, maxTokens: 12, ignoreEos: true }).tokens();
        await put("model.safetensors", (bytes) => bytes[9000]!++);
        const error = await model.load(folder).catch((e: unknown) => e);
        const same = await model.generate("the sea", { temperature: 0, maxTokens: 12, ignoreEos: true }).tokens();
        await model.close();
        return { tokens, same, known: error instanceof dskc.ShardError, message: (error as Error).message };
      });
      expect(got.tokens).toEqual(cpu.answers[0]);
      expect(got.same).toEqual(cpu.answers[0]);
      expect(got.known).toBe(true);
      expect(got.message).toMatch(/^the shard `model.safetensors` is not the one that shards.json means/);
    });

    test("are those of the index", () => {
      const index = JSON.parse(readFileSync(join(pico.directory, "weights", "shards.json"), "utf8")) as ShardIndex;
      const { size } = statSync(join(pico.directory, "weights", "model.safetensors"));
      expect(index.shards).toMatchObject([{ file: "model.safetensors", bytes: size }]);
    });
  });

  describe("a device", () => {
    test("that is missing is told, also without a worker", async () => {
      const got = await page.evaluate(async () => {
        const own = Object.getOwnPropertyDescriptor(Navigator.prototype, "gpu")!;
        const model = await load({ worker: false });
        const tokens = await model.generate("the sea", { temperature: 0, maxTokens: 12, ignoreEos: true }).tokens();
        await model.close();
        Object.defineProperty(Navigator.prototype, "gpu", { value: undefined, configurable: true });
        const error = await load({ worker: false }).catch((e: unknown) => e);
        Object.defineProperty(Navigator.prototype, "gpu", own);
        return { tokens, known: error instanceof dskc.NoGpuError, message: (error as Error).message };
      });
      expect(got.tokens).toEqual(cpu.answers[0]);
      expect(got).toMatchObject({ known: true, message: expect.stringMatching(/no WebGPU/) as string });
    });

    test("that is too small is told, with what would fit", async () => {
      const got = await page.evaluate(async () => {
        const error = await load({ cacheRows: 2 ** 30 }).catch((e: unknown) => e);
        if (!(error instanceof dskc.LimitError)) return undefined;
        return error.message;
      });
      expect(got).toMatch(
        /^1,073,741,824 rows of caches need [\d,]+ bytes, this adapter has at most [\d,]+ \(max\w+Size\): [\d,]+ rows fit$/,
      );
    });

    test("that is lost while it answers is told, and another one is had by loading again", async () => {
      const lost = page.evaluate(async () => {
        const model = await load();
        Object.assign(window, { begun: 0 });
        try {
          for (;;)
            for await (const _ of model.generate("the sea", { ignoreEos: true }))
              (window as unknown as { begun: number }).begun++;
        } catch (error) {
          await model.close();
          return error instanceof dskc.DeviceLostError ? error.message : String(error);
        }
      });
      await page.waitForFunction(() => (window as unknown as { begun?: number }).begun! > 2);
      const session = await browser.context.browser()!.newBrowserCDPSession();
      await session.send("Browser.crashGpuProcess" as never).catch(() => undefined);
      expect(await lost).toMatch(/^the GPU device was lost/);
      const tokens = await page.evaluate(async () => {
        const model = await load();
        const tokens = await model.generate("the sea", { temperature: 0, maxTokens: 12, ignoreEos: true }).tokens();
        await model.close();
        return tokens;
      });
      expect(tokens).toEqual(cpu.answers[0]);
    });
  });
});

async function openPage(): Promise<Page> {
  const opened = await browser.context.newPage();
  await opened.goto(`${server.url}/page/page/index.html`);
  await opened.waitForFunction(() => "load" in window);
  return opened;
}

async function onCpu(): Promise<OnCpu> {
  const model = await openPackage(pico.directory, { device: "cpu" });
  const options = { temperature: 0, maxTokens: 12, ignoreEos: true };
  const answers: number[][] = [];
  for (const prompt of PROMPTS) answers.push(await model.generate(prompt, options).tokens());
  const chat = await model.chat(CHAT, options).tokens();
  const { loss } = await model.score(ROWS);
  const trainer = await model.trainer("Short");
  const trained: number[] = [];
  for (let i = 0; i < 4; i++) trained.push((await trainer.step(ROWS)).loss);
  await model.close();
  return { answers, chat, loss, trained };
}

function removed(): Promise<void> {
  return page.evaluate(() => dskc.removeShards());
}

/** Loads the weights, from nothing unless told otherwise, and gives the ranges of the requests that it took. */
async function fetches(options: LoadOptions = {}, faults?: Fault[], anew = faults !== undefined): Promise<unknown[]> {
  if (anew) await removed();
  if (faults !== undefined) server.faults.set(SHARD, faults);
  server.requests.length = 0;
  await page.evaluate(async (given) => {
    const model = await load(given);
    await model.close();
  }, options);
  return server.requests.filter(({ path }) => path === SHARD).map(({ range }) => range);
}

async function failure(faults: Fault[]): Promise<{ readonly is: string; readonly message: string }> {
  await removed();
  server.faults.set(SHARD, faults);
  return page.evaluate(async () => {
    const error = await load().catch((e: unknown) => e);
    return { is: error instanceof dskc.ShardError ? "ShardError" : String(error), message: (error as Error).message };
  });
}

/** The page of examples/browser, built as its README says, with a model that is quick. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Browser, HAS_CHROMIUM, openChromium } from "../support/chromium.ts";
import { picoPackage } from "../support/pico-package.ts";
import { serveFolders, type StaticServer } from "../support/static-server.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const folder = mkdtempSync(join(tmpdir(), "dskc-browser-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe.skipIf(!HAS_CHROMIUM)("in Chromium", () => {
  let server: StaticServer;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    cpSync("examples/browser", folder, {
      recursive: true,
      filter: (path) => !/\/(node_modules|dist|model)$/.test(path),
    });
    // What `npm install` would do.
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(resolve("."), join(folder, "node_modules", "dskc"));
    symlinkSync(resolve("node_modules/vite"), join(folder, "node_modules", "vite"));
    const pico = picoPackage("--target", "webgpu");
    const model = join(folder, "public", "model");
    cpSync(pico.directory, model, { recursive: true });
    rmSync(pico.folder, { recursive: true });
    const run = (program: string, ...args: string[]): void => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [resolve("node_modules", program), ...args], {
        cwd: folder,
        encoding: "utf8",
      });
      expect(status, `${stdout}${stderr}`).toBe(0);
    };
    run("typescript/bin/tsc");
    run("vite/bin/vite.js", "build");
    server = await serveFolders({ page: join(folder, "dist") });
    browser = await openChromium();
    page = await browser.context.newPage();
  });

  afterAll(async () => {
    await browser?.close();
    server?.close();
  });

  const texts = (selector: string): Promise<string[]> => page.locator(selector).allTextContents();

  async function opened(): Promise<void> {
    await page.waitForSelector("#app:not([hidden])");
  }

  async function step(count: number): Promise<void> {
    await page.waitForFunction(
      (least) => Number.parseInt(document.getElementById("steps")!.textContent!) >= least,
      count,
      { timeout: 200_000 },
    );
  }

  test("it trains what has no weights yet, and draws the loss", async () => {
    await page.goto(`${server.url}/page/index.html`);
    await opened();
    expect(await texts("#name, #facts")).toEqual(["Pico", "in this browser, on WebGPU; context 64 tokens"]);
    // Nothing to answer with before that.
    await page.fill("#prompt", "hello");
    await page.press("#prompt", "Enter");
    await page.waitForSelector(".messages .wrong");
    expect((await texts(".messages:not([hidden]) li")).at(-1)).toMatch(/^Pico has no weights yet/);
    await page.fill("#text", "the sea is calm. the sea is rough. a lighthouse stands by the sea.");
    await page.click("#train");
    await step(6);
    await page.click("#train");
    await page.waitForFunction(() => document.getElementById("status")!.textContent!.startsWith("Answers are made"));
    const path = await page.getAttribute("#chart .raw", "d");
    const heights = [...path!.matchAll(/[ML][\d.]+ ([\d.]+)/g)].map(([, y]) => Number(y));
    expect(heights.length).toBeGreaterThanOrEqual(6);
    // Down on the page: the loss falls.
    expect(heights.at(-1)).toBeGreaterThan(heights[0]!);
  });

  test("it answers with what was learned", async () => {
    await page.click("#new");
    await page.fill("#prompt", "the sea");
    await page.click("#send");
    await page.waitForSelector(".messages .assistant:not(.busy):not(.wrong)");
    const [question, answer] = await texts(".messages:not([hidden]) li");
    expect(question).toBe("the sea");
    expect(answer!.length).toBeGreaterThan(0);
    expect(await texts("#speed")).toEqual([expect.stringMatching(/^[\d.]+ tokens\/s$/)]);
  });

  test("conversations are answered at the same time, also those that nobody looks at", async () => {
    const tabs = (): Promise<string[]> => texts("#tabs [role=tab]");
    expect(await tabs()).toEqual(["hello", "the sea"]);
    for (const text of ["a lighthouse", "the sea is", "rough"]) {
      await page.click("#new");
      await page.fill("#prompt", text);
      await page.press("#prompt", "Enter");
    }
    expect(await tabs()).toEqual(["hello", "the sea", "a lighthouse", "the sea is", "rough"]);
    // What is being written stays with its conversation.
    await page.fill("#prompt", "not sent");
    await page.click("#tabs .tab:nth-child(3) [role=tab]");
    expect(await page.inputValue("#prompt")).toBe("");
    await page.waitForFunction(
      () => document.querySelectorAll(".messages .assistant:not(.busy):not(.wrong)").length === 4,
    );
    expect((await texts(".messages:not([hidden]) li"))[0]).toBe("a lighthouse");
    await page.press("#tabs [aria-selected=true]", "ArrowLeft");
    expect((await texts(".messages:not([hidden]) li"))[0]).toBe("the sea");
    await page.click("#tabs .tab:nth-child(5) [role=tab]");
    expect(await page.inputValue("#prompt")).toBe("not sent");
    for (let left = 4; left >= 0; left--) {
      await page.click("#tabs .tab.open .close");
      expect((await tabs()).length).toBe(Math.max(left, 1));
    }
    expect(await tabs()).toEqual(["New"]);
    expect(await page.inputValue("#prompt")).toBe("");
  });

  test("no part of it is wider than a phone", async () => {
    for (const [width, height] of [
      [360, 740],
      [1280, 800],
    ] as const) {
      await page.setViewportSize({ width, height });
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    }
  });

  test("a device that is lost is told, and the model can be loaded again", async () => {
    await page.click("#train");
    await step(8);
    const session = await browser.context.browser()!.newBrowserCDPSession();
    await session.send("Browser.crashGpuProcess" as never).catch(() => undefined);
    await page.waitForSelector("#problem:not([hidden])");
    expect(await texts("#problem-title")).toEqual(["The graphics processor went away"]);
    await page.click("#reload");
    await opened();
    expect(await page.isVisible("#problem")).toBe(false);
  });

  test("what is no model is told, and a browser without WebGPU", async () => {
    await page.goto(`${server.url}/page/index.html?model=nowhere/`);
    await page.waitForSelector("#problem:not([hidden])");
    expect(await texts("#problem-title")).toEqual(["The model cannot be loaded"]);
    expect((await texts("#problem-detail"))[0]).toMatch(/nowhere\/ is no package/);
    const without = await openChromium(["--disable-features=WebGPU"]);
    const other = await without.context.newPage();
    await other.goto(`${server.url}/page/index.html`);
    await other.waitForSelector("#problem:not([hidden])");
    expect(await other.textContent("#problem-title")).toBe("This browser has no WebGPU");
    await without.close();
  });
});

/** The commands and files of docs/golden-tests.md, in their order, in a project of their own. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { PICO } from "../support/pico-package.ts";

// Kernels are compiled here when nobody did it before.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const page = readFileSync("docs/golden-tests.md", "utf8");
const blocks = [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map((m) => ({ language: m[1]!, text: m[2]! }));
const folder = mkdtempSync(join(tmpdir(), "dskc-golden-"));
const inFolder = (...path: string[]): string => join(folder, ...path);

beforeAll(() => {
  writeFileSync(inFolder("model.dsk"), PICO);
  writeFileSync(inFolder("package.json"), JSON.stringify({ name: "project", private: true, type: "module" }));
  mkdirSync(inFolder("tests"));
  mkdirSync(inFolder("node_modules/.bin"), { recursive: true });
  symlinkSync(resolve("bin/dskc.js"), inFolder("node_modules/.bin/dskc"));
  symlinkSync(resolve("node_modules/.bin/vitest"), inFolder("node_modules/.bin/vitest"));
  symlinkSync(resolve("node_modules/vitest"), inFolder("node_modules/vitest"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(commands: string): { readonly status: number | null; readonly output: string } {
  // What this run is told about itself is not for the one inside.
  const own = Object.entries(process.env).filter(([name]) => !/^(VITEST|NODE_ENV|TEST|CI$|npm_)/.test(name));
  const env = { ...Object.fromEntries(own), NO_COLOR: "1" };
  const { status, stdout, stderr } = spawnSync("sh", ["-ec", commands], { cwd: folder, encoding: "utf8", env });
  return { status, output: stdout + stderr };
}

const shell = blocks.filter(({ language }) => language === "sh").map(({ text }) => text);
const [build, check, vitest, update] = shell;

test("every command of the page works as it stands there", () => {
  expect(shell).toHaveLength(4);
  writeFileSync(inFolder("tests/package.test.ts"), blocks.find(({ language }) => language === "ts")!.text);
  for (const commands of shell.slice(0, 3)) {
    const { status, output } = run(commands);
    expect(status, `${output}`).toBe(0);
  }
  expect(readFileSync(inFolder("tests/decode.txt"), "utf8")).toContain("program @decode");
  expect(blocks.find(({ language }) => language === "yaml")!.text).toContain(check!.trim());
});

test("what may be ignored is all that is not text", () => {
  run("git init -q .");
  writeFileSync(inFolder(".gitignore"), blocks.find(({ language }) => language === "gitignore")!.text);
  const { output } = run("git ls-files --others --exclude-standard package");
  const files = output.trim().split("\n");
  expect(files.filter((file) => !/\.(json|ts|js|cc|h)$/.test(file))).toEqual([]);
  expect(files).toContain("package/program.json");
});

test("a changed model fails in both ways, in the form that the page shows, until it is built anew", () => {
  writeFileSync(inFolder("model.dsk"), PICO.replaceAll("F: 6", "F: 7"));
  const checked = run(check!);
  expect(checked.status).toBe(1);
  const shown = blocks.find(({ language }) => language === "text")!.text.split("\n");
  expect(checked.output.split("\n")[0]).toBe(shown[0]);
  expect(checked.output).toContain(shown[1]!);
  const tested = run(vitest!);
  expect(tested.status).not.toBe(0);
  expect(tested.output).toMatch(/2 failed/);
  const { status, output } = run(update!);
  expect(status, `${output}`).toBe(0);
  expect(run(check! + vitest!).status).toBe(0);
  expect(build).toBe(update!.split("\n")[0] + "\n");
});

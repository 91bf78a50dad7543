/** The example as somebody who follows its README has it, on fewer texts and for fewer steps. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

// Kernels are compiled here when nobody did it before.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const root = mkdtempSync(join(tmpdir(), "dskc-writer-"));
const folder = join(root, "examples", "writer");
afterAll(() => rmSync(root, { recursive: true }));

beforeAll(() => {
  cpSync("examples/writer", folder, {
    recursive: true,
    filter: (path) => !/\/(model|out|runs|node_modules)$/.test(path),
  });
  mkdirSync(join(root, "docs"));
  for (const name of readdirSync("docs")
    .filter((file) => file.endsWith(".md"))
    .slice(0, 6))
    cpSync(join("docs", name), join(root, "docs", name));
  const spec = join(folder, "model.dsk");
  writeFileSync(spec, readFileSync(spec, "utf8").replace("= 1_500 steps", "= 12 steps"));
  // What `npm install` would do.
  const link = (path: string, to: string): void => symlinkSync(resolve(to), join(folder, "node_modules", path));
  for (const made of [".bin", "@types"]) mkdirSync(join(folder, "node_modules", made), { recursive: true });
  link("dskc", ".");
  link(".bin/dskc", "bin/dskc.js");
  link(".bin/tsc", "node_modules/.bin/tsc");
  link("@types/node", "node_modules/@types/node");
});

function npm(script: string, input = ""): { readonly stdout: string; readonly stderr: string } {
  const { status, stdout, stderr } = spawnSync("npm", ["run", "--silent", script], {
    cwd: folder,
    encoding: "utf8",
    input,
  });
  expect(status, `${stdout}${stderr}`).toBe(0);
  return { stdout, stderr };
}

test("its commands build, check, train and write", () => {
  const readme = readFileSync(join(folder, "README.md"), "utf8");
  expect([...readme.matchAll(/npm (?:run )?(\w+)/g)].map((m) => m[1])).toEqual([
    "install",
    "model",
    "build",
    "train",
    "start",
  ]);
  npm("model");
  npm("build");
  const { stderr } = npm("train");
  expect(stderr).toMatch(/^a tokenizer of 1,024 tokens is learned from the data\ndata: [\d,]+ tokens/);
  expect(stderr).toMatch(/step 12: loss \d\.\d\d\n$/);
  const { stdout } = npm("start", "The gradient of\nA package\n");
  const [first, second] = stdout.split("A package");
  expect(first!.startsWith("The gradient of")).toBe(true);
  expect(first!.length).toBeGreaterThan(40);
  expect(second!.length).toBeGreaterThan(20);
});

/** The programs of docs/packages.md check against the package that they speak of. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { expect, test } from "vitest";
import { loadModel } from "../../compiler/cli/load-model.ts";
import { executable, packageSource } from "../../compiler/cli/package-source.ts";
import { saveTokenizer } from "../../runtime/data/tokenizer/load.ts";
import { tinyTokenizerFiles } from "../support/tiny-tokenizer.ts";

test("the programs of the page are sound", () => {
  const folder = mkdtempSync(join(tmpdir(), "dskc-pages-"));
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  const page = readFileSync("docs/packages.md", "utf8");
  const programs = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map((m) => m[1]!);
  expect(programs.length).toBeGreaterThanOrEqual(4);
  const inBrowser = [...readFileSync("docs/browser.md", "utf8").matchAll(/^```ts\n(.*?)^```$/gms)].map((m) => m[1]!);
  expect(inBrowser.length).toBeGreaterThanOrEqual(3);
  programs.push(...inBrowser);
  programs.forEach((text, i) => write(`program${i}.ts`, text));
  const imports = JSON.parse(/^```json\n(.*?)^```$/ms.exec(page)![1]!) as object;
  write("package.json", JSON.stringify({ type: "module", ...imports }));

  const tokenizer = join(folder, "tokenizer");
  saveTokenizer(tokenizer, tinyTokenizerFiles());
  const loaded = loadModel("specs/quickstart.dsk", undefined)!;
  const { files } = packageSource(loaded, { ...executable(loaded), splits: false, tokenizer, browser: true });
  for (const [path, text] of files!) write(`tiny/${path}`, text);
  mkdirSync(join(folder, "node_modules/@types"), { recursive: true });
  symlinkSync(resolve("."), join(folder, "node_modules/dskc"));
  symlinkSync(resolve("node_modules/@types/node"), join(folder, "node_modules/@types/node"));
  const options = ["--noEmit", "--strict", "--target", "es2023", "--module", "nodenext", "--types", "node"];
  const args = [resolve("node_modules/typescript/bin/tsc"), ...options, ...programs.map((_, i) => `program${i}.ts`)];
  const { stdout } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
  expect(stdout).toBe("");
  rmSync(folder, { recursive: true });
});

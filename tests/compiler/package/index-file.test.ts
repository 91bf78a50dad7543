import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { loadModel } from "../../../compiler/cli/load-model.ts";
import { executable, packageSource } from "../../../compiler/cli/package-source.ts";
import { saveTokenizer } from "../../../runtime/data/tokenizer/load.ts";
import { PICO } from "../../support/pico-package.ts";
import { tinyTokenizerFiles } from "../../support/tiny-tokenizer.ts";

const folder = mkdtempSync(join(tmpdir(), "dskc-index-"));

function indexOf(spec: string, tokenizer?: string): string {
  const loaded = loadModel(spec, undefined)!;
  return packageSource(loaded, { ...executable(loaded), splits: false, tokenizer }).files!.get("index.ts")!;
}

test("index.ts has the names of the model", () => {
  writeFileSync(join(folder, "pico.dsk"), PICO);
  saveTokenizer(join(folder, "tokenizer"), tinyTokenizerFiles());
  const path = "tests/golden/pico/index.ts";
  const text = indexOf(join(folder, "pico.dsk"), join(folder, "tokenizer"));
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(path, text);
  expect(readFileSync(path, "utf8")).toBe(text);
});

test("index.ts of every spec checks", () => {
  const specs = readdirSync("specs").filter((name) => name.endsWith(".dsk"));
  expect(specs.length).toBeGreaterThan(15);
  const files = specs.map((name) => {
    const file = `${name.replace(".dsk", "")}.ts`;
    writeFileSync(join(folder, file), indexOf(join("specs", name)));
    return file;
  });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  mkdirSync(join(folder, "node_modules/@types"), { recursive: true });
  symlinkSync(resolve("."), join(folder, "node_modules/dskc"));
  symlinkSync(resolve("node_modules/@types/node"), join(folder, "node_modules/@types/node"));
  const options = [
    "--noEmit",
    "--strict",
    "--exactOptionalPropertyTypes",
    "--target",
    "es2023",
    "--module",
    "nodenext",
  ];
  const tsc = resolve("node_modules/typescript/bin/tsc");
  const args = [tsc, ...options, "--types", "node", ...files];
  expect(spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" }).stdout).toBe("");
  rmSync(folder, { recursive: true });
});

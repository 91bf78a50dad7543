/**
 * What lowering and the CPU target make of DeepSeek-V3 in miniature, as files to read: the kernel IR of a step of generation
 * and of scoring with gradients, and the C++ of the kernels of generation. `npm run golden` writes them anew.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";
import { scoreProgram } from "../../compiler/elaborate/score.ts";
import { serveProgram } from "../../compiler/elaborate/serve.ts";
import { printKernels } from "../../compiler/kernel-ir/print.ts";
import { KERNEL_FLAGS, lowered } from "../../compiler/package/package.ts";
import { printCpu } from "../../compiler/targets/cpu/print.ts";
import { tinyV3 } from "../support/tiny-v3.ts";

const folder = resolve(import.meta.dirname, "tiny-v3");
const scratch = mkdtempSync(join(tmpdir(), "dskc-golden-"));

afterAll(() => rmSync(scratch, { recursive: true }));

const { module } = tinyV3();
const decode = lowered([serveProgram(module, "decode")]);
const score = lowered([scoreProgram(module, { gradients: true })]);
const code = printCpu(decode.kernels);
const files = new Map([
  ["decode.kernels", printKernels(decode)],
  ["score.kernels", printKernels(score)],
  ...[...code].filter(([name]) => isGenerated(name)).map(([name, text]) => [`cpu/${name}`, text] as const),
]);

/** Not of the library, which every package has as it stands in `templates/`. */
function isGenerated(name: string): boolean {
  return name === "table.cc" || decode.kernels.some((kernel) => name === `${kernel.name}.cc`);
}

function onDisk(): string[] {
  return existsSync(folder)
    ? readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => /\.(cc|kernels)$/.test(name))
    : [];
}

test("expected files are there, each of them, and no others", () => {
  if (process.env["UPDATE_GOLDEN"] === "1") {
    rmSync(folder, { recursive: true, force: true });
    for (const [name, text] of files) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
  }
  expect(files.size).toBeGreaterThan(25);
  expect(onDisk().toSorted()).toEqual([...files.keys()].toSorted());
});

test.each([...files.keys()])("%s", (name) => {
  expect(files.get(name)).toBe(readFileSync(join(folder, name), "utf8"));
});

test("the compiler takes every expected file, without a warning", () => {
  for (const [name, text] of code) if (!isGenerated(name)) writeFileSync(join(scratch, name), text);
  const library = readdirSync(scratch).map((name) => join(scratch, name));
  const sources = [...onDisk().map((name) => join(folder, name)), ...library].filter((path) => path.endsWith(".cc"));
  const flags = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused", "-Wno-unused-parameter", `-I${scratch}`];
  for (const path of sources) {
    const args = [...flags, "-Werror", ...KERNEL_FLAGS, path];
    execFileSync(process.env["CXX"] ?? "g++", args, { stdio: "pipe" });
  }
  expect(sources.length).toBeGreaterThan(25);
}, 120_000);

/**
 * What lowering and the targets make of DeepSeek-V3 in miniature, as files to read: the kernel IR of a step of generation
 * and of scoring with gradients, and the C++, the WGSL and the CUDA of the kernels of generation; and of those what is other with weights as
 * codes and caches in bf16. `npm run golden` writes them anew.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";
import { scoreProgram } from "../../compiler/elaborate/score.ts";
import { serveProgram } from "../../compiler/elaborate/serve.ts";
import { trainStepProgram } from "../../compiler/elaborate/train-step.ts";
import { printKernels } from "../../compiler/kernel-ir/print.ts";
import type { KernelModule } from "../../compiler/kernel-ir/types.ts";
import { KERNEL_FLAGS, lowered, loweredSource, type PackageSource } from "../../compiler/package/package.ts";
import { printCpu } from "../../compiler/targets/cpu/print.ts";
import { printCuda } from "../../compiler/targets/cuda/print.ts";
import { printWebGpu } from "../../compiler/targets/webgpu/print.ts";
import { requestDawn } from "../../runtime/device/dawn/gpu.ts";
import { HAS_WEBGPU } from "../support/on-webgpu.ts";
import { tinyV3 } from "../support/tiny-v3.ts";

const folder = resolve(import.meta.dirname, "tiny-v3");
const scratch = mkdtempSync(join(tmpdir(), "dskc-golden-"));

afterAll(() => rmSync(scratch, { recursive: true }));

const model = tinyV3();
const { module } = model;
const training = model.training();
const decode = lowered([serveProgram(module, "decode")]);
const score = lowered([scoreProgram(module, { gradients: true })]);
const code = printCpu(decode.kernels);
const files = new Map([
  ["decode.kernels", printKernels(decode)],
  ["score.kernels", printKernels(score)],
  ...[...code].filter(([name]) => isGenerated(name, decode)).map(([name, text]) => [`cpu/${name}`, text] as const),
  ...[...printWebGpu(decode.kernels)].map(([name, text]) => [`webgpu/${name}`, text] as const),
  ...[...printCuda(decode.kernels)]
    .filter(([name]) => !name.endsWith(".cuh"))
    .map(([name, text]) => [`cuda/${name}`, text] as const),
  // Groups of 24 divide no dim of the model.
  ...stored("int8", { store: { kind: "int8", group: 24 } }),
  ...stored("int4-bf16", { store: { kind: "int4", group: 16 }, caches: "bf16" }),
]);

/** Not of the library, which every package has as it stands in `templates/`. */
function isGenerated(name: string, { kernels }: KernelModule): boolean {
  return name === "table.cc" || kernels.some((kernel) => name === `${kernel.name}.cc`);
}

/** Kernels of generation that weights and caches in other forms make others. */
function stored(name: string, forms: Pick<PackageSource, "store" | "caches">): [string, string][] {
  const all = loweredSource({ programs: [serveProgram(module, "decode")], ...forms });
  const text = (one: KernelModule["kernels"][number]): string => printKernels({ kernels: [one], programs: [] });
  const known = new Set(decode.kernels.map(text));
  const kernels = all.kernels.filter((kernel) => !known.has(text(kernel)));
  const others = { kernels, programs: [] };
  const sources = [...printCpu(kernels)].filter(([file]) => file !== "table.cc" && isGenerated(file, others));
  return [
    [`${name}.kernels`, printKernels(others)],
    ...sources.map(([file, source]): [string, string] => [`${name}/${file}`, source]),
  ];
}

function onDisk(): string[] {
  return existsSync(folder)
    ? readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => /\.(cc|kernels|wgsl|cu|json)$/.test(name))
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
  expect(files.size).toBeGreaterThan(40);
  expect(onDisk().toSorted()).toEqual([...files.keys()].toSorted());
});

test.each([...files.keys()])("%s", (name) => {
  expect(files.get(name)).toBe(readFileSync(join(folder, name), "utf8"));
});

test("the compiler takes every expected file, without a warning", () => {
  for (const [name, text] of code) if (!isGenerated(name, decode)) writeFileSync(join(scratch, name), text);
  const library = readdirSync(scratch).map((name) => join(scratch, name));
  const sources = [...onDisk().map((name) => join(folder, name)), ...library].filter((path) => path.endsWith(".cc"));
  const flags = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused", "-Wno-unused-parameter", `-I${scratch}`];
  for (const path of sources) {
    const args = [...flags, "-Werror", ...KERNEL_FLAGS, path];
    execFileSync(process.env["CXX"] ?? "g++", args, { stdio: "pipe" });
  }
  expect(sources.length).toBeGreaterThan(40);
}, 120_000);

test.skipIf(!HAS_WEBGPU)("Dawn takes every expected file, and what scoring with gradients and training add", async () => {
  const device = await requestDawn();
  const step = trainStepProgram(training.module, {
    objective: [{ loss: "next_token", weight: 1 }],
    clip: 1,
    optimizer: (type) => training.optimizer("AdamW", new Map(), type)!,
  });
  const more = printWebGpu([...score.kernels, ...lowered([step]).kernels]);
  const texts = [...onDisk().map((name) => [name, readFileSync(join(folder, name), "utf8")] as const), ...more].filter(
    ([name]) => name.endsWith(".wgsl"),
  );
  const said: string[] = [];
  for (const [name, text] of texts) {
    const { messages } = await device.createShaderModule({ code: text }).getCompilationInfo();
    said.push(...messages.map(({ lineNum, message }) => `${name}:${lineNum} ${message}`));
  }
  device.destroy();
  expect(said).toEqual([]);
  expect(texts.length).toBeGreaterThan(100);
}, 120_000);

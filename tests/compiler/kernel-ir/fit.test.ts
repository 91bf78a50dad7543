import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../../compiler/elaborate/score.ts";
import type { Capability } from "../../../compiler/kernel-ir/capability.ts";
import { misfits } from "../../../compiler/kernel-ir/fit.ts";
import { parseKernels } from "../../../compiler/kernel-ir/parse.ts";
import type { KernelModule } from "../../../compiler/kernel-ir/types.ts";
import { verifyKernels } from "../../../compiler/kernel-ir/verify.ts";
import { lowered } from "../../../compiler/package/package.ts";
import { servingPrograms } from "../../../compiler/package/programs.ts";
import { CPU } from "../../../compiler/targets/cpu/capability.ts";
import { CUDA } from "../../../compiler/targets/cuda/capability.ts";
import { webGpu } from "../../../compiler/targets/webgpu/capability.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";

const GPU = webGpu({ subgroups: false, f16: false, timestamps: false });
const SIZES = { T: 512, S: 512, B: 8 };

const KERNELS = `kernel @rows_add rows extents [S, T] {
  read x: f64[T, 16]
  write y: bf16[T, 16]
  local a: f32[S]
  local b: f32[64, 256]
  rows (T)
  for (S) a[S] = f32(x[T, 0])
  for (D < 16) y[T, D] = (f32(x[T, D]) + b[0, 0])
}

kernel @plane_sum plane extents [S, T] {
  read x: f32[T, 16]
  write y: f32[T]
  local a: f32[S]
  batch () rows (T) column (S)
  enter a = sum (D < 16) x[T, D] @ x[S, D]
  y[T] = sum over (S) a[S]
}

kernel @columns_sum columns extents [T] {
  read x: f32[T, 16]
  read w: f32[65536, 1024]
  write y: f32[16]
  columns (D < 16) over (T)
  y[D] = sum (x[T, D] * w[0, D])
}

program @p dims [S, T] {
  #0 input "x": f64[T, 16]
  #1 output "y": bf16[T, 16]
  #2 temp "t.1": f32[T, 16]
  #3 temp "t.2": f32[16]
  #4 param "w": f32[65536, 1024]
  @rows_add(#0, #1) [S, T]
  @columns_sum(#2, #4, #3) [T]
}
`;

const with_ = (changes: Partial<Capability>): string[] =>
  misfits(parseKernels(KERNELS), { ...CPU, ...changes, target: "it" }, { S: 8, T: 1024 });

describe("what does not fit a target, and why", () => {
  test.each<[string, Partial<Capability>, string[]]>([
    ["all of it fits the CPU", {}, []],
    ["a family", { families: ["rows", "columns"] }, ["@plane_sum: there is no family plane"]],
    ["buffers", { bindings: 2 }, ["@columns_sum: 3 buffers, and 2 can be bound"]],
    ["temps are one buffer where the arena is", { bindings: 2, arenaIsOne: true }, []],
    ["what is written", { stored: ["f32"] }, ["@rows_add: y is written as bf16"]],
    ["what is computed in", { computed: ["f32", "index"] }, ["@rows_add: computes in f64"]],
    [
      "locals of a size of the call, but for planes",
      { runTimeLocals: false },
      ["@rows_add: the local a has a size of the call"],
    ],
    ["locals", { itemBytes: 65_535 }, ["@rows_add: locals of 65536 bytes, and an item has 65535"]],
    ["a param", { largestBinding: 2 ** 28 - 1 }, ["param w has 268435456 bytes, and a kernel of it sees 268435455"]],
    [
      "an input, and the arena",
      { largestBinding: 65_599, arenaIsOne: true },
      [
        "@p: the arena has 65600 bytes, and a kernel of it sees 65599",
        "@p: input x has 131072 bytes, and a kernel of it sees 65599",
        "param w has 268435456 bytes, and a kernel of it sees 65599",
      ],
    ],
  ])("%s", (_, changes, wanted) => expect(with_(changes).toSorted()).toEqual(wanted.toSorted()));
});

const SPECS = ["specs/quickstart.dsk", "tests/fixtures/deepseek-v3-tiny.dsk", "specs/blocks/sparse-mla.dsk"];

function programsOf(path: string): Program[] {
  const [model] = checkFile({ path, text: readFileSync(path, "utf8") }, new Diagnostics()).models.values();
  return [...servingPrograms(model!.module), scoreProgram(model!.module, { gradients: true })];
}

describe("a WebGPU device runs what the CPU runs", () => {
  test.each(SPECS)("%s", (path) => {
    const programs = programsOf(path);
    for (const caches of [undefined, "bf16"] as const)
      expect(misfits(lowered(programs, { caches }), GPU, SIZES)).toEqual([]);
  });
});

describe("a target with little memory for each item, and whose temps are buffers, can be lowered for", () => {
  const cramped: Capability = { ...GPU, itemBytes: 32 * 1024, runTimeLocals: false };
  test.each(SPECS)("%s", (path) => {
    const programs = programsOf(path);
    const sound = (target: Capability): KernelModule => {
      const module = lowered(programs, { target });
      expect(verifyKernels(module)).toEqual([]);
      return module;
    };
    expect(misfits(sound(cramped), cramped, SIZES)).toEqual([]);
    // What is no plane can be taken apart until it fits.
    const apart: Capability = { ...cramped, arenaIsOne: false };
    const left = misfits(sound(apart), apart, SIZES);
    expect(left.filter((why) => !/^@plane_\w+: \d+ buffers/.test(why))).toEqual([]);
    expect(misfits(sound(CPU), apart, SIZES).length).toBeGreaterThan(left.length);
  });
});

test("a GPU of CUDA runs what is lowered for the CPU", () => {
  const path = "specs/quickstart.dsk";
  const [model] = checkFile({ path, text: readFileSync(path, "utf8") }, new Diagnostics()).models.values();
  const programs = [...servingPrograms(model!.module), scoreProgram(model!.module, { gradients: true })];
  expect(misfits(lowered(programs), CUDA, SIZES)).toEqual([]);
  expect(misfits(parseKernels(KERNELS), CUDA, { S: 8, T: 1024 })).toEqual([]);
});

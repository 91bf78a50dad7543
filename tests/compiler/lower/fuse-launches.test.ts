/** Independent kernels in one launch: which ones, and that values stay the same, to the bit on the CPU. */
import { describe, expect, test } from "vitest";
import { verifyKernels } from "../../../compiler/kernel-ir/verify.ts";
import { parseKernels } from "../../../compiler/kernel-ir/parse.ts";
import { printKernels } from "../../../compiler/kernel-ir/print.ts";
import type { KernelModule } from "../../../compiler/kernel-ir/types.ts";
import type { Fusion } from "../../../compiler/lower/fusions.ts";
import { lowerPrograms } from "../../../compiler/lower/lower.ts";
import { CPU } from "../../../compiler/targets/cpu/capability.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import type { Elements } from "../../../runtime/device/session.ts";
import { onCpu } from "../../support/on-cpu.ts";
import { HAS_WEBGPU, onWebGpu } from "../../support/on-webgpu.ts";

const EXPERTS = 4;

/** A router beside two products of the same rows, a choice beside a product, experts, and what is added up at the end. */
function layer(name: string): Program {
  return parseProgram(`program @${name}
dims { T = ?, D = 40, F = 24, G = 70, E = ${EXPERTS}, K = 2 }
{
  %0 x: f32[T, D] = program.input {name = "x"}
  %1: f32[D, E] = program.input {name = "router"}
  %2: f32[D, F] = program.input {name = "gate"}
  %3: f32[D, G] = program.input {name = "wide"}
  %4: f32[E, D, F] = program.input {name = "experts"}
  %5 logits: f32[T, E] = tensor.contract %0, %1
  %6 gate: f32[T, F] = tensor.contract %0, %2
  %7 wide: f32[T, G] = tensor.contract %0, %3
  %8 chosen: i32[T, K] = tensor.top_k %5 {dim = "E", to = "K"}
  %9 square: f32[T, G] = math.square %7
  %10 sum: f32[T] = tensor.reduce %9 {kind = "sum"}
  %11 mixed: f32[T, K, F] = moe.contract %0, %4, %8 {experts = "E"}
  program.output %6 {name = "gate"}
  program.output %7 {name = "wide"}
  program.output %8 {name = "chosen"}
  program.output %10 {name = "sum"}
  program.output %11 {name = "mixed"}
}
`);
}

function lowered(name: string, ...without: readonly Fusion[]): KernelModule {
  const module = lowerPrograms([layer(name)], { without: new Set(without) });
  expect(verifyKernels(module)).toEqual([]);
  return module;
}

function families({ kernels, programs }: KernelModule): string[] {
  const byName = new Map(kernels.map((kernel) => [kernel.name, kernel]));
  return programs[0]!.launches.map(({ kernel }) => {
    const found = byName.get(kernel)!;
    return found.family === "parts" ? found.parts.map(({ family }) => family).join(" | ") : found.family;
  });
}

test("what needs nothing of each other is one launch, where calls have few rows", () => {
  expect(families(lowered("decode"))).toEqual(["gemm | gemm | gemm", "rows", "gemm"]);
});

test("every kernel has its own launch without it, and where calls have many rows", () => {
  const apart = ["gemm", "gemm", "gemm", "rows", "gemm"];
  expect(families(lowered("decode", "fuse-launches"))).toEqual(apart);
  expect(families(lowered("prefill"))).toEqual(apart);
});

test("a target without kernels of parts gets none", () => {
  const families = CPU.families.filter((family) => family !== "parts");
  const { kernels } = lowerPrograms([layer("decode")], { target: { ...CPU, families } });
  expect(kernels.map(({ family }) => family)).not.toContain("parts");
});

test("buffers have one name in all parts, and text is read back", () => {
  const module = lowered("decode");
  const [first] = module.kernels;
  expect(first!.args.map(({ name }) => name)).toEqual(["x", "router", "logits", "gate", "gate_2", "wide", "wide_2"]);
  expect(parseKernels(printKernels(module))).toEqual(module);
});

function inputsOf(tokens: number): Record<string, Float32Array> {
  const draw = (count: number, seed: number): Float32Array =>
    Float32Array.from({ length: count }, (_, i) => Math.fround(Math.sin(i * 12.9898 + seed) * 0.9));
  return {
    x: draw(tokens * 40, 1),
    router: draw(40 * EXPERTS, 2),
    gate: draw(40 * 24, 3),
    wide: draw(40 * 70, 4),
    experts: draw(EXPERTS * 40 * 24, 5),
  };
}

describe.each([1, 3, 70])("%i rows", (tokens) => {
  const call = { program: "decode", sizes: { T: tokens }, inputs: inputsOf(tokens) };
  const apart = async (): Promise<Readonly<Record<string, Elements>>> => {
    const session = await onCpu([layer("decode")], {}, { without: new Set(["fuse-launches"] as const) });
    const values = await session.run(call);
    session.close();
    return values;
  };

  test("on the CPU, to the bit, with one thread and with two", { timeout: 120_000 }, async () => {
    const want = await apart();
    for (const threads of [1, 2]) {
      const session = await onCpu([layer("decode")], { threads });
      const got = await session.run(call);
      session.close();
      for (const name of Object.keys(want)) expect([threads, name, got[name]]).toEqual([threads, name, want[name]]);
    }
  });

  test.skipIf(!HAS_WEBGPU)("on WebGPU", { timeout: 120_000 }, async () => {
    const session = await onWebGpu([layer("decode")]);
    const got = await session.run(call);
    session.close();
    for (const [name, values] of Object.entries(await apart())) {
      const worst = Math.max(...Array.from(values, (x, i) => Math.abs(got[name]![i]! - x) / Math.max(1, Math.abs(x))));
      expect([name, worst < 1e-5]).toEqual([name, true]);
    }
  });
});

/** Norms in the products that read them: which ones, and that values stay the same. */
import { describe, expect, test } from "vitest";
import { parseKernels } from "../../../compiler/kernel-ir/parse.ts";
import { printKernels } from "../../../compiler/kernel-ir/print.ts";
import type { KernelModule } from "../../../compiler/kernel-ir/types.ts";
import { verifyKernels } from "../../../compiler/kernel-ir/verify.ts";
import type { Fusion } from "../../../compiler/lower/fusions.ts";
import { lowerPrograms } from "../../../compiler/lower/lower.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import type { Elements } from "../../../runtime/device/session.ts";
import { onCpu } from "../../support/on-cpu.ts";
import { HAS_WEBGPU, onWebGpu } from "../../support/on-webgpu.ts";

/** A product, a norm of its rows with a weight, and two products of what that gives. */
function layer(name: string, more = ""): Program {
  return parseProgram(`program @${name}
dims { T = ?, D = 40, Q = 52, F = 24, G = 70 }
{
  %0 x: f32[T, D] = program.input {name = "x"}
  %1: f32[D, Q] = program.input {name = "down"}
  %2: f32[Q] = program.input {name = "weight"}
  %3: f32[Q, F] = program.input {name = "up"}
  %4: f32[Q, G] = program.input {name = "wide"}
  %5: f32[T, Q] = tensor.contract %0, %1
  %6: f32[T, Q] = math.square %5
  %7: f32[T] = tensor.reduce %6 {kind = "sum"}
  %8: f32[T] = math.rsqrt %7
  %9: f32[T, Q] = tensor.broadcast %8
  %10: f32[T, Q] = math.mul %5, %9
  %11: f32[T, Q] = tensor.broadcast %2
  %12 normed: f32[T, Q] = math.mul %10, %11
  %13 up: f32[T, F] = tensor.contract %12, %3
  %14 wide: f32[T, G] = tensor.contract %12, %4
  program.output %13 {name = "up"}
  program.output %14 {name = "wide"}
${more}}
`);
}

function lowered(program: Program, ...without: readonly Fusion[]): KernelModule {
  const module = lowerPrograms([program], { without: new Set([...without, "fuse-launches"] as const) });
  expect(verifyKernels(module)).toEqual([]);
  return module;
}

function families({ kernels, programs }: KernelModule): string[] {
  const byName = new Map(kernels.map((kernel) => [kernel.name, kernel]));
  return programs[0]!.launches.map(({ kernel }) => {
    const found = byName.get(kernel)!;
    return found.family === "gemm" && found.prologue !== undefined ? "row, gemm" : found.family;
  });
}

test("products compute the norm that they read", () => {
  const module = lowered(layer("decode"));
  expect(families(module)).toEqual(["gemm", "row, gemm", "row, gemm"]);
  const text = printKernels(module);
  expect(text).toMatch(
    /^ {2}row (\w+)\[\] = sum over \(Q < 52\) square\(\w+\[T, Q\]\)\n {2}row (\w+)\[\] = rsqrt\(\1\[\]\)\n/m,
  );
  expect(parseKernels(text)).toEqual(module);
});

test("apart without it, and where calls have many rows", () => {
  const apart = ["gemm", "rows", "gemm", "gemm"];
  expect(families(lowered(layer("decode"), "fuse-prologues"))).toEqual(apart);
  expect(families(lowered(layer("prefill")))).toEqual(apart);
});

test("what something else reads, too, is stored beside", () => {
  const kept = layer("decode", '  program.output %12 {name = "normed"}\n');
  expect(families(lowered(kept)).toSorted()).toEqual(["gemm", "row, gemm", "row, gemm", "rows"]);
});

function inputsOf(tokens: number): Record<string, Float32Array> {
  const draw = (count: number, seed: number): Float32Array =>
    Float32Array.from({ length: count }, (_, i) => Math.fround(Math.sin(i * 12.9898 + seed) * 0.9));
  return {
    x: draw(tokens * 40, 1),
    down: draw(40 * 52, 2),
    weight: draw(52, 3),
    up: draw(52 * 24, 4),
    wide: draw(52 * 70, 5),
  };
}

describe.each([1, 3, 70])("%i rows", (tokens) => {
  const call = { program: "decode", sizes: { T: tokens }, inputs: inputsOf(tokens) };
  const apart = async (): Promise<Readonly<Record<string, Elements>>> => {
    const session = await onCpu([layer("decode")], {}, { without: new Set(["fuse-prologues"] as const) });
    const values = await session.run(call);
    session.close();
    return values;
  };
  const compare = (got: Readonly<Record<string, Elements>>, want: Readonly<Record<string, Elements>>): void => {
    for (const [name, values] of Object.entries(want)) {
      const worst = Math.max(...Array.from(values, (x, i) => Math.abs(got[name]![i]! - x)));
      expect([name, worst < 1e-5]).toEqual([name, true]);
    }
  };

  test("on the CPU", { timeout: 120_000 }, async () => {
    const session = await onCpu([layer("decode")]);
    const got = await session.run(call);
    // A row has the same bits whatever else is in the call.
    const alone = await session.run({
      ...call,
      sizes: { T: 1 },
      inputs: { ...call.inputs, x: call.inputs["x"]!.subarray(0, 40) },
    });
    session.close();
    compare(got, await apart());
    for (const [name, values] of Object.entries(alone)) expect(values).toEqual(got[name]!.slice(0, values.length));
  });

  test.skipIf(!HAS_WEBGPU)("on WebGPU", { timeout: 120_000 }, async () => {
    const session = await onWebGpu([layer("decode")]);
    const got = await session.run(call);
    session.close();
    compare(got, await apart());
  });
});

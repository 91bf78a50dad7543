/** What each fusion makes of a program, and that values are the same without it. */
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../../compiler/elaborate/score.ts";
import { printKernel } from "../../../compiler/kernel-ir/print.ts";
import { verifyKernels } from "../../../compiler/kernel-ir/verify.ts";
import type { Fusion } from "../../../compiler/lower/fusions.ts";
import { lowerPrograms } from "../../../compiler/lower/lower.ts";
import { runPasses } from "../../../compiler/passes/pipeline.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";
import { onCpu } from "../../support/on-cpu.ts";

/** The kernels of a program, launch by launch. */
function kernelsOf(text: string, ...without: readonly Fusion[]): string[] {
  const module = lowerPrograms([parseProgram(text)], { without: new Set(without) });
  expect(verifyKernels(module)).toEqual([]);
  const byName = new Map(module.kernels.map((kernel) => [kernel.name, kernel]));
  return module.programs[0]!.launches.map(({ kernel }) => printKernel(byName.get(kernel)!));
}

function program(...lines: readonly string[]): string {
  const dims = "dims { T = ?, D = 8, F = 6, E = 4, K = 2 }";
  return `program @p\n${dims}\n{\n${lines.map((line) => `  ${line}\n`).join("")}}\n`;
}

const X = '%0 x: f32[T, D] = program.input {name = "x"}';

describe("fuse-epilogues", () => {
  const swiGlu = program(
    X,
    '%1: f32[D, F] = model.param {name = "gate"}',
    '%2: f32[D, F] = model.param {name = "up"}',
    '%3: f32[F, D] = model.param {name = "down"}',
    "%4: f32[T, F] = tensor.contract %0, %1",
    "%5: f32[T, F] = math.silu %4",
    "%6: f32[T, F] = tensor.contract %0, %2",
    "%7: f32[T, F] = math.mul %5, %6",
    "%8: f32[T, D] = tensor.contract %7, %3",
    "%9: f32[T, D] = math.add %0, %8",
    "%10: f32[T, D] = math.square %9",
    '%11: f32[T] = tensor.reduce %10 {kind = "sum"}',
    'program.output %9 {name = "y"}',
    'program.output %11 {name = "squares"}',
  );

  test("gate and up are one kernel, the residual is added where the product is made", () => {
    const [gateUp, down, norm, ...others] = kernelsOf(swiGlu);
    expect(others).toEqual([]);
    expect(gateUp).toContain("product product: f32 = sum (D < 8) x[T, D] @ gate[D, F]");
    expect(gateUp).toContain("product product_2: f32 = sum (D < 8) x[T, D] @ up[D, F]");
    expect(gateUp).toContain("[T, F] = (silu(product[]) * product_2[])");
    expect(down).toContain("y[T, D] = (x_2[T, D] + product[])");
    // The square is read in the row of the sum alone: it stays there.
    expect(norm).toContain("sum over (D < 8) square(");
  });

  test("switched off, every product stores its result", () => {
    const kernels = kernelsOf(swiGlu, "fuse-epilogues");
    expect(kernels.map((text) => /^kernel @\S+ (\w+)/.exec(text)![1])).toEqual([
      "gemm",
      "gemm",
      "rows",
      "gemm",
      "rows",
    ]);
  });

  test("results that others read too are stored as well", () => {
    const kernels = kernelsOf(swiGlu.replace('{name = "y"}', '{name = "y"}\n  program.output %4 {name = "gate"}'));
    expect(kernels[0]).toMatch(
      /write gate_2: .*\n[^]*gate_2\[T, F\] = product\[\]\n.* = \(silu\(product\[\]\) \* product_2/,
    );
  });

  test("an operand that needs the product itself stays outside", () => {
    const [first, norm, scaled] = kernelsOf(
      program(
        X,
        '%1: f32[D, F] = model.param {name = "w"}',
        "%2: f32[T, F] = tensor.contract %0, %1",
        '%3: f32[T] = tensor.reduce %2 {kind = "max"}',
        "%4: f32[F] = tensor.constant {value = 1}",
        "%5: f32[T, F] = math.sub %2, %3",
        'program.output %5 {name = "y"}',
      ),
    );
    expect(first).toContain("[T, F] = product[]");
    expect(norm).toContain("max over");
    expect(scaled).toBeUndefined();
  });

  test("experts: products of the same rows and groups", () => {
    const kernels = kernelsOf(
      program(
        X,
        '%1 chosen: i32[T, K] = program.input {name = "chosen"}',
        '%2: f32[E, D, F] = model.param {name = "gate"}',
        '%3: f32[E, D, F] = model.param {name = "up"}',
        "%4: f32[T, K, D] = moe.dispatch %0, %1",
        '%5: f32[T, K, F] = moe.contract %4, %2, %1 {experts = "E", slot = "K"}',
        '%6: f32[T, K, F] = moe.contract %4, %3, %1 {experts = "E", slot = "K"}',
        "%7: f32[T, K, F] = math.silu %5",
        "%8: f32[T, K, F] = math.mul %7, %6",
        'program.output %8 {name = "y"}',
      ),
    );
    expect(kernels.length).toBe(1);
    expect(kernels[0]).toContain("group (E < 4) over m of chosen[T, K]");
    expect(kernels[0]).toContain("y[T, K, F] = (silu(product[]) * product_2[])");
  });
});

describe("fuse-sums", () => {
  const squares = program(
    '%0 w: f32[D, F] = model.param {name = "w"}',
    "%1: f32[D, F] = math.square %0",
    '%2: f32 = tensor.reduce %1 {kind = "sum"}',
    'program.output %2 {name = "norm"}',
  );

  test("squares are not stored", () => {
    expect(kernelsOf(squares).length).toBe(1);
    expect(kernelsOf(squares)[0]).toContain("norm[] = sum square(w[element])");
    expect(kernelsOf(squares, "fuse-sums").length).toBe(2);
  });

  test("the sum is the same", async () => {
    const w = Float32Array.from({ length: 48 }, (_, i) => i - 20);
    for (const without of [new Set<Fusion>(), new Set<Fusion>(["fuse-sums"])]) {
      const session = await onCpu([parseProgram(squares)], {}, { without });
      session.write("w", w);
      const { norm } = await session.run({ program: "p", sizes: {}, inputs: {} });
      expect(norm![0]).toBe(w.reduce((sum, x) => sum + x * x, 0));
      session.close();
    }
  });
});

describe("fuse-siblings", () => {
  const apart = program(
    X,
    '%1: f32[T] = tensor.reduce %0 {kind = "sum"}',
    '%2 y: f32[T, F] = program.input {name = "y"}',
    '%3: f32[T] = tensor.reduce %2 {kind = "sum"}',
    'program.output %1 {name = "a"}',
    'program.output %3 {name = "b"}',
  );

  test("rows of one space are one launch", () => {
    expect(kernelsOf(apart).length).toBe(1);
    expect(kernelsOf(apart, "fuse-siblings").length).toBe(2);
    expect(kernelsOf(apart, "fuse-rows").length).toBe(2);
  });
});

const MODEL = `edition 2026

import { Gqa } from "std/attention"
import { DeepSeekMoe } from "std/moe"
import { Decoder, Embedding, RmsNorm } from "std/nn"

model Pico {
  dim V = 32
  dim D = 12
  dtype = f32

  use embed = Embedding[V, D]
  use layer = Decoder[D](mixer: Gqa[D, 2, 1, 4], ffn: DeepSeekMoe[D](E: 4, F: 6, K: 2, G: 1, Fs: 8, keep: 1))
  use norm = RmsNorm[D]

  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] {
    return embed.transposed(norm(layer(embed(tokens), pos)))
  }
}
`;

test("without some of the fusions, a model and its gradients are the same", async () => {
  const { models } = checkFile({ path: "pico.dsk", text: MODEL }, new Diagnostics());
  const score = runPasses(scoreProgram(models.get("Pico")!.module, { gradients: true }));
  const T = 40;
  const inputs = {
    tokens: Int32Array.from({ length: T }, (_, i) => (i * 7) % 31),
    pos: Int32Array.from({ length: T }, (_, i) => i % 25),
    seq: Int32Array.from({ length: T }, (_, i) => Math.floor(i / 25)),
    "target.1": Int32Array.from({ length: T }, (_, i) => (i % 25 === 24 ? -1 : (i * 7 + 7) % 31)),
  };
  const run = async (without: readonly Fusion[]): Promise<Readonly<Record<string, ArrayLike<number>>>> => {
    const session = await onCpu([score], {}, { without: new Set(without) });
    for (const [i, { name, shape }] of session.stores.entries()) {
      const length = shape.reduce((a, b) => a * b, 1);
      session.write(
        name,
        Float32Array.from({ length }, (_, j) => Math.sin(12.9898 * (j + 1) + i) / 3),
      );
    }
    const results = await session.run({ program: "score", sizes: { T, S: T, B: 2 }, inputs });
    session.close();
    return results;
  };
  const launches = (without: readonly Fusion[]): number =>
    lowerPrograms([score], { without: new Set(without) }).programs[0]!.launches.length;
  const want = await run([]);
  expect(Object.keys(want).length).toBeGreaterThan(15);
  // Siblings are rows: without `fuse-rows`, both are switched off.
  for (const without of [["fuse-epilogues"], ["fuse-planes"], ["fuse-rows", "fuse-sums"]] as const) {
    expect([without, launches(without) > launches([])]).toEqual([without, true]);
    const got = await run(without);
    for (const [name, values] of Object.entries(want)) {
      const scale = Math.max(...Array.from(values, Math.abs));
      const worst = Math.max(...Array.from(values, (x, i) => Math.abs(got[name]![i]! - x))) / scale;
      expect([without, name, worst < 2e-5]).toEqual([without, name, true]);
    }
  }
}, 300_000);

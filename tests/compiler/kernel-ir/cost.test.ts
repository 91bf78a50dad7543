import { describe, expect, test } from "vitest";
import { loadModel } from "../../../compiler/cli/load-model.ts";
import { flopsByPlace } from "../../../compiler/analysis/flops.ts";
import { probe } from "../../../compiler/analysis/probe.ts";
import { kernelCost, programCost } from "../../../compiler/kernel-ir/cost.ts";
import { axis, constant, load, op } from "../../../compiler/kernel-ir/expr.ts";
import type { Axis, Expr, GemmKernel, Kernel, PlaneKernel, RowsKernel } from "../../../compiler/kernel-ir/types.ts";
import { lowered } from "../../../compiler/package/package.ts";
import { servingPrograms } from "../../../compiler/package/programs.ts";
import type { LaunchProgram } from "../../../runtime/program/launch.ts";

const f32 = (from: string, ...at: readonly (string | Expr)[]): Expr =>
  load(
    from,
    at.map((index) => (typeof index === "string" ? axis(index) : index)),
    "f32",
  );
const over = (name: string, extent: Axis["extent"] = name): Axis => ({ name, extent });
const arg = (name: string, access: "read" | "write" | "update", ...shape: (string | number)[]) =>
  ({ name, access, dtype: "f32", shape }) as const;
const base = { name: "k", from: [] };

const gemm: GemmKernel = {
  ...base,
  family: "gemm",
  args: [arg("x", "read", "T", 32), arg("w", "read", 32, 48), arg("y", "write", "T", 48)],
  extents: ["T"],
  batch: [],
  m: [over("T")],
  n: [over("F", 48)],
  products: [{ name: "p", dtype: "f32", k: [over("D", 32)], a: f32("x", "T", "D"), b: f32("w", "D", "F") }],
  epilogue: [{ kind: "assign", axes: [], to: "y", at: [axis("T"), axis("F")], value: op("silu", [f32("p")], "f32") }],
};

describe("the cost of a kernel", () => {
  test("a product: two operations for each term, its epilogue, and every matrix once", () => {
    expect(kernelCost(gemm, { T: 10 })).toEqual({
      flops: 2 * 10 * 32 * 48 + 10 * 48,
      bytes: 4 * (10 * 32 + 32 * 48 + 10 * 48),
    });
  });

  test("a grouped product: each row with its own matrix, and no more matrices than there are rows", () => {
    const grouped: GemmKernel = {
      ...gemm,
      args: [
        arg("x", "read", "T", 32),
        arg("w", "read", 8, 32, 48),
        arg("of", "read", "T"),
        arg("y", "write", "T", 48),
      ],
      products: [{ ...gemm.products[0]!, b: f32("w", "E", "D", "F") }],
      groups: { over: "m", group: over("E", 8), of: f32("of", "T") },
    };
    const bytes = (T: number, experts: number): number => 4 * (T * 32 + experts * 32 * 48 + T * 48 + T);
    expect(kernelCost(grouped, { T: 100 })).toEqual({ flops: 100 * 48 * (2 * 32 + 1), bytes: bytes(100, 8) });
    expect(kernelCost(grouped, { T: 2 }).bytes).toBe(bytes(2, 2));
  });

  test("rows: operators, terms of reductions, rows of a table that tokens choose, what is updated twice", () => {
    const rows: RowsKernel = {
      ...base,
      family: "rows",
      args: [arg("table", "read", 1000, 16), arg("tokens", "read", "T"), arg("x", "update", "T", 16)],
      extents: ["T"],
      rows: [over("T")],
      locals: [{ name: "sum", dtype: "f32", shape: [] }],
      body: [
        {
          kind: "reduce",
          reduction: "sum",
          axes: [],
          over: [over("D", 16)],
          to: "sum",
          at: [],
          value: op("square", [f32("x", "T", "D")], "f32"),
        },
        {
          kind: "assign",
          axes: [over("D", 16)],
          to: "x",
          at: [axis("T"), axis("D")],
          value: op(
            "select",
            [
              constant(true, "bool"),
              op("mul", [f32("table", f32("tokens", "T"), "D"), f32("sum")], "f32"),
              f32("x", "T", "D"),
            ],
            "f32",
          ),
        },
      ],
    };
    expect(kernelCost(rows, { T: 5 })).toEqual({ flops: 5 * 16 * 3, bytes: 4 * (5 * 16 + 5 + 2 * 5 * 16) });
    // No more rows than the table has.
    expect(kernelCost(rows, { T: 5000 }).bytes).toBe(4 * (1000 * 16 + 5000 + 2 * 5000 * 16));
  });

  test("a plane: products over the columns that a row sees; its rows of the cache are those of all positions", () => {
    const plane: PlaneKernel = {
      ...base,
      family: "plane",
      args: [
        arg("q", "read", "T", 8),
        arg("k", "read", "cache", 8),
        arg("slot", "read", "S"),
        arg("out", "write", "T", 8),
      ],
      extents: ["T", "S"],
      batch: [],
      rows: [over("T")],
      column: over("S"),
      span: { from: constant(0, "i32"), to: op("add", [axis("T"), constant(1, "i32")], "i32") },
      locals: [{ name: "p", dtype: "f32", shape: ["S"] }],
      body: [
        {
          kind: "enter",
          local: "p",
          products: [{ k: [over("N", 8)], a: f32("q", "T", "N"), b: f32("k", f32("slot", "S"), "N") }],
        },
        {
          kind: "row",
          stmt: {
            kind: "assign",
            axes: [over("S")],
            to: "p",
            at: [axis("S")],
            value: op("exp", [f32("p", "S")], "f32"),
          },
        },
        {
          kind: "leave_rows",
          local: "p",
          n: [over("M", 8)],
          b: f32("k", f32("slot", "S"), "M"),
          to: "out",
          at: [axis("T"), axis("M")],
        },
      ],
    };
    const bytes = 4 * (6 * 8 + 6 * 8 + 6 + 6 * 8);
    expect(kernelCost(plane, { T: 6, S: 6 }, { seen: 3.5 })).toEqual({ flops: 6 * 3.5 * (16 + 1 + 16), bytes });
    expect(kernelCost(plane, { T: 6, S: 6 })).toEqual({ flops: 6 * 6 * 33, bytes });
  });
});

test("the kernels of a model have the operations that its spec has, and some beside them", () => {
  const { module } = loadModel("specs/quickstart.dsk", undefined)!;
  const { kernels, programs } = lowered(servingPrograms(module, false));
  const length = 512;
  const counted = [...flopsByPlace(module, probe(module), length).values()].reduce((a, b) => a + b, 0);
  const flops = (name: string, sizes: Readonly<Record<string, number>>, seen: number): number =>
    programCost(
      programs.find((program) => program.name === name)!,
      kernels,
      sizes,
      { seen },
    ).reduce((sum, cost) => sum + cost.flops, 0);
  const whole = flops("prefill", { T: length, S: length, B: length }, (length + 1) / 2) / length;
  expect(whole / counted).toBeGreaterThan(1);
  expect(whole / counted).toBeLessThan(1.2);
});

test("every kernel of every family has a cost, and a decode step reads every weight once", () => {
  const { module } = loadModel("specs/quickstart.dsk", undefined)!;
  const { kernels, programs } = lowered(servingPrograms(module, false));
  const decode = programs.find(({ name }) => name === "decode") as LaunchProgram;
  const costs = programCost(decode, kernels as readonly Kernel[], { T: 1, S: 64, B: 1 }, { seen: 64 });
  for (const { flops, bytes } of costs) expect(flops >= 0 && bytes > 0 && Number.isFinite(flops + bytes)).toBe(true);
  const weights = decode.buffers.flatMap(({ kind, shape }) =>
    kind === "param" ? [shape.reduce<number>((a, b) => a * Number(b), 4)] : [],
  );
  const bytes = costs.reduce((sum, cost) => sum + cost.bytes, 0);
  const all = weights.reduce((a, b) => a + b, 0);
  // One row of the embedding, and four of sixteen experts, of all that there is.
  const skipped = 4 * (1023 * 128 + 3 * 3 * 12 * 128 * 48);
  expect(bytes).toBeGreaterThan(all - skipped);
  expect(bytes).toBeLessThan(1.3 * (all - skipped));
});

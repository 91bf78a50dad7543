/** Products of few rows: which tiles they get, and that blocks of a cluster add up the same bits whoever comes first. */
import { describe, expect, test } from "vitest";
import type { GemmKernel } from "../../../../../compiler/kernel-ir/types.ts";
import { printCuda } from "../../../../../compiler/targets/cuda/print.ts";
import { type HopperFile, printHopperGemm } from "../../../../../compiler/targets/cuda/hopper/gemm.ts";
import { type GemmPlan, planFew, planGemm } from "../../../../../compiler/targets/cuda/hopper/gemm-plan.ts";
import {
  chosenFew,
  chosenTile,
  fewCandidates,
  type TileProblem,
} from "../../../../../compiler/targets/cuda/hopper/tiles.ts";
import { type SimtKernels, workOf } from "../../../../../runtime/program/grids.ts";
import { bits, drawing } from "../../../../support/bf16.ts";
import { REAL } from "../../../../support/cuda/real.ts";
import { kernelOf } from "../../../../support/gemm-error.ts";
import { runOnHopper } from "../../../../support/on-hopper.ts";

function fewOf(kernel: GemmKernel): GemmPlan {
  const plan = planGemm(kernel);
  if ("why" in plan) throw new Error(plan.why);
  return planFew(plan)!;
}

function product(columns: number, terms: number): string {
  return `kernel @product gemm extents [T] {
    read x: bf16[T, ${terms}]
    read w: bf16[${terms}, ${columns}]
    write y: bf16[T, ${columns}]
    batch () m (T) n (F < ${columns})
    product product: bf16 = sum (D < ${terms}) x[T, D] @ w[D, F]
    y[T, F] = product[]
  }`;
}

/** y[T, F] for rows that are the first ones of the same 128. */
async function results(file: HopperFile, kernel: GemmKernel, rows: number, seed: number): Promise<Uint16Array> {
  const [terms, columns] = [kernel.args[0]!.shape[1] as number, kernel.args.at(-1)!.shape[1] as number];
  const random = drawing(5);
  const halves = (size: number): Uint16Array => Uint16Array.from({ length: size }, () => bits(random()));
  const x = halves(128 * terms).slice(0, rows * terms);
  const weights = kernel.args.slice(1, -1).map(({ name }) => [name, halves(terms * columns)] as const);
  const y = new Uint16Array(rows * columns);
  await runOnHopper(file, kernel, { T: rows }, { x, y, ...Object.fromEntries(weights) }, { seed });
  return y;
}

async function settled<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
  const [result] = await Promise.allSettled([promise]);
  return result;
}

const SWIGLU = `kernel @swiglu gemm extents [T] {
  read x: bf16[T, 648]
  read gate: bf16[648, 136]
  read up: bf16[648, 136]
  write y: bf16[T, 136]
  batch () m (T) n (F < 136)
  product product: bf16 = sum (D < 648) x[T, D] @ gate[D, F]
  product product_2: bf16 = sum (D < 648) x[T, D] @ up[D, F]
  y[T, F] = (silu(product[]) * product_2[])
}`;

describe("sums of clusters, in the harness", () => {
  test.each([
    { name: "a narrow product", text: product(72, 2120), parts: 8 },
    { name: "gate and up", text: SWIGLU, parts: 4 },
  ])(
    "$name: a row has the same bits beside any others, in every order of blocks and threads",
    async ({ text, parts }) => {
      const kernel = kernelOf(text);
      const plan = fewOf(kernel);
      expect(plan.parts).toBe(parts);
      const file = printHopperGemm(plan);
      const sizes = [128, 1, 17, 64, 65];
      // Where packages are only prepared for a GPU, all of them are.
      const runs = [];
      for (const [i, rows] of sizes.entries()) runs.push(await settled(results(file, kernel, rows, 1 + i)));
      const found = runs.map((run) => {
        if (run.status === "rejected") throw run.reason;
        return run.value;
      });
      for (const [i, rows] of sizes.entries())
        expect(found[i], `${rows} rows`).toEqual(found[0]!.slice(0, (found[0]!.length / 128) * rows));
    },
    240_000,
  );

  // On a GPU they may be lucky.
  test.skipIf(REAL)(
    "blocks that do not wait for each other are found",
    async () => {
      const kernel = kernelOf(product(72, 2120));
      const file = printHopperGemm(fewOf(kernel));
      const right = await results(file, kernel, 20, 1);
      const unseen: string[] = [];
      for (const comment of ["nobody in the cluster multiplies any more", "all sums are there"]) {
        const text = file.text.replace(`cluster_sync();  // ${comment}`, "");
        expect(text).not.toBe(file.text);
        let found = false;
        for (let seed = 1; seed <= 6 && !found; seed++)
          found = await results({ ...file, text }, kernel, 20, seed).then(
            (y) => y.some((value, i) => value !== right[i]),
            () => true,
          );
        if (!found) unseen.push(comment);
      }
      expect(unseen).toEqual([]);
    },
    240_000,
  );
});

function problem(n: number, k: number, products = 1): TileProblem {
  const loops = [{ k, products }];
  return { m: 4096, n, loops, batches: 1, elementBytes: 2, resultBytes: 2, sums: products, slots: 2, depth: 64 };
}

describe("tiles of few rows", () => {
  test("where many rows' tiles leave multiprocessors idle, terms are shared; else nothing changes", () => {
    const few = (n: number, k: number) => chosenFew(problem(n, k), chosenTile(problem(n, k))!);
    for (const [n, k] of [
      [576, 7168],
      [2112, 7168],
      [4096, 7168],
      [7168, 16384],
    ] as const) {
      const { parts, tileN } = few(n, k)!;
      expect(parts).toBeGreaterThan(1);
      const blocks = parts * Math.ceil(n / tileN);
      expect(blocks).toBeGreaterThan(66);
      expect(blocks).toBeLessThanOrEqual(132);
    }
    expect(few(24576, 1536)).toBeUndefined();
    expect(few(129280, 7168)).toBeUndefined();
  });

  test("each part of a tile has terms, and each block columns that it adds up", () => {
    for (const [n, k] of [
      [64, 64],
      [128, 192],
      [576, 7168],
      [200, 1096],
    ] as const)
      for (const { parts, tileN } of fewCandidates(problem(n, k, 2))) {
        expect(Math.floor(Math.ceil(k / 64) / parts)).toBeGreaterThanOrEqual(1);
        expect((tileN / 8) % parts).toBe(0);
      }
  });

  test("one row has them where few blocks would read all weights in lines", () => {
    const entryOf = (columns: number, terms: number, T: number): string => {
      const table = JSON.parse(printCuda([kernelOf(product(columns, terms))]).get("cuda.json")!) as SimtKernels;
      return workOf(table.kernels[0]!, { T }).runs[0]!.grids[0]!.grid.name;
    };
    expect([1, 9, 128, 129].map((T) => entryOf(576, 7168, T))).toEqual([
      "tensor_few",
      "tensor_few",
      "tensor_few",
      "tensor",
    ]);
    expect([1, 8, 9, 128, 129].map((T) => entryOf(4096, 7168, T))).toEqual([
      "few",
      "few",
      "tensor_few",
      "tensor_few",
      "tensor",
    ]);
  });
});

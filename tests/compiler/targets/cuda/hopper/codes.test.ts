/** Weights that are stored as codes, on Hopper's tensor cores: many rows, beside plain sums of the numbers that codes stand for. */
import { describe, expect, test } from "vitest";
import type { SimtKernels } from "../../../../../runtime/program/grids.ts";
import { printCuda } from "../../../../../compiler/targets/cuda/print.ts";
import { planGemm } from "../../../../../compiler/targets/cuda/hopper/gemm-plan.ts";

import { errorOf, kernelOf } from "../../../../support/gemm-error.ts";

interface Case {
  readonly name: string;
  readonly text: string;
  readonly sizes: Record<string, number>;
}

const CASES: readonly Case[] = [
  {
    name: "a residual; ragged rows and columns, one group for all terms of a block",
    text: `kernel @residual gemm extents [T] {
      read out: bf16[T, 3, 64]
      read wo: i8[3, 64, 328]
      read scale: bf16[3, 1, 328]
      read x: bf16[T, 328]
      write h: bf16[T, 328]
      batch () m (T) n (D < 328)
      product product: bf16 = sum (H < 3, V < 64) out[T, H, V] @ (f32(wo[H, V, D]) * f32(scale[H, (V / 64), D]): bf16)
      h[T, D] = (x[T, D] + product[])
    }`,
    sizes: { T: 150 },
  },
  {
    name: "four bits, ragged terms, several groups in a block",
    text: `kernel @four gemm extents [T] {
      read x: bf16[T, 104]
      read w: i4[104, 264]
      read scale: bf16[4, 264]
      write y: f32[T, 264]
      batch () m (T) n (F < 264)
      product product: bf16 = sum (D < 104) x[T, D] @ (f32(w[D, F]) * f32(scale[(D / 32), F]): bf16)
      y[T, F] = f32(product[])
    }`,
    sizes: { T: 270 },
  },
  {
    name: "gate and up, more than one tile for each block",
    text: `kernel @swiglu gemm extents [T] {
      read x: bf16[T, 136]
      read gate: i8[136, 136]
      read scale: bf16[5, 136]
      read up: i8[136, 136]
      read scale_2: bf16[5, 136]
      write y: bf16[T, 136]
      batch () m (T) n (F < 136)
      product product: bf16 = sum (D < 136) x[T, D] @ (f32(gate[D, F]) * f32(scale[(D / 32), F]): bf16)
      product product_2: bf16 = sum (D < 136) x[T, D] @ (f32(up[D, F]) * f32(scale_2[(D / 32), F]): bf16)
      y[T, F] = (silu(product[]) * product_2[])
    }`,
    sizes: { T: 272 },
  },
  {
    name: "few rows: blocks of a cluster share the terms",
    text: `kernel @few_up gemm extents [T] {
      read x: bf16[T, 1096]
      read up: i8[1096, 72]
      read scale: bf16[35, 72]
      write y: bf16[T, 72]
      batch () m (T) n (F < 72)
      product product: bf16 = sum (D < 1096) x[T, D] @ (f32(up[D, F]) * f32(scale[(D / 32), F]): bf16)
      y[T, F] = product[]
    }`,
    sizes: { T: 70 },
  },
  {
    name: "a product for each head, one scale for each column",
    text: `kernel @heads gemm extents [T] {
      read x: bf16[T, 5, 128]
      read w: i4[5, 128, 64]
      read scale: bf16[5, 1, 64]
      write y: bf16[T, 5, 64]
      batch (H < 5) m (T) n (V < 64)
      product product: bf16 = sum (C < 128) x[T, H, C] @ (f32(w[H, C, V]) * f32(scale[H, 0, V]): bf16)
      y[T, H, V] = product[]
    }`,
    sizes: { T: 129 },
  },
  {
    name: "rows of experts, some without one, and experts without rows: gate and up",
    text: `kernel @experts gemm extents [T] {
      read chosen: i32[T, 2]
      read x: bf16[T, 96]
      read gate: i8[4, 96, 136]
      read scale: bf16[4, 3, 136]
      read up: i8[4, 96, 136]
      read scale_2: bf16[4, 3, 136]
      write y: bf16[T, 2, 136]
      batch () m (T, K < 2) n (F < 136)
      group (E < 4) over m of chosen[T, K]
      product product: bf16 = sum (D < 96) select((chosen[T, K] < i32 0), bf16 0, x[T, D]) @ (f32(gate[E, D, F]) * f32(scale[E, (D / 32), F]): bf16)
      product product_2: bf16 = sum (D < 96) select((chosen[T, K] < i32 0), bf16 0, x[T, D]) @ (f32(up[E, D, F]) * f32(scale_2[E, (D / 32), F]): bf16)
      y[T, K, F] = (silu(product[]) * product_2[])
    }`,
    sizes: { T: 200 },
  },
  {
    name: "rows of experts back, four bits",
    text: `kernel @experts_down gemm extents [T] {
      read x: bf16[T, 2, 136]
      read down: i4[4, 136, 264]
      read scale: bf16[4, 5, 264]
      read chosen: i32[T, 2]
      write y: bf16[T, 2, 264]
      batch () m (T, K < 2) n (D < 264)
      group (E < 4) over m of chosen[T, K]
      product product: bf16 = sum (F < 136) x[T, K, F] @ (f32(down[E, F, D]) * f32(scale[E, (F / 32), D]): bf16)
      y[T, K, D] = product[]
    }`,
    sizes: { T: 129 },
  },
  {
    name: "rows of a cache",
    text: `kernel @cached gemm extents [S] {
      read latent: bf16[cache, 192]
      read slot: i32[S]
      read w: i8[192, 2, 128]
      read scale: bf16[3, 2, 128]
      write y: bf16[S, 2, 128]
      batch () m (S) n (H < 2, N < 128)
      product product: bf16 = sum (C < 192) latent[index(slot[S]), C] @ (f32(w[C, H, N]) * f32(scale[(C / 64), H, N]): bf16)
      y[S, H, N] = product[]
    }`,
    sizes: { S: 140, cache: 160 },
  },
];

describe("codes on tensor cores", () => {
  test.each(CASES)("$name", { timeout: 400_000 }, async ({ text, sizes }) => {
    const kernel = kernelOf(text);
    const stores = kernel.args.find(({ access }) => access !== "read")!.dtype;
    expect(await errorOf(kernel, sizes)).toBeLessThan(stores === "bf16" ? 2 ** -8 : 1e-5);
  });

  test("few rows multiply codes as they lie", () => {
    const [{ text }] = CASES as [Case];
    const table = JSON.parse(printCuda([kernelOf(text)]).get("cuda.json")!) as SimtKernels;
    const entries = table.kernels[0]!.entries.map(({ name, only, upTo }) => [name, only, upTo?.most]);
    expect(entries).toEqual([
      ["few", undefined, 8],
      ["some", undefined, 64],
      ["tensor", "sm_90a", undefined],
      ["tile", undefined, undefined],
    ]);
  });

  test.each([
    ["columns in no whole lines", { n: 132 }, "no matrix"],
    ["groups that eight neighbors do not share", { group: 8 }, "no matrix"],
    ["rows in f32", { dtype: "f32" }, "no matrix"],
    ["few columns", { n: 56 }, "56 columns"],
  ])("%s are left to other kernels", (_, { n = 128, group = 32, dtype = "bf16" }: Sizes, why) => {
    const plan = planGemm(
      kernelOf(`kernel @odd gemm extents [T] {
        read x: ${dtype}[T, 128]
        read w: i8[128, ${n}]
        read scale: bf16[${128 / group}, ${n}]
        write y: f32[T, ${n}]
        batch () m (T) n (F < ${n})
        product product: ${dtype} = sum (D < 128) x[T, D] @ (f32(w[D, F]) * f32(scale[(D / ${group}), F]): ${dtype})
        y[T, F] = f32(product[])
      }`),
    );
    expect(plan).toEqual({ why: expect.stringContaining(why) });
  });
});

interface Sizes {
  readonly n?: number;
  readonly group?: number;
  readonly dtype?: string;
}

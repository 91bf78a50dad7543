/** Products in eight bits on Hopper's tensor cores, in the harness. */
import { describe, expect, test } from "vitest";
import { planGemm } from "../../../../../compiler/targets/cuda/hopper/gemm-plan.ts";
import { HOPPER_RESERVED } from "../../../../../compiler/targets/cuda/hopper/reserved.ts";
import { withoutReserved } from "../../../../../compiler/targets/reserved.ts";
import { errorOf, kernelOf } from "../../../../support/gemm-error.ts";

interface Case {
  readonly name: string;
  readonly text: string;
  readonly sizes: Record<string, number>;
  /** Of the results, relative to the largest one: those of bf16, or of sums that stay in f32. */
  readonly error: number;
}

/** Sums keep 13 bits behind the first one of their largest addend, and what they lose has either sign. */
const SUMS = 2 ** -10;

const CASES: readonly Case[] = [
  {
    name: "a product, ragged rows, columns and terms",
    text: `kernel @residual gemm extents [T] {
      read codes: f8e4m3[T, 3, 128]
      read scale: f32[T, 3]
      read codes_2: f8e4m3[5, 128, 3, 128]
      read scale_2: f32[5, 3]
      read x: f32[T, 584]
      write y: f32[T, 584]
      batch () m (T) n (D < 584)
      product product: f32 = sum (C < 328) (f32(codes[T, (C / 128), (C % 128)]) * scale[T, (C / 128)]) @ (f32(codes_2[(D / 128), (D % 128), (C / 128), (C % 128)]) * scale_2[(D / 128), (C / 128)])
      y[T, D] = (x[T, D] + product[])
    }`,
    sizes: { T: 150 },
    error: SUMS,
  },
  {
    name: "tiles of 192 columns, whose scales change in them",
    text: `kernel @wide gemm extents [T] {
      read codes: f8e4m3[T, 1, 128]
      read scale: f32[T, 1]
      read codes_2: f8e4m3[12, 128, 1, 128]
      read scale_2: f32[12, 1]
      write y: bf16[T, 1536]
      batch () m (T) n (D < 1536)
      product product: f32 = sum (C < 128) (f32(codes[T, (C / 128), (C % 128)]) * scale[T, (C / 128)]) @ (f32(codes_2[(D / 128), (D % 128), (C / 128), (C % 128)]) * scale_2[(D / 128), (C / 128)])
      y[T, D] = bf16(product[])
    }`,
    sizes: { T: 130 },
    error: 2 ** -8,
  },
  {
    name: "few rows: blocks share the terms, ragged columns and terms",
    text: `kernel @few_rows gemm extents [T] {
      read codes: f8e4m3[T, 12, 128]
      read scale: f32[T, 12]
      read codes_2: f8e4m3[2, 128, 12, 128]
      read scale_2: f32[2, 12]
      read x: f32[T, 200]
      write y: f32[T, 200]
      batch () m (T) n (D < 200)
      product product: f32 = sum (C < 1480) (f32(codes[T, (C / 128), (C % 128)]) * scale[T, (C / 128)]) @ (f32(codes_2[(D / 128), (D % 128), (C / 128), (C % 128)]) * scale_2[(D / 128), (C / 128)])
      y[T, D] = (x[T, D] + product[])
    }`,
    sizes: { T: 90 },
    error: SUMS,
  },
  {
    name: "gate and up, with what the backward pass needs",
    text: `kernel @swiglu gemm extents [T] {
      read codes: f8e4m3[T, 2, 128]
      read scale: f32[T, 2]
      read codes_2: f8e4m3[6, 128, 2, 128]
      read scale_2: f32[6, 2]
      read codes_3: f8e4m3[6, 128, 2, 128]
      read scale_3: f32[6, 2]
      write g: f32[T, 768]
      write u: bf16[T, 768]
      write y: bf16[T, 768]
      batch () m (T) n (F < 768)
      product product: f32 = sum (D < 256) (f32(codes[T, (D / 128), (D % 128)]) * scale[T, (D / 128)]) @ (f32(codes_2[(F / 128), (F % 128), (D / 128), (D % 128)]) * scale_2[(F / 128), (D / 128)])
      product product_2: f32 = sum (D < 256) (f32(codes[T, (D / 128), (D % 128)]) * scale[T, (D / 128)]) @ (f32(codes_3[(F / 128), (F % 128), (D / 128), (D % 128)]) * scale_3[(F / 128), (D / 128)])
      g[T, F] = product[]
      u[T, F] = bf16(product_2[])
      y[T, F] = (silu(bf16(product[])) * bf16(product_2[]))
    }`,
    sizes: { T: 70 },
    error: 2 ** -8,
  },
  {
    name: "terms of heads, two products of different rows",
    text: `kernel @heads gemm extents [T] {
      read codes: f8e4m3[T, 3, 128]
      read scale: f32[T, 3]
      read codes_2: f8e4m3[2, 128, 3, 128]
      read scale_2: f32[2, 3]
      read codes_3: f8e4m3[T, 3, 128]
      read scale_3: f32[T, 3]
      read codes_4: f8e4m3[2, 128, 3, 128]
      read scale_4: f32[2, 3]
      write y: f32[T, 256]
      batch () m (T) n (D < 256)
      product product: f32 = sum (H < 2, V < 192) (f32(codes[T, (((H * 192) + V) / 128), (((H * 192) + V) % 128)]) * scale[T, (((H * 192) + V) / 128)]) @ (f32(codes_2[(D / 128), (D % 128), (((H * 192) + V) / 128), (((H * 192) + V) % 128)]) * scale_2[(D / 128), (((H * 192) + V) / 128)])
      product product_2: f32 = sum (H < 3, V < 128) (f32(codes_3[T, H, V]) * scale_3[T, H]) @ (f32(codes_4[(D / 128), (D % 128), H, V]) * scale_4[(D / 128), H])
      y[T, D] = (bf16(product[]) + bf16(product_2[]))
    }`,
    sizes: { T: 129 },
    error: SUMS,
  },
  {
    name: "few rows: blocks share the terms",
    text: `kernel @few_rows gemm extents [T] {
      read codes: f8e4m3[T, 17, 128]
      read scale: f32[T, 17]
      read codes_2: f8e4m3[2, 128, 17, 128]
      read scale_2: f32[2, 17]
      write y: f32[T, 200]
      batch () m (T) n (D < 200)
      product product: f32 = sum (C < 2056) (f32(codes[T, (C / 128), (C % 128)]) * scale[T, (C / 128)]) @ (f32(codes_2[(D / 128), (D % 128), (C / 128), (C % 128)]) * scale_2[(D / 128), (C / 128)])
      y[T, D] = product[]
    }`,
    sizes: { T: 37 },
    error: SUMS,
  },
  {
    name: "a gradient of weights: a scale for each row and column of a tile of tokens",
    text: `kernel @gradient gemm extents [U] {
      read codes: f8e4m3[U, 200, 128]
      read scale: f32[U, 200]
      read codes_2: f8e4m3[U, 3, 136, 128]
      read scale_2: f32[U, 3, 136]
      write y: f32[200, 3, 136]
      batch () m (D < 200) n (H < 3, N < 136)
      product product: f32 = sum (U, I < 128) (f32(codes[U, D, I]) * scale[U, D]) @ (f32(codes_2[U, H, N, I]) * scale_2[U, H, N])
      y[D, H, N] = product[]
    }`,
    sizes: { U: 3 },
    error: SUMS,
  },
  {
    name: "gradients of two weights that what they read has in common, in bf16",
    text: `kernel @gradients gemm extents [U] {
      read codes: f8e4m3[U, 128, 128]
      read scale: f32[U, 128]
      read codes_2: f8e4m3[U, 264, 128]
      read scale_2: f32[U, 264]
      read codes_3: f8e4m3[U, 264, 128]
      read scale_3: f32[U, 264]
      write y: bf16[128, 264]
      write z: bf16[128, 264]
      batch () m (D < 128) n (F < 264)
      product product: f32 = sum (U, I < 128) (f32(codes[U, D, I]) * scale[U, D]) @ (f32(codes_2[U, F, I]) * scale_2[U, F])
      product product_2: f32 = sum (U, I < 128) (f32(codes[U, D, I]) * scale[U, D]) @ (f32(codes_3[U, F, I]) * scale_3[U, F])
      y[D, F] = bf16(product[])
      z[D, F] = bf16(product_2[])
    }`,
    sizes: { U: 9 },
    error: 2 ** -8,
  },
  {
    name: "gradients of experts' weights: tiles of rows of one expert in any order, none of the last expert",
    text: `kernel @gradient gemm extents [U] {
      read codes: f8e4m3[U, 200, 128]
      read scale: f32[U, 200]
      read codes_2: f8e4m3[U, 136, 128]
      read scale_2: f32[U, 136]
      read experts: i32[U]
      write y: f32[4, 200, 136]
      batch (E < 4) m (D < 200) n (F < 136)
      group (E < 4) over k of experts[U]
      product product: f32 = sum (U, I < 128) (f32(codes[U, D, I]) * scale[U, D]) @ (f32(codes_2[U, F, I]) * scale_2[U, F])
      y[E, D, F] = product[]
    }`,
    sizes: { U: 19 },
    error: SUMS,
  },
  {
    name: "gradients of experts' gate and up, in bf16",
    text: `kernel @gradients gemm extents [U] {
      read codes: f8e4m3[U, 128, 128]
      read scale: f32[U, 128]
      read codes_2: f8e4m3[U, 264, 128]
      read scale_2: f32[U, 264]
      read codes_3: f8e4m3[U, 264, 128]
      read scale_3: f32[U, 264]
      read experts: i32[U]
      write y: bf16[4, 128, 264]
      write z: bf16[4, 128, 264]
      batch (E < 4) m (D < 128) n (F < 264)
      group (E < 4) over k of experts[U]
      product product: f32 = sum (U, I < 128) (f32(codes[U, D, I]) * scale[U, D]) @ (f32(codes_2[U, F, I]) * scale_2[U, F])
      product product_2: f32 = sum (U, I < 128) (f32(codes[U, D, I]) * scale[U, D]) @ (f32(codes_3[U, F, I]) * scale_3[U, F])
      y[E, D, F] = bf16(product[])
      z[E, D, F] = bf16(product_2[])
    }`,
    sizes: { U: 5 },
    error: 2 ** -8,
  },
  {
    name: "rows of experts, some without one: gate and up",
    text: `kernel @experts gemm extents [T] {
      read chosen: i32[T, 2]
      read codes: f8e4m3[T, 2, 128]
      read scale: f32[T, 2]
      read codes_2: f8e4m3[3, 2, 128, 2, 128]
      read scale_2: f32[3, 2, 2]
      read codes_3: f8e4m3[3, 2, 128, 2, 128]
      read scale_3: f32[3, 2, 2]
      write y: bf16[T, 2, 256]
      write g: f32[T, 2, 256]
      batch () m (T, K < 2) n (F < 256)
      group (E < 3) over m of chosen[T, K]
      product product: f32 = sum (D < 200) select((chosen[T, K] < i32 0), f32 0, (f32(codes[T, (D / 128), (D % 128)]) * scale[T, (D / 128)])) @ (f32(codes_2[E, (F / 128), (F % 128), (D / 128), (D % 128)]) * scale_2[E, (F / 128), (D / 128)])
      product product_2: f32 = sum (D < 200) select((chosen[T, K] < i32 0), f32 0, (f32(codes[T, (D / 128), (D % 128)]) * scale[T, (D / 128)])) @ (f32(codes_3[E, (F / 128), (F % 128), (D / 128), (D % 128)]) * scale_3[E, (F / 128), (D / 128)])
      y[T, K, F] = (silu(product[]) * product_2[])
      g[T, K, F] = product[]
    }`,
    sizes: { T: 100 },
    error: 2 ** -8,
  },
  {
    name: "rows of experts back: two products",
    text: `kernel @experts_back gemm extents [T] {
      read codes: f8e4m3[T, 2, 2, 128]
      read scale: f32[T, 2, 2]
      read codes_2: f8e4m3[3, 3, 128, 2, 128]
      read scale_2: f32[3, 3, 2]
      read codes_3: f8e4m3[T, 2, 2, 128]
      read scale_3: f32[T, 2, 2]
      read codes_4: f8e4m3[3, 3, 128, 2, 128]
      read scale_4: f32[3, 3, 2]
      read chosen: i32[T, 2]
      write x: bf16[T, 2, 264]
      batch () m (T, K < 2) n (D < 264)
      group (E < 3) over m of chosen[T, K]
      product product: f32 = sum (F < 256) (f32(codes[T, K, (F / 128), (F % 128)]) * scale[T, K, (F / 128)]) @ (f32(codes_2[E, (D / 128), (D % 128), (F / 128), (F % 128)]) * scale_2[E, (D / 128), (F / 128)])
      product product_2: f32 = sum (F < 256) (f32(codes_3[T, K, (F / 128), (F % 128)]) * scale_3[T, K, (F / 128)]) @ (f32(codes_4[E, (D / 128), (D % 128), (F / 128), (F % 128)]) * scale_4[E, (D / 128), (F / 128)])
      x[T, K, D] = (bf16(product[]) + bf16(product_2[]))
    }`,
    sizes: { T: 70 },
    error: 2 ** -8,
  },
];

/** A product of 256 terms, in this form. */
function productOf(k: string, a: string, b: string, args: string): string | undefined {
  const plan = planGemm(
    kernelOf(`kernel @p gemm extents [T] {
      ${args}
      write y: f32[T, 256]
      batch () m (T) n (D < 256)
      product product: f32 = sum (${k}) ${a} @ ${b}
      y[T, D] = product[]
    }`),
  );
  return "why" in plan ? plan.why : undefined;
}

const A = "read codes: f8e4m3[T, 2, 128]\nread scale: f32[T, 2]";
const ROW = "(f32(codes[T, (C / 128), (C % 128)]) * scale[T, (C / 128)])";

describe("products in eight bits on Hopper", () => {
  test.each(CASES)("$name", async ({ text, sizes, error }) => {
    expect(await errorOf(withoutReserved(kernelOf(text), HOPPER_RESERVED), sizes)).toBeLessThan(error);
  });

  test("tiles have 192 columns where these cost less", () => {
    const plan = planGemm(kernelOf(CASES[1]!.text));
    expect("tile" in plan && plan.tile.tileN).toBe(192);
  });

  test("codes whose neighbors are no terms, and other tiles, go elsewhere", () => {
    const whole = "(f32(codes_2[(D / 128), (D % 128), (C / 128), (C % 128)]) * scale_2[(D / 128), (C / 128)])";
    const args = `${A}\nread codes_2: f8e4m3[2, 128, 2, 128]\nread scale_2: f32[2, 2]`;
    expect(productOf("C < 256", ROW, whole, args)).toBeUndefined();
    const turned = "(f32(codes_2[(C / 128), (C % 128), (D / 128), (D % 128)]) * scale_2[(C / 128), (D / 128)])";
    expect(productOf("C < 256", ROW, turned, args)).toBe("codes of product whose neighbors are no terms");
    const small = "(f32(codes_2[(D / 128), (D % 128), (C / 64), (C % 64)]) * scale_2[(D / 128), (C / 64)])";
    const four = `${A}\nread codes_2: f8e4m3[2, 128, 4, 64]\nread scale_2: f32[2, 4]`;
    expect(productOf("C < 256", ROW, small, four)).toMatch(/^B of product is no matrix/);
    const half = "(f32(codes_2[(D / 64), (D % 64), (C / 128), (C % 128)]) * scale_2[(D / 64), (C / 128)])";
    const rows = `${A}\nread codes_2: f8e4m3[4, 64, 2, 128]\nread scale_2: f32[4, 2]`;
    expect(productOf("C < 256", ROW, half, rows)).toMatch(/^B of product is no matrix/);
    expect(productOf("C < 256", ROW, "w[C, D]", `${A}\nread w: bf16[256, 256]`)).toBe("operands are f8e4m3 and bf16");
  });
});

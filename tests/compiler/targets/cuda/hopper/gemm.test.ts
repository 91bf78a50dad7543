import { describe, expect, test } from "vitest";
import { errorOf, kernelOf } from "../../../../support/gemm-error.ts";

interface Case {
  readonly name: string;
  readonly text: string;
  readonly sizes: Record<string, number>;
  /** Relative to the largest result; of bf16, its rounding. */
  readonly error?: number;
  /** Whether sorted terms are written out. */
  readonly packs?: boolean;
}

const CASES: readonly Case[] = [
  {
    name: "a residual, ragged rows and columns",
    text: `kernel @residual gemm extents [T] {
      read out: bf16[T, 3, 64]
      read wo: bf16[3, 64, 328]
      read x: bf16[T, 328]
      write h: bf16[T, 328]
      batch () m (T) n (D < 328)
      product product: bf16 = sum (H < 3, V < 64) out[T, H, V] @ wo[H, V, D]
      h[T, D] = (x[T, D] + product[])
    }`,
    sizes: { T: 150 },
  },
  {
    name: "gate and up, with what the backward pass needs, ragged terms",
    text: `kernel @swiglu gemm extents [T] {
      read x: bf16[T, 104]
      read gate: bf16[104, 1536]
      read up: bf16[104, 1536]
      write y: bf16[T, 1536]
      write g: f32[T, 1536]
      batch () m (T) n (F < 1536)
      product product: bf16 = sum (D < 104) x[T, D] @ gate[D, F]
      product product_2: bf16 = sum (D < 104) x[T, D] @ up[D, F]
      y[T, F] = (silu(product[]) * product_2[])
      g[T, F] = f32(product[])
    }`,
    sizes: { T: 130 },
  },
  {
    name: "gradients of weights: rows and columns are neighbors, terms are tokens",
    text: `kernel @wgrad gemm extents [T] {
      read x: bf16[T, 2048]
      read dy: bf16[T, 72]
      update w: f32[2048, 72]
      batch () m (D < 2048) n (F < 72)
      product product: bf16 = sum (T) x[T, D] @ dy[T, F]
      w[D, F] = (w[D, F] + product[])
    }`,
    sizes: { T: 75 },
  },
  {
    name: "two products of different rows, one behind the other",
    text: `kernel @dgrad gemm extents [T] {
      read x: bf16[T, 80]
      read a: bf16[264, 80]
      read y: bf16[T, 208]
      read b: bf16[264, 208]
      write z: f32[T, 264]
      batch () m (T) n (D < 264)
      product product: bf16 = sum (C < 80) x[T, C] @ a[D, C]
      product product_2: bf16 = sum (Q < 208) y[T, Q] @ b[D, Q]
      z[T, D] = f32((product[] + product_2[]))
    }`,
    sizes: { T: 129 },
  },
  {
    name: "a product for each head",
    text: `kernel @heads gemm extents [T] {
      read x: bf16[T, 5, 128]
      read w: bf16[128, 5, 64]
      write y: bf16[T, 5, 64]
      batch (H < 5) m (T) n (V < 64)
      product product: bf16 = sum (C < 128) x[T, H, C] @ w[C, H, V]
      y[T, H, V] = product[]
    }`,
    sizes: { T: 70 },
  },
  {
    name: "few rows: blocks share the terms of gate and up",
    text: `kernel @few_swiglu gemm extents [T] {
      read x: bf16[T, 1096]
      read gate: bf16[1096, 200]
      read up: bf16[1096, 200]
      write y: bf16[T, 200]
      batch () m (T) n (F < 200)
      product product: bf16 = sum (D < 1096) x[T, D] @ gate[D, F]
      product product_2: bf16 = sum (D < 1096) x[T, D] @ up[D, F]
      y[T, F] = (silu(product[]) * product_2[])
    }`,
    sizes: { T: 37 },
  },
  {
    name: "few rows for each head, columns with neighboring terms",
    text: `kernel @few_heads gemm extents [T] {
      read x: bf16[T, 3, 4104]
      read w: bf16[3, 64, 4104]
      read h: f32[T, 3, 64]
      write y: f32[T, 3, 64]
      batch (H < 3) m (T) n (V < 64)
      product product: bf16 = sum (C < 4104) x[T, H, C] @ w[H, V, C]
      y[T, H, V] = (h[T, H, V] + product[])
    }`,
    sizes: { T: 20 },
  },
  {
    name: "rows of experts, some without one: gate and up",
    text: `kernel @experts gemm extents [T] {
      read chosen: i32[T, 2]
      read x: bf16[T, 72]
      read gate: bf16[3, 72, 136]
      read up: bf16[3, 72, 136]
      write y: bf16[T, 2, 136]
      write g: f32[T, 2, 136]
      batch () m (T, K < 2) n (F < 136)
      group (E < 3) over m of chosen[T, K]
      product product: bf16 = sum (D < 72) select((chosen[T, K] < i32 0), bf16 0, x[T, D]) @ gate[E, D, F]
      product product_2: bf16 = sum (D < 72) select((chosen[T, K] < i32 0), bf16 0, x[T, D]) @ up[E, D, F]
      y[T, K, F] = (silu(product[]) * product_2[])
      g[T, K, F] = product[]
    }`,
    sizes: { T: 100 },
  },
  {
    name: "rows of experts back: two products",
    text: `kernel @experts_back gemm extents [T] {
      read x: bf16[T, 2, 136]
      read down: bf16[3, 264, 136]
      read z: bf16[T, 2, 200]
      read up: bf16[3, 264, 200]
      read chosen: i32[T, 2]
      write y: bf16[T, 2, 264]
      batch () m (T, K < 2) n (D < 264)
      group (E < 3) over m of chosen[T, K]
      product product: bf16 = sum (F < 136) x[T, K, F] @ down[E, D, F]
      product product_2: bf16 = sum (G < 200) z[T, K, G] @ up[E, D, G]
      y[T, K, D] = (product[] + product_2[])
    }`,
    sizes: { T: 70 },
  },
  {
    name: "gradients of experts' weights: an expert without tokens",
    text: `kernel @experts_wgrad gemm extents [T] {
      read chosen: i32[T, 2]
      read x: bf16[T, 136]
      read dy: bf16[T, 2, 72]
      write w: bf16[4, 136, 72]
      batch (E < 4) m (D < 136) n (F < 72)
      group (E < 4) over k of chosen[T, K]
      product product: bf16 = sum (T, K < 2) select((chosen[T, K] < i32 0), bf16 0, x[T, D]) @ dy[T, K, F]
      w[E, D, F] = product[]
    }`,
    sizes: { T: 150 },
  },
  {
    name: "back through SwiGLU: results of three inputs beside a product",
    text: `kernel @swiglu_back gemm extents [T] {
      read x: bf16[T, 72]
      read w: bf16[328, 72]
      read g: bf16[T, 328]
      read u: bf16[T, 328]
      read h: bf16[T, 328]
      write dg: bf16[T, 328]
      write du: bf16[T, 328]
      batch () m (T) n (F < 328)
      product product: bf16 = sum (D < 72) x[T, D] @ w[F, D]
      dg[T, F] = (product[] * g[T, F])
      du[T, F] = ((product[] * u[T, F]) * silu(h[T, F]))
    }`,
    sizes: { T: 140 },
  },
  {
    name: "rows of experts back through SwiGLU",
    text: `kernel @experts_swiglu_back gemm extents [T] {
      read x: bf16[T, 2, 72]
      read w: bf16[3, 264, 72]
      read chosen: i32[T, 2]
      read g: bf16[T, 2, 264]
      read u: bf16[T, 2, 264]
      write dg: bf16[T, 2, 264]
      write du: bf16[T, 2, 264]
      batch () m (T, K < 2) n (F < 264)
      group (E < 3) over m of chosen[T, K]
      product product: bf16 = sum (D < 72) x[T, K, D] @ w[E, F, D]
      dg[T, K, F] = (product[] * g[T, K, F])
      du[T, K, F] = (silu(product[]) * u[T, K, F])
    }`,
    sizes: { T: 100 },
  },
  {
    name: "rows of a cache, by their places, beside an input",
    text: `kernel @cached gemm extents [S] {
      read latent: bf16[cache, 104]
      read slot: i32[S]
      read w: bf16[104, 3, 128]
      read x: bf16[S, 3, 128]
      write y: bf16[S, 3, 128]
      batch () m (S) n (H < 3, N < 128)
      product product: bf16 = sum (C < 104) latent[index(slot[S]), C] @ w[C, H, N]
      y[S, H, N] = (x[S, H, N] + product[])
    }`,
    sizes: { S: 150, cache: 211 },
  },
  {
    name: "rows of pages: two products of them, added to what is there, and one stored by threads",
    text: `kernel @paged gemm extents [S] {
      read latent: bf16[cache, 16, 72]
      read page: i32[S]
      read w: bf16[72, 328]
      read u: bf16[72, 328]
      read x: bf16[S, 328]
      write y: bf16[S, 328]
      write z: f32[328, S]
      batch () m (S) n (D < 328)
      product product: bf16 = sum (C < 72) latent[index(page[(S / 16)]), (S % 16), C] @ w[C, D]
      product product_2: bf16 = sum (C < 72) latent[index(page[(S / 16)]), (S % 16), C] @ u[C, D]
      y[S, D] = (x[S, D] + product[])
      z[D, S] = f32(product_2[])
    }`,
    sizes: { S: 150, cache: 23 },
  },
  {
    name: "rows of a cache in eight bits",
    text: `kernel @cached_codes gemm extents [S] {
      read latent: f8e4m3[cache, 192]
      read scale: f32[cache, 2]
      read slot: i32[S]
      read w: f8e4m3[136, 192]
      read w_scale: f32[2, 2]
      read x: bf16[S, 136]
      write y: bf16[S, 136]
      batch () m (S) n (D < 136)
      product product: f32 = sum (C < 192) (f32(latent[index(slot[S]), C]) * scale[index(slot[S]), (C / 128)]) @ (f32(w[D, C]) * w_scale[(D / 128), (C / 128)])
      y[S, D] = (x[S, D] + product[])
    }`,
    sizes: { S: 150, cache: 211 },
  },
  {
    name: "a router: weights in f32 are sums of three numbers of bf16",
    text: `kernel @router gemm extents [T] {
      read x: bf16[T, 328]
      read gate: f32[328, 72]
      write y: f32[T, 72]
      batch () m (T) n (E < 72)
      product product: f32 = sum (D < 328) x[T, D] @ gate[D, E]
      y[T, E] = product[]
    }`,
    sizes: { T: 150 },
    error: 2 ** -19,
  },
  {
    name: "gradients of a router's weights: terms are tokens",
    text: `kernel @router_back gemm extents [T] {
      read x: bf16[T, 136]
      read dy: f32[T, 2, 64]
      write w: f32[136, 128]
      write squares: f32[136, 128]
      batch () m (D < 136) n (E < 2, F < 64)
      product product: f32 = sum (T) x[T, D] @ dy[T, E, F]
      w[D, ((E * 64) + F)] = product[]
      squares[D, ((E * 64) + F)] = square(product[])
    }`,
    sizes: { T: 150 },
    error: 2 ** -19,
  },
  {
    name: "weights in f32 whose terms are neighbors, beside others of more terms",
    text: `kernel @turned gemm extents [T] {
      read x: bf16[T, 136]
      read a: f32[200, 136]
      read x_2: bf16[T, 264]
      read b: f32[264, 200]
      write y: f32[T, 200]
      batch () m (T) n (E < 200)
      product product: f32 = sum (D < 136) x[T, D] @ a[E, D]
      product product_2: f32 = sum (F < 264) x_2[T, F] @ b[F, E]
      y[T, E] = (product[] * product_2[])
    }`,
    sizes: { T: 130 },
    error: 2 ** -19,
  },
  {
    name: "gradients of experts' weights from sorted terms that are written out: an expert without tokens",
    text: `kernel @packed_wgrad gemm extents [T] {
      read chosen: i32[T, 2]
      read x: bf16[T, 136]
      read dy: bf16[T, 2, 72]
      read du: bf16[T, 2, 72]
      write w: bf16[4, 136, 72]
      write u: bf16[4, 136, 72]
      batch (E < 4) m (D < 136) n (F < 72)
      group (E < 4) over k of chosen[T, K]
      product product: bf16 = sum (T, K < 2) select((chosen[T, K] < i32 0), bf16 0, x[T, D]) @ dy[T, K, F]
      product product_2: bf16 = sum (T, K < 2) select((chosen[T, K] < i32 0), bf16 0, x[T, D]) @ du[T, K, F]
      w[E, D, F] = product[]
      u[E, D, F] = product_2[]
    }`,
    sizes: { T: 150 },
    packs: true,
  },
  {
    name: "gradients of experts' weights from sorted terms, fewer than a block",
    text: `kernel @packed_few gemm extents [T] {
      read chosen: i32[T]
      read x: bf16[T, 64]
      read dy: bf16[T, 264]
      update w: f32[4, 64, 264]
      batch (E < 4) m (D < 64) n (F < 264)
      group (E < 4) over k of chosen[T]
      product product: bf16 = sum (T) x[T, D] @ dy[T, F]
      w[E, D, F] = (w[E, D, F] + product[])
    }`,
    sizes: { T: 9 },
    packs: true,
  },
];

describe("matrix products on Hopper, in the harness", () => {
  test.each(CASES)("$name", async ({ text, sizes, error = 2 ** -8, packs = false }) => {
    expect(await errorOf(kernelOf(text), sizes, { packs })).toBeLessThan(error);
  });
});

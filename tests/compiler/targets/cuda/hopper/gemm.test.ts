import { describe, expect, test } from "vitest";
import { parseKernels } from "../../../../../compiler/kernel-ir/parse.ts";
import type { GemmKernel } from "../../../../../compiler/kernel-ir/types.ts";
import { printHopperGemm } from "../../../../../compiler/targets/cuda/hopper/gemm.ts";
import { planFew, planGemm } from "../../../../../compiler/targets/cuda/hopper/gemm-plan.ts";
import { evaluateGemm } from "../../../../support/evaluate-gemm.ts";
import { runOnHopper } from "../../../../support/on-hopper.ts";

/** One kernel in its text form. */
function kernelOf(text: string): GemmKernel {
  return parseKernels(text).kernels[0] as GemmKernel;
}

function bits(value: number): number {
  const [word] = new Uint32Array(Float32Array.of(value).buffer);
  return (word! + 0x7fff + ((word! >>> 16) & 1)) >>> 16;
}

function value(half: number): number {
  return new Float32Array(Uint32Array.of(half << 16).buffer)[0]!;
}

/** The largest difference to the sums in f64, relative to the largest result. */
async function errorOf(kernel: GemmKernel, sizes: Record<string, number>, blocks = 2): Promise<number> {
  const all = planGemm(kernel);
  if ("why" in all) throw new Error(all.why);
  // Few rows have a plan of their own.
  const plan = (kernel.name.startsWith("few") ? planFew(all) : all)!;
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  const memory: Record<string, Uint16Array | Float32Array | Int32Array> = {};
  const numbers: Record<string, Float64Array> = {};
  for (const { name, dtype, shape } of kernel.args) {
    const size = shape.reduce<number>((n, extent) => n * (typeof extent === "number" ? extent : sizes[extent]!), 1);
    const drawn = Float32Array.from({ length: size }, random);
    if (dtype === "i32") memory[name] = Int32Array.from(drawn, (_, i) => EXPERTS[(i * i + 3 * i) % EXPERTS.length]!);
    else memory[name] = dtype === "bf16" ? Uint16Array.from(drawn, bits) : drawn;
    numbers[name] = Float64Array.from(memory[name], (x) => (dtype === "bf16" ? value(x) : x));
  }
  await runOnHopper(printHopperGemm(plan), kernel, sizes, memory, { blocks });
  evaluateGemm(kernel, { sizes, values: numbers });
  let [error, largest] = [0, 0];
  for (const { name, dtype, access } of kernel.args) {
    if (access === "read") continue;
    for (const [i, wanted] of numbers[name]!.entries()) {
      const found = memory[name]![i]!;
      const difference = Math.abs((dtype === "bf16" ? value(found) : found) - wanted);
      error = Math.max(error, Number.isNaN(difference) ? Infinity : difference);
      largest = Math.max(largest, Math.abs(wanted));
    }
  }
  return error / largest;
}

interface Case {
  readonly name: string;
  readonly text: string;
  readonly sizes: Record<string, number>;
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
];

/** Experts that are chosen, or none: -1; never the last one of four. */
const EXPERTS = [2, 0, 1, -1, 2, 2, 0];

describe("matrix products on Hopper, in the harness", () => {
  test.each(CASES)("$name", async ({ text, sizes }) => {
    expect(await errorOf(kernelOf(text), sizes)).toBeLessThan(2 ** -8);
  });
});

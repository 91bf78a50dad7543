/** Products of few rows that read the large operand once, in the harness, against plain loops. */
import { describe, expect, test } from "vitest";
import { parseKernels } from "../../../../compiler/kernel-ir/parse.ts";
import type { GemmKernel } from "../../../../compiler/kernel-ir/types.ts";
import { CUDA_DIALECT } from "../../../../compiler/targets/cuda/dialect.ts";
import { fewRowsOf } from "../../../../compiler/targets/cuda/few-rows.ts";
import { filesOf } from "../../../../compiler/targets/cuda/file.ts";
import { printSolo } from "../../../../compiler/targets/simt/print.ts";
import { productOf } from "../../../../runtime/program/grids.ts";
import { evaluateGemm } from "../../../support/evaluate-gemm.ts";
import { runOnHopper } from "../../../support/on-hopper.ts";
import { bits, drawing, valueOf } from "../../../support/bf16.ts";

/** Experts that are chosen, or none: -1; never the last one of four. */
const EXPERTS = [2, 0, 1, -1, 2, 2, 0];

/** The entry point that runs, and the largest difference to the sums in f64, relative to the largest result. */
async function run(text: string, sizes: Record<string, number>, seed = 1): Promise<{ entry: string; error: number }> {
  const kernel = parseKernels(text).kernels[0] as GemmKernel;
  const random = drawing(seed);
  const memory: Record<string, Uint16Array | Float32Array | Int32Array | Uint8Array> = {};
  const numbers: Record<string, Float64Array> = {};
  for (const { name, dtype, shape } of kernel.args) {
    const drawn = Float32Array.from({ length: productOf(shape, sizes) }, random);
    if (dtype === "i32") memory[name] = Int32Array.from(drawn, (_, i) => EXPERTS[(i * i + 3 * i) % EXPERTS.length]!);
    else if (dtype === "i8" || dtype === "i4") {
      const codes = Int8Array.from(drawn, (x) =>
        Math.round(x * (dtype === "i8" ? 254 : 15) - (dtype === "i4" ? 0.5 : 0)),
      );
      memory[name] = dtype === "i8" ? new Uint8Array(codes.buffer) : packed(codes);
      numbers[name] = Float64Array.from(codes);
      continue;
    } else memory[name] = dtype === "bf16" ? Uint16Array.from(drawn, bits) : drawn;
    numbers[name] = Float64Array.from(memory[name], (x) => (dtype === "bf16" ? valueOf(x) : x));
  }
  const files = filesOf(printSolo(CUDA_DIALECT, kernel));
  const { entries, scratch } = files.kernel;
  const entry = entries.find(({ upTo }) => upTo === undefined || productOf(upTo.product, sizes) <= upTo.most)!;
  const file = entry.file ?? kernel.name;
  const source = { text: files.texts.get(file)!, entry: { ...entry, file }, scratch, more: files.texts };
  await runOnHopper(source, kernel, sizes, memory, { seed });
  evaluateGemm(kernel, { sizes, values: numbers });
  let [error, largest] = [0, 0];
  for (const { name, dtype, access } of kernel.args) {
    if (access === "read") continue;
    for (const [i, wanted] of numbers[name]!.entries()) {
      const found = dtype === "bf16" ? valueOf(memory[name]![i]!) : memory[name]![i]!;
      error = Math.max(error, Number.isNaN(found) ? Infinity : Math.abs(found - wanted));
      largest = Math.max(largest, Math.abs(wanted));
    }
  }
  return { entry: entry.name, error: error / largest };
}

/** Two codes in a byte, the first one in its lower half. */
function packed(codes: Int8Array): Uint8Array {
  return Uint8Array.from(
    { length: Math.ceil(codes.length / 2) },
    (_, i) => (codes[2 * i]! & 15) | ((codes[2 * i + 1]! & 15) << 4),
  );
}

interface Case {
  readonly name: string;
  readonly text: string;
  readonly rows: readonly number[];
  readonly error: number;
}

const CASES: readonly Case[] = [
  {
    name: "columns are neighbors: a residual, columns that fill no block",
    text: `kernel @residual gemm extents [T] {
      read out: bf16[T, 3, 64]
      read wo: bf16[3, 64, 328]
      read x: bf16[T, 328]
      write h: bf16[T, 328]
      batch () m (T) n (D < 328)
      product product: bf16 = sum (H < 3, V < 64) out[T, H, V] @ wo[H, V, D]
      h[T, D] = (x[T, D] + product[])
    }`,
    rows: [1, 5, 8, 9, 64],
    error: 2 ** -8,
  },
  {
    name: "terms are neighbors: logits in f32",
    text: `kernel @head gemm extents [B] {
      read x: bf16[B, 96]
      read weight: bf16[7001, 96]
      write logits: f32[B, 7001]
      batch () m (B) n (V < 7001)
      product product: bf16 = sum (D < 96) x[B, D] @ weight[V, D]
      logits[B, V] = f32(product[])
    }`,
    rows: [1, 8, 33],
    error: 2 ** -20,
  },
  {
    name: "four products of rows of their own, too long for one file",
    text: `kernel @four gemm extents [T] {
      read x_1: bf16[T, 4, 64]
      read w_1: bf16[200, 4, 64]
      read x_2: bf16[T, 4, 64]
      read w_2: bf16[200, 4, 64]
      read x_3: bf16[T, 4, 64]
      read w_3: bf16[200, 4, 64]
      read x_4: bf16[T, 4, 64]
      read w_4: bf16[200, 4, 64]
      write y: f32[T, 200]
      batch () m (T) n (D < 200)
      product p_1: bf16 = sum (H < 4, N < 64) x_1[T, H, N] @ w_1[D, H, N]
      product p_2: bf16 = sum (H < 4, N < 64) x_2[T, H, N] @ w_2[D, H, N]
      product p_3: bf16 = sum (H < 4, N < 64) x_3[T, H, N] @ w_3[D, H, N]
      product p_4: bf16 = sum (H < 4, N < 64) x_4[T, H, N] @ w_4[D, H, N]
      y[T, D] = (f32(p_1[]) + (f32(p_2[]) + (f32(p_3[]) + f32(p_4[]))))
    }`,
    rows: [5, 40],
    error: 2 ** -20,
  },
  {
    name: "rows behind a norm: gate and up",
    text: `kernel @normed gemm extents [T] {
      read h: bf16[T, 176]
      read weight: bf16[176]
      read gate: bf16[176, 200]
      read up: bf16[176, 200]
      write y: bf16[T, 200]
      batch () m (T) n (F < 200)
      row local x: f32[]
      row local x_2: f32[]
      row x[] = sum over (D < 176) square(f32(h[T, D]))
      row x_2[] = rsqrt(((x[] / f32 176) + f32 0.000001))
      product product: bf16 = sum (D < 176) bf16(((f32(h[T, D]) * x_2[]) * weight[D])) @ gate[D, F]
      product product_2: bf16 = sum (D < 176) bf16(((f32(h[T, D]) * x_2[]) * weight[D])) @ up[D, F]
      y[T, F] = (silu(product[]) * product_2[])
    }`,
    rows: [1, 7, 40],
    error: 2 ** -7,
  },
  {
    name: "heads, each with columns whose terms are neighbors",
    text: `kernel @heads gemm extents [T] {
      read x: bf16[T, 5, 192]
      read w: bf16[64, 5, 128]
      write y: bf16[T, 5, 64]
      batch (H < 5) m (T) n (C < 64)
      product product: bf16 = sum (N < 128) x[T, H, N] @ w[C, H, N]
      y[T, H, C] = product[]
    }`,
    rows: [3, 20],
    error: 2 ** -8,
  },
  {
    name: "a router in f32 behind a norm",
    text: `kernel @router gemm extents [T] {
      read h: bf16[T, 132]
      read weight: bf16[132]
      read gate: f32[132, 40]
      write y: f32[T, 40]
      batch () m (T) n (E < 40)
      row local x: f32[]
      row local x_2: f32[]
      row x[] = sum over (D < 132) square(f32(h[T, D]))
      row x_2[] = rsqrt(((x[] / f32 132) + f32 0.000001))
      product product: f32 = sum (D < 132) ((f32(h[T, D]) * x_2[]) * weight[D]) @ gate[D, E]
      y[T, E] = product[]
    }`,
    rows: [1, 6, 61],
    error: 2 ** -20,
  },
  {
    name: "f32 whose terms are neighbors, beside weights of bf16",
    text: `kernel @wide gemm extents [T] {
      read x: f32[T, 144]
      read a: f32[56, 144]
      read b: bf16[144, 56]
      write y: f32[T, 56]
      batch () m (T) n (F < 56)
      product product: f32 = sum (D < 144) x[T, D] @ a[F, D]
      product product_2: f32 = sum (D < 144) x[T, D] @ b[D, F]
      y[T, F] = (product[] - product_2[])
    }`,
    rows: [2, 8, 11],
    error: 2 ** -20,
  },
  {
    name: "rows of experts, some without one: gate and up",
    text: `kernel @experts gemm extents [T] {
      read chosen: i32[T, 2]
      read x: bf16[T, 80]
      read gate: bf16[4, 80, 136]
      read up: bf16[4, 80, 136]
      write y: bf16[T, 2, 136]
      batch () m (T, K < 2) n (F < 136)
      group (E < 4) over m of chosen[T, K]
      product product: bf16 = sum (D < 80) select((chosen[T, K] < i32 0), bf16 0, x[T, D]) @ gate[E, D, F]
      product product_2: bf16 = sum (D < 80) select((chosen[T, K] < i32 0), bf16 0, x[T, D]) @ up[E, D, F]
      y[T, K, F] = (silu(product[]) * product_2[])
    }`,
    rows: [1, 9, 16],
    error: 2 ** -7,
  },
  {
    name: "rows of many experts back",
    text: `kernel @experts_back gemm extents [T] {
      read x: bf16[T, 2, 96]
      read down: bf16[40, 264, 96]
      read chosen: i32[T, 2]
      write y: f32[T, 2, 264]
      batch () m (T, K < 2) n (D < 264)
      group (E < 40) over m of chosen[T, K]
      product product: bf16 = sum (F < 96) x[T, K, F] @ down[E, D, F]
      y[T, K, D] = product[]
    }`,
    rows: [1, 150],
    error: 2 ** -20,
  },
  {
    name: "codes of four bits, columns are neighbors: a norm, gate and up",
    text: `kernel @normed4 gemm extents [T] {
      read h: bf16[T, 192]
      read weight: bf16[192]
      read gate: i4[192, 200]
      read gate_scale: bf16[6, 200]
      read up: i4[192, 200]
      read up_scale: bf16[6, 200]
      write y: f32[T, 200]
      batch () m (T) n (F < 200)
      row local x: f32[]
      row local x_2: f32[]
      row x[] = sum over (D < 192) square(f32(h[T, D]))
      row x_2[] = rsqrt(((x[] / f32 192) + f32 0.000001))
      product product: bf16 = sum (D < 192) bf16(((f32(h[T, D]) * x_2[]) * weight[D])) @ (f32(gate[D, F]) * f32(gate_scale[(D / 32), F]): bf16)
      product product_2: bf16 = sum (D < 192) bf16(((f32(h[T, D]) * x_2[]) * weight[D])) @ (f32(up[D, F]) * f32(up_scale[(D / 32), F]): bf16)
      y[T, F] = (silu(product[]) * product_2[])
    }`,
    rows: [1, 7, 40],
    error: 2 ** -7,
  },
  {
    name: "codes of four bits, many columns: of heads, whose groups are shorter than they",
    text: `kernel @out4 gemm extents [T] {
      read out: bf16[T, 4, 64]
      read wo: i4[4, 64, 6400]
      read scale: bf16[4, 2, 6400]
      write h: f32[T, 6400]
      batch () m (T) n (D < 6400)
      product product: bf16 = sum (H < 4, V < 64) out[T, H, V] @ (f32(wo[H, V, D]) * f32(scale[H, (V / 32), D]): bf16)
      h[T, D] = product[]
    }`,
    rows: [3],
    error: 2 ** -20,
  },
  {
    name: "codes of four bits, terms are neighbors: logits",
    text: `kernel @head4 gemm extents [B] {
      read x: bf16[B, 2304]
      read weight: i4[330, 2304]
      read scale: bf16[330, 72]
      write logits: f32[B, 330]
      batch () m (B) n (V < 330)
      product product: bf16 = sum (D < 2304) x[B, D] @ (f32(weight[V, D]) * f32(scale[V, (D / 32)]): bf16)
      logits[B, V] = f32(product[])
    }`,
    rows: [1, 8, 33],
    error: 2 ** -20,
  },
  {
    name: "codes of eight bits, terms are neighbors: many columns",
    text: `kernel @head8 gemm extents [B] {
      read x: bf16[B, 192]
      read weight: i8[6203, 192]
      read scale: bf16[6203, 3]
      write logits: f32[B, 6203]
      batch () m (B) n (V < 6203)
      product product: bf16 = sum (D < 192) x[B, D] @ (f32(weight[V, D]) * f32(scale[V, (D / 64)]): bf16)
      logits[B, V] = f32(product[])
    }`,
    rows: [2, 17],
    error: 2 ** -20,
  },
  {
    name: "codes of eight bits for each head, one scale for all terms of a column",
    text: `kernel @heads8 gemm extents [T] {
      read x: bf16[T, 5, 96]
      read w: i8[64, 5, 96]
      read scale: bf16[64, 5, 1]
      write y: f32[T, 5, 64]
      batch (H < 5) m (T) n (C < 64)
      product product: bf16 = sum (N < 96) x[T, H, N] @ (f32(w[C, H, N]) * f32(scale[C, H, 0]): bf16)
      y[T, H, C] = product[]
    }`,
    rows: [3, 20],
    error: 2 ** -20,
  },
  {
    name: "codes of eight bits of experts, some rows without one",
    text: `kernel @experts8 gemm extents [T] {
      read chosen: i32[T, 2]
      read x: bf16[T, 128]
      read gate: i8[4, 128, 136]
      read gate_scale: bf16[4, 2, 136]
      read up: i8[4, 128, 136]
      read up_scale: bf16[4, 2, 136]
      write y: f32[T, 2, 136]
      batch () m (T, K < 2) n (F < 136)
      group (E < 4) over m of chosen[T, K]
      product product: bf16 = sum (D < 128) select((chosen[T, K] < i32 0), bf16 0, x[T, D]) @ (f32(gate[E, D, F]) * f32(gate_scale[E, (D / 64), F]): bf16)
      product product_2: bf16 = sum (D < 128) select((chosen[T, K] < i32 0), bf16 0, x[T, D]) @ (f32(up[E, D, F]) * f32(up_scale[E, (D / 64), F]): bf16)
      y[T, K, F] = (silu(product[]) * product_2[])
    }`,
    rows: [1, 9],
    error: 2 ** -7,
  },
  {
    name: "codes beside floats: terms and columns are neighbors",
    text: `kernel @floats gemm extents [T] {
      read x: f32[T, 144]
      read a: i8[56, 144]
      read a_scale: bf16[56, 3]
      read b: i4[144, 56]
      read b_scale: bf16[9, 56]
      read c: bf16[144, 56]
      write y: f32[T, 56]
      batch () m (T) n (F < 56)
      product product: f32 = sum (D < 144) x[T, D] @ (f32(a[F, D]) * f32(a_scale[F, (D / 48)]))
      product product_2: f32 = sum (D < 144) x[T, D] @ (f32(b[D, F]) * f32(b_scale[(D / 16), F]))
      product product_3: f32 = sum (D < 144) x[T, D] @ c[D, F]
      y[T, F] = ((product[] - product_2[]) + product_3[])
    }`,
    rows: [2, 8, 11],
    error: 2 ** -20,
  },
];

describe("products of few rows on CUDA", () => {
  test.each(CASES)(
    "$name",
    async ({ text, rows, error }) => {
      for (const [seed, size] of rows.entries()) {
        const sizes = { T: size, B: size };
        const found = await run(text, sizes, seed + 1);
        expect(found.entry).toMatch(size <= 8 || found.entry === "few" ? "few" : "some");
        expect(found.error, `${size} rows`).toBeLessThan(error);
      }
    },
    120_000,
  );

  test("entry points of a kernel that is too long for one file are in files of their own", () => {
    const { text } = CASES.find(({ name }) => name.startsWith("four products"))!;
    const { texts, kernel } = filesOf(printSolo(CUDA_DIALECT, parseKernels(text).kernels[0] as GemmKernel));
    const grids = kernel.entries.flatMap((entry) => (entry.before === undefined ? [entry] : [entry, entry.before]));
    expect(grids.map(({ name, file }) => `${name} ${file}`)).toEqual(grids.map(({ name }) => `${name} four_${name}`));
    expect([...texts.keys()].toSorted()).toEqual(grids.map(({ file }) => file).toSorted());
    for (const { name, file } of grids) expect(texts.get(file!)!).toContain(` four_${name}(`);
    for (const file of texts.values()) expect(file.split("\n").length - 1).toBeLessThanOrEqual(400);
  });

  test("what is not read in lines is left to threads with a column each", () => {
    const kernel = (b: string, at: string): GemmKernel =>
      parseKernels(`kernel @odd gemm extents [T] {
      read x: bf16[T, 64]
      read w: ${b}
      write y: f32[T, 36]
      batch () m (T) n (F < 36)
      product product: bf16 = sum (D < 64) x[T, D] @ w[${at}]
      y[T, F] = product[]
    }`).kernels[0] as GemmKernel;
    expect(fewRowsOf(kernel("bf16[64, 40]", "D, F")).map(({ name }) => name)).toEqual(["few", "some"]);
    expect(fewRowsOf(kernel("bf16[64, 36]", "D, F"))).toEqual([]);
    expect(fewRowsOf(kernel("bf16[64, 72]", "D, (F * 2)"))).toEqual([]);
  });
});

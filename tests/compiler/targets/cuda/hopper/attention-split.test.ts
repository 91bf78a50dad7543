/** Attention of decode steps whose columns are shared out among blocks, in the harness. */
import { describe, expect, test } from "vitest";
import { parseKernels } from "../../../../../compiler/kernel-ir/parse.ts";
import type { PlaneKernel } from "../../../../../compiler/kernel-ir/types.ts";
import { printHopperAttention } from "../../../../../compiler/targets/cuda/hopper/attention.ts";
import { planAttention } from "../../../../../compiler/targets/cuda/hopper/attention-plan.ts";
import { sharesOf } from "../../../../../compiler/targets/cuda/hopper/attention-split.ts";
import { ATTENTION_RESERVED } from "../../../../../compiler/targets/cuda/hopper/reserved.ts";
import { withoutReserved } from "../../../../../compiler/targets/reserved.ts";
import { evaluatePlane } from "../../../../support/evaluate-plane.ts";
import { runOnHopper } from "../../../../support/on-hopper.ts";
import { bits, drawing, valueOf } from "../../../../support/bf16.ts";

const SEEN = "((pos[S] <= pos_2[T]) & (seq_2[S] == seq[T]))";
const REST = `
      read slot: i32[S]
      read pos: i32[S]
      read pos_2: i32[T]
      read seq: i32[T]
      read seq_2: i32[S]
      read span_from: i32[T]
      read span_to: i32[T]
      local x: f32[S]
      local peak: f32[]
      local sum: f32[]
      local inverse: f32[]`;
const SOFTMAX = `
      for (S) x[S] = (x[S] * bf16 0.1352337788608801: bf16)
      peak[] = max over (S) select(not(${SEEN}), bf16 -inf, x[S]: bf16)
      for (S) x[S] = select(not(${SEEN}), bf16 0, exp((x[S] - select((peak[] == bf16 -inf), f32 0, peak[]): bf16)))
      sum[] = sum over (S) x[S]
      inverse[] = select((sum[] == f32 0), f32 0, recip(sum[]))
      for (S) x[S] = (x[S] * inverse[]: bf16)`;

const latent = (heads: number): string => `kernel @latent plane extents [S, T] {
      read x_2: bf16[T, ${heads}, 512]
      read latent: bf16[cache, 512]
      read x_3: bf16[T, ${heads}, 64]
      read key_pe: bf16[cache, 64]
      write out: bf16[T, ${heads}, 512]
      ${REST}
      batch () rows (T, H < ${heads}) column (S)
      span span_from[T] to span_to[T]
      enter x = sum (C < 512) x_2[T, H, C] @ latent[index(slot[S]), C] + sum (R < 64) x_3[T, H, R] @ key_pe[index(slot[S]), R]
      ${SOFTMAX}
      leave (C < 512) out[T, H, C] = sum over columns x @ latent[index(slot[S]), C]
    }`;

const grouped = `kernel @grouped plane extents [S, T] {
      read x_2: bf16[T, 2, 3, 128]
      read keys: bf16[cache, 2, 128]
      write out: bf16[T, 2, 3, 128]
      read values: bf16[cache, 2, 128]
      ${REST}
      batch (G < 2) rows (T, M < 3) column (S)
      span span_from[T] to span_to[T]
      enter x = sum (N < 128) x_2[T, G, M, N] @ keys[index(slot[S]), G, N]
      ${SOFTMAX}
      leave (N < 128) out[T, G, M, N] = sum over columns x @ values[index(slot[S]), G, N]
    }`;

/** The largest difference to the results in f64: each sequence's next token, or its last two, after all positions of it. */
async function errorOf(text: string, lengths: readonly number[], seed: number, tokens = 1): Promise<number> {
  const kernel = withoutReserved(parseKernels(text).kernels[0] as PlaneKernel, ATTENTION_RESERVED);
  const plan = planAttention(kernel);
  if ("why" in plan) throw new Error(plan.why);
  const columns = lengths.reduce((a, b) => a + b, 0);
  const sizes = { T: lengths.length * tokens, S: columns, cache: columns + 7 };
  const starts = lengths.map((_, i) => lengths.slice(0, i).reduce((a, b) => a + b, 0));
  const rows = lengths.flatMap((length, i) =>
    Array.from({ length: tokens }, (_, t) => ({ seq: i, pos: length - tokens + t })),
  );
  const places = lengths.flatMap((length, seq) => Array.from({ length }, (_, pos) => ({ pos, seq })));
  const given: Record<string, readonly number[]> = {
    slot: places.map((_, i) => columns + 6 - i),
    pos: places.map(({ pos }) => pos),
    seq_2: places.map(({ seq }) => seq),
    pos_2: rows.map(({ pos }) => pos),
    seq: rows.map(({ seq }) => seq),
    span_from: rows.map(({ seq }) => starts[seq]!),
    span_to: rows.map(({ seq }) => starts[seq]! + lengths[seq]!),
  };
  const random = drawing(seed);
  const memory: Record<string, Uint16Array | Int32Array> = {};
  const numbers: Record<string, Float64Array> = {};
  for (const { name, dtype, shape } of kernel.args) {
    const size = shape.reduce<number>((n, x) => n * (typeof x === "number" ? x : sizes[x as keyof typeof sizes]), 1);
    if (dtype === "bf16") {
      const halves = Uint16Array.from({ length: size }, () => bits(2 * random()));
      memory[name] = halves;
      numbers[name] = Float64Array.from(halves, valueOf);
    } else {
      memory[name] = Int32Array.from(given[name.replace(/_$/, "")]!);
      numbers[name] = Float64Array.from(memory[name]);
    }
  }
  await runOnHopper(printHopperAttention(plan), kernel, sizes, memory, { blocks: 5, seed });
  evaluatePlane(kernel, { sizes, values: numbers });
  let error = 0;
  for (const { name, access } of kernel.args) {
    if (access === "read") continue;
    for (const [i, wanted] of numbers[name]!.entries()) {
      const difference = Math.abs(valueOf(memory[name]![i]!) - wanted);
      error = Math.max(error, Number.isNaN(difference) ? Infinity : difference);
    }
  }
  return error;
}

describe("columns of a cache that blocks share", () => {
  // Values are smaller than 1: weights and results are rounded to bf16.
  test.each([
    { name: "one sequence, heads of more than a tile", text: latent(70), lengths: [1001], tokens: 1 },
    { name: "sequences of very different lengths in one tile", text: latent(5), lengths: [900, 1, 33, 450], tokens: 1 },
    { name: "two tokens of each sequence", text: latent(16), lengths: [400, 2, 310], tokens: 2 },
    { name: "groups of heads", text: grouped, lengths: [1200, 7], tokens: 1 },
    { name: "many sequences", text: latent(2), lengths: Array.from({ length: 200 }, (_, i) => 1 + (i % 9)), tokens: 1 },
  ])(
    "$name",
    async ({ text, lengths, tokens }) => {
      expect(await errorOf(text, lengths, 2 + lengths.length, tokens)).toBeLessThan(2 ** -8);
    },
    120_000,
  );

  test("the fewest shares that keep 85 % as many multiprocessors busy as any number would", () => {
    // Tiles, and blocks of columns of each.
    expect(sharesOf(1, 1024)).toBe(113); // 113 of 132
    expect(sharesOf(2, 256)).toBe(55); // at most 64 shares
    expect(sharesOf(2, 64)).toBe(14); // 64 blocks: at most 16 shares
    expect(sharesOf(64, 256)).toBe(2);
    expect(sharesOf(128, 256)).toBe(1);
    expect(sharesOf(16, 3)).toBe(1);
    expect(sharesOf(4096, 256)).toBe(1);
  });
});

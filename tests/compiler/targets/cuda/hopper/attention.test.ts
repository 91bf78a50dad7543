import { describe, expect, test } from "vitest";
import { parseKernels } from "../../../../../compiler/kernel-ir/parse.ts";
import type { PlaneKernel } from "../../../../../compiler/kernel-ir/types.ts";
import { printHopperAttention } from "../../../../../compiler/targets/cuda/hopper/attention.ts";
import { planAttention } from "../../../../../compiler/targets/cuda/hopper/attention-plan.ts";
import { ATTENTION_RESERVED } from "../../../../../compiler/targets/cuda/hopper/reserved.ts";
import { withoutReserved } from "../../../../../compiler/targets/reserved.ts";
import { evaluatePlane } from "../../../../support/evaluate-plane.ts";
import { runOnHopper } from "../../../../support/on-hopper.ts";
import { bits, drawing, valueOf } from "../../../../support/bf16.ts";

interface Case {
  readonly name: string;
  readonly text: string;
  /** Tokens of each document, one behind the other. */
  readonly documents: readonly number[];
  readonly blocks?: number;
  /** Orders of threads. */
  readonly seeds?: readonly number[];
}

/** A softmax of the scores that a condition leaves. */
function softmax(seen: string): string {
  return `
    peak[] = max over (S) select(not(${seen}), bf16 -inf, x[S]: bf16)
    for (S) x[S] = select(not(${seen}), bf16 0, exp((x[S] - select((peak[] == bf16 -inf), f32 0, peak[]): bf16)))
    sum[] = sum over (S) x[S]
    inverse[] = select((sum[] == f32 0), f32 0, recip(sum[]))
    for (S) x[S] = (x[S] * inverse[]: bf16)`;
}

const CAUSAL = softmax("((pos[S] <= pos[T]) & (seq[T] == seq[S]))");

const HEAD = `
  read pos: i32[T]
  read seq: i32[T]
  read span_from: i32[T]
  read span_to: i32[T]
  local x: f32[S]
  local peak: f32[]
  local sum: f32[]
  local inverse: f32[]`;

/** Latent attention of a decode step, for a mask. */
function absorbed(name: string, heads: number, mask: string, seen: string): string {
  return `kernel @${name} plane extents [S, T] {
      read x_2: bf16[T, ${heads}, 512]
      read latent: bf16[cache, 512]
      read slot: i32[S]
      read x_3: bf16[T, ${heads}, 64]
      read key_pe: bf16[cache, 64]
      ${mask}
      write out: bf16[T, ${heads}, 512]
      ${HEAD}
      batch () rows (T, H < ${heads}) column (S)
      span span_from[T] to span_to[T]
      enter x = sum (C < 512) x_2[T, H, C] @ latent[index(slot[S]), C] + sum (R < 64) x_3[T, H, R] @ key_pe[index(slot[S]), R]
      for (S) x[S] = (x[S] * bf16 0.1352337788608801: bf16)
      ${seen}
      leave (C < 512) out[T, H, C] = sum over columns x @ latent[index(slot[S]), C]
    }`;
}

const CASES: readonly Case[] = [
  {
    name: "latent attention of a training step: two products, one of them with a key of all heads",
    documents: [70, 1, 200, 3],
    text: `kernel @latent plane extents [S, T] {
      read x_2: bf16[T, 2, 192]
      read x_3: bf16[S, 2, 128]
      read x_4: bf16[T, 2, 64]
      read x_5: bf16[T, 64]
      write out: bf16[T, 2, 128]
      read x_6: bf16[S, 2, 128]
      ${HEAD}
      batch (H < 2) rows (T) column (S)
      span span_from[T] to span_to[T]
      enter x = sum (N < 128) x_2[T, H, N] @ x_3[S, H, N] + sum (R < 64) x_4[T, H, R] @ x_5[S, R]
      for (S) x[S] = (x[S] * bf16 0.1352337788608801: bf16)
      ${CAUSAL}
      leave (Vh < 128) out[T, H, Vh] = sum over columns x @ x_6[S, H, Vh]
    }`,
  },
  {
    name: "scores with a cap, of a window",
    documents: [130, 60],
    text: `kernel @capped plane extents [S, T] {
      read x_2: bf16[T, 2, 128]
      read x_3: bf16[S, 2, 128]
      write out: bf16[T, 2, 128]
      read x_4: bf16[S, 2, 128]
      ${HEAD}
      batch (H < 2) rows (T) column (S)
      span span_from[T] to span_to[T]
      enter x = sum (N < 128) x_2[T, H, N] @ x_3[S, H, N]
      for (S) x[S] = (tanh(((x[S] * bf16 0.3: bf16) / bf16 2)) * bf16 2)
      ${softmax("(((pos[S] <= pos[T]) & (seq[T] == seq[S])) & ((pos[S] + i32 100) > pos[T]))")}
      leave (N < 128) out[T, H, N] = sum over columns x @ x_4[S, H, N]
    }`,
  },
  {
    name: "rows that keep the log of their sum for the backward pass",
    documents: [70, 1, 60],
    text: `kernel @kept plane extents [S, T] {
      read x_2: bf16[T, 2, 64]
      read x_3: bf16[S, 2, 64]
      write log: f32[T, 2]
      write out: bf16[T, 2, 128]
      read x_6: bf16[S, 2, 128]
      ${HEAD}
      local of_sum: f32[]
      batch (H < 2) rows (T) column (S)
      span span_from[T] to span_to[T]
      enter x = sum (N < 64) x_2[T, H, N] @ x_3[S, H, N]
      for (S) x[S] = (x[S] * bf16 0.1352337788608801: bf16)
      ${CAUSAL}
      of_sum[] = (select((peak[] == bf16 -inf), f32 0, peak[]) + log(sum[]))
      log[T, H] = max(of_sum[], f32 -3e+38)
      leave (Vh < 128) out[T, H, Vh] = sum over columns x @ x_6[S, H, Vh]
    }`,
  },
  {
    name: "a key of all heads in a cache, as a prefill has it",
    documents: [33, 150],
    text: `kernel @prefill plane extents [S, T] {
      read x_2: bf16[T, 3, 128]
      read x_3: bf16[S, 3, 64]
      read x_4: bf16[T, 3, 64]
      read key_pe: bf16[cache, 64]
      read slot: i32[S]
      write out: bf16[T, 3, 64]
      read x_6: bf16[S, 3, 64]
      ${HEAD}
      batch (H < 3) rows (T) column (S)
      span span_from[T] to span_to[T]
      enter x = sum (N < 64) x_2[T, H, N] @ x_3[S, H, N] + sum (R < 64) x_4[T, H, R] @ key_pe[index(slot[S]), R]
      for (S) x[S] = (x[S] * bf16 0.3: bf16)
      ${CAUSAL}
      leave (N < 64) out[T, H, N] = sum over columns x @ x_6[S, H, N]
    }`,
  },
  {
    name: "groups of heads whose keys and values are in a cache",
    documents: [40, 9, 130],
    text: `kernel @grouped plane extents [S, T] {
      read x_2: bf16[T, 2, 3, 128]
      read keys: bf16[cache, 2, 128]
      read slot: i32[S]
      write out: bf16[T, 2, 3, 128]
      read values: bf16[cache, 2, 128]
      ${HEAD}
      batch (G < 2) rows (T, M < 3) column (S)
      span span_from[T] to span_to[T]
      enter x = sum (N < 128) x_2[T, G, M, N] @ keys[index(slot[S]), G, N]
      for (S) x[S] = (x[S] * bf16 0.2: bf16)
      ${CAUSAL}
      leave (N < 128) out[T, G, M, N] = sum over columns x @ values[index(slot[S]), G, N]
    }`,
  },
  {
    name: "latent attention of a decode step: values are keys in a cache, heads are rows",
    documents: [75, 60],
    text: absorbed("absorbed", 3, "", CAUSAL),
  },
  {
    name: "latent values of sequences that have one block, two and more, an odd number of them",
    documents: [1, 33, 97],
    seeds: [2, 3, 4],
    text: absorbed("lengths", 2, "", CAUSAL),
  },
  {
    name: "latent values and a mask that is stored, some rows of which see nothing",
    documents: [2, 40],
    blocks: 1,
    text: absorbed("sparse", 5, "read chosen: bool[T, S]", softmax("chosen[T, S]")),
  },
  {
    name: "a mask that is stored, some rows of which see nothing",
    documents: [30, 60],
    text: `kernel @chosen plane extents [S, T] {
      read x_2: bf16[T, 64]
      read x_3: bf16[S, 64]
      read chosen: bool[T, S]
      write out: bf16[T, 128]
      read x_6: bf16[S, 128]
      ${HEAD}
      batch () rows (T) column (S)
      span span_from[T] to span_to[T]
      enter x = sum (N < 64) x_2[T, N] @ x_3[S, N]
      ${softmax("chosen[T, S]")}
      leave (Vh < 128) out[T, Vh] = sum over columns x @ x_6[S, Vh]
    }`,
  },
  {
    name: "everything sees everything",
    documents: [300],
    blocks: 3,
    text: `kernel @all plane extents [S, T] {
      read x_2: bf16[T, 256]
      read x_3: bf16[S, 256]
      write out: bf16[T, 192]
      read x_6: bf16[S, 192]
      local x: f32[S]
      local peak: f32[]
      local sum: f32[]
      batch () rows (T) column (S)
      enter x = sum (N < 256) x_2[T, N] @ x_3[S, N]
      for (S) x[S] = (x[S] * bf16 0.1: bf16)
      peak[] = max over (S) x[S]
      for (S) x[S] = exp((x[S] - peak[]: bf16))
      sum[] = sum over (S) x[S]
      for (S) x[S] = (x[S] / sum[]: bf16)
      leave (Vh < 192) out[T, Vh] = sum over columns x @ x_6[S, Vh]
    }`,
  },
];

/** The largest difference to the results in f64. */
async function errorOf({ text, documents, blocks = 2 }: Case, seed: number): Promise<number> {
  const kernel = withoutReserved(parseKernels(text).kernels[0] as PlaneKernel, ATTENTION_RESERVED);
  const plan = planAttention(kernel);
  if ("why" in plan) throw new Error(plan.why);
  const tokens = documents.reduce((a, b) => a + b, 0);
  const sizes = { T: tokens, S: tokens, cache: tokens + 7 };
  const random = drawing(seed);
  const places = documents.flatMap((length, seq) => Array.from({ length }, (_, pos) => ({ pos, seq })));
  const given: Record<string, readonly number[]> = {
    pos: places.map(({ pos }) => pos),
    seq: places.map(({ seq }) => seq),
    span_from: places.map(({ pos }, i) => i - pos),
    span_to: places.map((_, i) => i + 1),
    slot: places.map((_, i) => tokens + 6 - i),
    // Of some rows nothing is chosen.
    chosen: places.flatMap((_, i) => places.map((_, j) => Number(i % 5 !== 2 && (i + 2 * j) % 3 !== 0))),
  };
  const memory: Record<string, Uint16Array | Int32Array | Uint8Array | Float32Array> = {};
  const numbers: Record<string, Float64Array> = {};
  for (const { name, dtype, shape } of kernel.args) {
    const sizeOf = (extent: string | number): number =>
      typeof extent === "number" ? extent : sizes[extent as keyof typeof sizes];
    const size = shape.reduce<number>((n, extent) => n * sizeOf(extent), 1);
    if (dtype === "bf16") {
      const halves = Uint16Array.from({ length: size }, () => bits(2 * random()));
      memory[name] = halves;
      numbers[name] = Float64Array.from(halves, valueOf);
    } else if (dtype === "f32") {
      memory[name] = new Float32Array(size);
      numbers[name] = new Float64Array(size);
    } else {
      memory[name] =
        dtype === "bool"
          ? Uint8Array.from(given[name.replace(/_$/, "")]!)
          : Int32Array.from(given[name.replace(/_$/, "")]!);
      numbers[name] = Float64Array.from(given[name.replace(/_$/, "")]!);
    }
  }
  await runOnHopper(printHopperAttention(plan), kernel, sizes, memory, { blocks, seed });
  evaluatePlane(kernel, { sizes, values: numbers });
  let error = 0;
  for (const { name, access } of kernel.args) {
    if (access === "read") continue;
    for (const [i, wanted] of numbers[name]!.entries()) {
      const stored = memory[name]!;
      const difference = Math.abs((stored instanceof Float32Array ? stored[i]! : valueOf(stored[i]!)) - wanted);
      error = Math.max(error, Number.isNaN(difference) ? Infinity : difference);
    }
  }
  return error;
}

describe("attention on Hopper, in the harness", () => {
  // Values are smaller than 1: weights and results are rounded to bf16.
  test.each(CASES)(
    "$name",
    async (one) => {
      for (const seed of one.seeds ?? [1]) expect(await errorOf(one, seed)).toBeLessThan(2 ** -8);
    },
    300_000,
  );
});

describe("planes that stay with threads", () => {
  const [one] = CASES as readonly [Case];
  const refused = (text: string): string => {
    const plan = planAttention(parseKernels(text).kernels[0] as PlaneKernel);
    return "why" in plan ? plan.why : "nothing";
  };

  test.each([
    ["exp((x[S] -", "exp((sum[] -", "scores do not become exponentials of their distance to the largest one"],
    ["x[S] = (x[S] * bf16 0.1352337788608801: bf16)", "x[S] = sigmoid(x[S])", "scores are more than scaled"],
    ["read x_3: bf16", "read x_3: f32", "keys: f32"],
    ["(R < 64) x_4", "(R < 32) x_4", "queries: rows of 32 elements, no multiple of 64"],
    ["x_6[S, H, Vh]", "(x_6[S, H, Vh] + bf16 1)", "values: what is computed on the way"],
  ])("%s as %s", (from, to, why) => {
    expect(refused(one.text.replace(from, to))).toBe(why);
  });
});

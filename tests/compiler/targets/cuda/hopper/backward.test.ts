import { describe, expect, test } from "vitest";
import { parseKernels } from "../../../../../compiler/kernel-ir/parse.ts";
import type { PlaneKernel } from "../../../../../compiler/kernel-ir/types.ts";
import { printHopperBackward } from "../../../../../compiler/targets/cuda/hopper/backward.ts";
import { planBackward } from "../../../../../compiler/targets/cuda/hopper/backward-plan.ts";
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
}

/** From scores and slopes of weights to slopes of scores. */
function softmax(seen: string, scale: number): string {
  return `
      for (S) p[S] = (p[S] * bf16 ${scale}: bf16)
      peak[] = max over (S) select(not(${seen}), bf16 -inf, p[S]: bf16)
      for (S) p[S] = select(not(${seen}), bf16 0, exp((p[S] - select((peak[] == bf16 -inf), f32 0, peak[]): bf16)))
      sum[] = sum over (S) p[S]
      inverse[] = select((sum[] == f32 0), f32 0, recip(sum[]))
      for (S) p[S] = (p[S] * inverse[]: bf16)
      both[] = sum over (S) (p[S] * dp[S]: bf16)
      for (S) dp[S] = ((p[S] * (dp[S] - both[]: bf16): bf16) * bf16 ${scale})`;
}

const CAUSAL = "((pos[S] <= pos[T]) & (seq[T] == seq[S]))";

const PLACES = `
      read pos: i32[T]
      read seq: i32[T]
      read span_from: i32[T]
      read span_to: i32[T]`;

const LOCALS = `
      local p: f32[S]
      local dp: f32[S]
      local peak: f32[]
      local sum: f32[]
      local inverse: f32[]
      local both: f32[]`;

/** Latent attention: two products, one of them with a key of all heads. */
const LATENT = `kernel @latent plane extents [S, T] {
      read out_of: bf16[T, 2, 128]
      read v: bf16[S, 2, 128]
      read q: bf16[T, 2, 192]
      read k: bf16[S, 2, 128]
      read q_pe: bf16[T, 2, 64]
      read k_pe: bf16[S, 64]
      write dv: bf16[S, 2, 128]
      write dq_pe: bf16[T, 2, 64]
      write dk_pe: bf16[S, 2, 64]
      write dq: bf16[T, 2, 128]
      write dk: bf16[S, 2, 128]
      ${PLACES}
      ${LOCALS}
      batch (H < 2) rows (T) column (S)
      span span_from[T] to span_to[T]
      enter dp = sum (Vh < 128) out_of[T, H, Vh] @ v[S, H, Vh]
      enter p = sum (N < 128) q[T, H, N] @ k[S, H, N] + sum (R < 64) q_pe[T, H, R] @ k_pe[S, R]
      ${softmax(CAUSAL, 0.1147)}
      leave (Vh < 128) dv[S, H, Vh] = sum over rows p @ out_of[T, H, Vh]
      leave (R < 64) dq_pe[T, H, R] = sum over columns dp @ k_pe[S, R]
      leave (R < 64) dk_pe[S, H, R] = sum over rows dp @ q_pe[T, H, R]
      leave (N < 128) dq[T, H, N] = sum over columns dp @ k[S, H, N]
      leave (N < 128) dk[S, H, N] = sum over rows dp @ q[T, H, N]
    }`;

const CASES: readonly Case[] = [
  { name: "latent attention of packed documents", documents: [70, 1, 90, 3], text: LATENT },
  {
    name: "heads of 128",
    documents: [40, 131],
    text: `kernel @heads plane extents [S, T] {
      read out_of: bf16[T, 2, 128]
      read v: bf16[T, 2, 128]
      read q: bf16[T, 2, 128]
      read k: bf16[T, 2, 128]
      write dv: bf16[S, 2, 128]
      write dq: bf16[T, 2, 128]
      write dk: bf16[S, 2, 128]
      ${PLACES}
      ${LOCALS}
      batch (H < 2) rows (T) column (S)
      span span_from[T] to span_to[T]
      enter dp = sum (N < 128) out_of[T, H, N] @ v[S, H, N]
      enter p = sum (N < 128) q[T, H, N] @ k[S, H, N]
      ${softmax(CAUSAL, 0.0884)}
      leave (N < 128) dv[S, H, N] = sum over rows p @ out_of[T, H, N]
      leave (N < 128) dq[T, H, N] = sum over columns dp @ k[S, H, N]
      leave (N < 128) dk[S, H, N] = sum over rows dp @ q[T, H, N]
    }`,
  },
  {
    name: "groups of heads with one key",
    documents: [40, 31],
    text: `kernel @grouped plane extents [S, T] {
      read out_of: bf16[T, 2, 6, 128]
      read v: bf16[T, 2, 128]
      read q: bf16[T, 2, 6, 128]
      read k: bf16[T, 2, 128]
      write dv: bf16[S, 2, 128]
      write dq: bf16[T, 2, 6, 128]
      write dk: bf16[S, 2, 128]
      ${PLACES}
      ${LOCALS}
      batch (G < 2) rows (T, M < 6) column (S)
      span span_from[T] to span_to[T]
      enter dp = sum (N < 128) out_of[T, G, M, N] @ v[S, G, N]
      enter p = sum (N < 128) q[T, G, M, N] @ k[S, G, N]
      ${softmax(CAUSAL, 0.0884)}
      leave (N < 128) dv[S, G, N] = sum over rows p @ out_of[T, G, M, N]
      leave (N < 128) dq[T, G, M, N] = sum over columns dp @ k[S, G, N]
      leave (N < 128) dk[S, G, N] = sum over rows dp @ q[T, G, M, N]
    }`,
  },
  {
    name: "everything sees everything, and nobody wants gradients of queries",
    documents: [150],
    blocks: 3,
    text: `kernel @all plane extents [S, T] {
      read out_of: bf16[T, 64]
      read v: bf16[S, 64]
      read q: bf16[T, 128]
      read k: bf16[S, 128]
      write dv: bf16[S, 64]
      write dk: bf16[S, 128]
      ${LOCALS}
      batch () rows (T) column (S)
      enter p = sum (N < 128) q[T, N] @ k[S, N]
      enter dp = sum (N < 64) out_of[T, N] @ v[S, N]
      for (S) p[S] = (p[S] * bf16 0.1: bf16)
      peak[] = max over (S) p[S]
      for (S) p[S] = exp((p[S] - peak[]: bf16))
      sum[] = sum over (S) p[S]
      for (S) p[S] = (p[S] / sum[]: bf16)
      both[] = sum over (S) (p[S] * dp[S]: bf16)
      for (S) dp[S] = (p[S] * (dp[S] - both[]: bf16): bf16)
      leave (N < 64) dv[S, N] = sum over rows p @ out_of[T, N]
      leave (N < 128) dk[S, N] = sum over rows dp @ q[T, N]
    }`,
  },
  {
    name: "rows that have kept the log of their sum, and the sum of weights times slopes",
    documents: [70, 1, 90, 3],
    text: `kernel @kept plane extents [S, T] {
      read out_of: bf16[T, 2, 128]
      read v: bf16[S, 2, 128]
      read q: bf16[T, 2, 128]
      read k: bf16[S, 2, 128]
      read log: f32[T, 2]
      read both: bf16[T, 2]
      write dv: bf16[S, 2, 128]
      write dq: bf16[T, 2, 128]
      write dk: bf16[S, 2, 128]
      ${PLACES}
      local p: f32[S]
      local dp: f32[S]
      batch (H < 2) rows (T) column (S)
      span span_from[T] to span_to[T]
      enter dp = sum (Vh < 128) out_of[T, H, Vh] @ v[S, H, Vh]
      enter p = sum (N < 128) q[T, H, N] @ k[S, H, N]
      for (S) p[S] = select(${CAUSAL}, exp(((p[S] * bf16 0.0884: bf16) - log[T, H]: bf16)), f32 0: bf16)
      for (S) dp[S] = ((p[S] * (dp[S] - both[T, H]: bf16): bf16) * bf16 0.0884)
      leave (Vh < 128) dv[S, H, Vh] = sum over rows p @ out_of[T, H, Vh]
      leave (N < 128) dq[T, H, N] = sum over columns dp @ k[S, H, N]
      leave (N < 128) dk[S, H, N] = sum over rows dp @ q[T, H, N]
    }`,
  },
];

/** Weights of rows that have kept the log of their sum, where a mask lies in memory, and their slopes. */
const MASKED = `
      for (S) p[S] = select(mask[T, S], exp(((p[S] * bf16 0.0884: bf16) - log[T, H]: bf16)), f32 0: bf16)
      for (S) dp[S] = ((p[S] * (dp[S] - both[T, H]: bf16): bf16) * bf16 0.0884)`;

const STORED: readonly Case[] = [
  {
    name: "a stored mask",
    documents: [70, 131],
    text: `kernel @sparse plane extents [S, T] {
      read out_of: bf16[T, 2, 128]
      read v: bf16[S, 2, 128]
      read q: bf16[T, 2, 128]
      read k: bf16[S, 2, 128]
      read q_pe: bf16[T, 2, 64]
      read k_pe: bf16[S, 64]
      read mask: bool[T, S]
      read log: f32[T, 2]
      read both: bf16[T, 2]
      write dv: bf16[S, 2, 128]
      write dq: bf16[T, 2, 128]
      write dk: bf16[S, 2, 128]
      write dq_pe: bf16[T, 2, 64]
      write dk_pe: bf16[S, 2, 64]
      read span_from: i32[T]
      read span_to: i32[T]
      local p: f32[S]
      local dp: f32[S]
      batch (H < 2) rows (T) column (S)
      span span_from[T] to span_to[T]
      enter dp = sum (Vh < 128) out_of[T, H, Vh] @ v[S, H, Vh]
      enter p = sum (N < 128) q[T, H, N] @ k[S, H, N] + sum (R < 64) q_pe[T, H, R] @ k_pe[S, R]
      ${MASKED}
      leave (Vh < 128) dv[S, H, Vh] = sum over rows p @ out_of[T, H, Vh]
      leave (R < 64) dq_pe[T, H, R] = sum over columns dp @ k_pe[S, R]
      leave (R < 64) dk_pe[S, H, R] = sum over rows dp @ q_pe[T, H, R]
      leave (N < 128) dq[T, H, N] = sum over columns dp @ k[S, H, N]
      leave (N < 128) dk[S, H, N] = sum over rows dp @ q[T, H, N]
    }`,
  },
  {
    name: "a stored mask of heads that have a key together, all of whose columns may be seen",
    documents: [70],
    text: `kernel @shared plane extents [S, T] {
      read out_of: bf16[T, 6, 128]
      read v: bf16[S, 128]
      read q: bf16[T, 6, 128]
      read k: bf16[S, 128]
      read mask: bool[T, S]
      read log: f32[T, 6]
      read both: bf16[T, 6]
      write dv: bf16[S, 128]
      write dq: bf16[T, 6, 128]
      write dk: bf16[S, 128]
      local p: f32[S]
      local dp: f32[S]
      batch () rows (T, H < 6) column (S)
      enter dp = sum (N < 128) out_of[T, H, N] @ v[S, N]
      enter p = sum (N < 128) q[T, H, N] @ k[S, N]
      ${MASKED}
      leave (N < 128) dv[S, N] = sum over rows p @ out_of[T, H, N]
      leave (N < 128) dq[T, H, N] = sum over columns dp @ k[S, N]
      leave (N < 128) dk[S, N] = sum over rows dp @ q[T, H, N]
    }`,
  },
];

const CAPPED: Case = {
  name: "scores with a cap",
  documents: [70, 131],
  text: `kernel @capped plane extents [S, T] {
      read out_of: bf16[T, 2, 128]
      read v: bf16[S, 2, 128]
      read q: bf16[T, 2, 128]
      read k: bf16[S, 2, 128]
      read log: f32[T, 2]
      read both: bf16[T, 2]
      write dv: bf16[S, 2, 128]
      write dq: bf16[T, 2, 128]
      write dk: bf16[S, 2, 128]
      ${PLACES}
      local p: f32[S]
      local t: f32[S]
      local dp: f32[S]
      batch (H < 2) rows (T) column (S)
      span span_from[T] to span_to[T]
      enter dp = sum (N < 128) out_of[T, H, N] @ v[S, H, N]
      enter t = sum (N < 128) q[T, H, N] @ k[S, H, N]
      for (S) t[S] = tanh(((t[S] * bf16 0.0884: bf16) / bf16 2))
      for (S) p[S] = select(${CAUSAL}, exp(((t[S] * bf16 2: bf16) - log[T, H]: bf16)), f32 0: bf16)
      for (S) dp[S] = (((((p[S] * (dp[S] - both[T, H]: bf16): bf16) * bf16 2) * (bf16 1 - square(t[S]: bf16))) / bf16 2) * bf16 0.0884)
      leave (N < 128) dv[S, H, N] = sum over rows p @ out_of[T, H, N]
      leave (N < 128) dq[T, H, N] = sum over columns dp @ k[S, H, N]
      leave (N < 128) dk[S, H, N] = sum over rows dp @ q[T, H, N]
    }`,
};

/** How far results lie from those in f64, by argument: the norm of the difference over that of the whole. */
async function errorsOf({ text, documents, blocks = 2 }: Case): Promise<Record<string, number>> {
  const kernel = withoutReserved(parseKernels(text).kernels[0] as PlaneKernel, ATTENTION_RESERVED);
  const plan = planBackward(kernel);
  if ("why" in plan) throw new Error(plan.why);
  const tokens = documents.reduce((a, b) => a + b, 0);
  const sizes = { T: tokens, S: tokens };
  const random = drawing(1);
  const places = documents.flatMap((length, seq) => Array.from({ length }, (_, pos) => ({ pos, seq })));
  const given: Record<string, readonly number[]> = {
    pos: places.map(({ pos }) => pos),
    seq: places.map(({ seq }) => seq),
    span_from: places.map(({ pos }, i) => i - pos),
    span_to: places.map((_, i) => i + 1),
  };
  const memory: Record<string, Uint8Array | Uint16Array | Int32Array | Float32Array> = {};
  const numbers: Record<string, Float64Array> = {};
  for (const { name, dtype, shape, access } of kernel.args) {
    const sizeOf = (extent: string | number): number =>
      typeof extent === "number" ? extent : sizes[extent as keyof typeof sizes];
    const size = shape.reduce<number>((n, extent) => n * sizeOf(extent), 1);
    if (dtype === "bf16") {
      const halves = Uint16Array.from({ length: size }, () => (access === "read" ? bits(4 * random()) : 0));
      memory[name] = halves;
      numbers[name] = Float64Array.from(halves, valueOf);
      // Whatever was there before.
      if (access !== "read") halves.fill(bits(NaN));
    } else if (dtype === "bool") {
      // A half of the columns, anywhere.
      const seen = Uint8Array.from({ length: size }, () => (random() < 0 ? 0 : 1));
      memory[name] = seen;
      numbers[name] = Float64Array.from(seen);
    } else if (dtype === "f32") {
      // Logs of sums: about as large as the largest score.
      const logs = Float32Array.from({ length: size }, () => 4 + 2 * random());
      memory[name] = logs;
      numbers[name] = Float64Array.from(logs);
    } else {
      memory[name] = Int32Array.from(given[name]!);
      numbers[name] = Float64Array.from(given[name]!);
    }
  }
  await runOnHopper(printHopperBackward(plan), kernel, sizes, memory, { blocks });
  evaluatePlane(kernel, { sizes, values: numbers });
  const errors: Record<string, number> = {};
  for (const { name, access } of kernel.args) {
    if (access === "read") continue;
    let [apart, whole] = [0, 0];
    for (const [i, wanted] of numbers[name]!.entries()) {
      apart += (valueOf(memory[name]![i]!) - wanted) ** 2;
      whole += wanted ** 2;
    }
    errors[name] = Math.sqrt(apart / whole);
  }
  return errors;
}

describe("attention's backward pass on Hopper, in the harness", () => {
  // Weights, slopes of scores and results are rounded to bf16, each to a relative 2 ** -9 at most.
  test.each([...CASES, ...STORED, CAPPED])(
    "$name",
    async (one) => {
      const far = Object.entries(await errorsOf(one)).filter(([, error]) => !(error < 3 * 2 ** -9));
      expect(far).toEqual([]);
    },
    300_000,
  );
});

describe("planes that enter twice and stay with threads", () => {
  const refused = (text: string): string => {
    const plan = planBackward(parseKernels(text).kernels[0] as PlaneKernel);
    return "why" in plan ? plan.why : "nothing";
  };

  test.each([
    ["(p[S] * dp[S]: bf16)", "(p[S] + dp[S]: bf16)", "weights times their slopes are not summed"],
    [
      "(dp[S] - both[]: bf16)",
      "(dp[S] - sum[]: bf16)",
      "slopes of scores are no weights times the distance to that sum",
    ],
    ["recip(sum[])", "recip(peak[])", "weights are multiplied by more than their sum says"],
    [
      "sum over rows dp @ q_pe[T, H, R]",
      "sum over rows p @ q_pe[T, H, R]",
      "something leaves that is no gradient of queries, keys or values",
    ],
    ["seq[T] == seq[S]", "p[S] == p[S]", "a mask of what the plane computes"],
  ])("%s as %s", (from, to, why) => {
    expect(refused(LATENT.replaceAll(from, to))).toBe(why);
  });

  test.each([
    ["square(t[S]: bf16)", "square(p[S]: bf16)", "slopes of scores are not those of their cap"],
    ["(t[S] * bf16 2: bf16) - log", "t[S] - log", "nothing"],
    [
      "tanh(((t[S] * bf16 0.0884: bf16) / bf16 2))",
      "(t[S] * bf16 0.0884: bf16)",
      "slopes of scores are no weights times the distance to that sum",
    ],
  ])("%s as %s, of scores with a cap", (from, to, why) => {
    expect(refused(CAPPED.text.replaceAll(from, to))).toBe(why);
  });
});

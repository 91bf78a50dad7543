/** Dense products: those of DeepSeek-V3 for many tokens and for few, their gradients, and a large square one. */
import type { Program } from "../../compiler/tensor-ir/types.ts";
import { bf16Tolerance, type Case, F32_TOLERANCE, programOf } from "./case.ts";
import { GOALS } from "./goals.ts";

/** Columns and terms. */
const SHAPES = [
  [2112, 7168],
  [576, 7168],
  [24576, 1536],
  [32768, 512],
  [7168, 16384],
  [4096, 7168],
  [7168, 2048],
] as const;

/** y[T, N] = x[T, K] w[K, N]. */
function forward(N: number, K: number): Program {
  return programOf(
    "score",
    { T: "?", N, K },
    `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1 w: bf16[K, N] = program.input {name = "w"}
  %2 y: bf16[T, N] = tensor.contract %0, %1
  program.output %2 {name = "y"}`,
  );
}

/** x[T, K] = y[T, N] w[K, N]: the weights' rows are terms now. */
function gradient(N: number, K: number): Program {
  return programOf(
    "score",
    { T: "?", N, K },
    `
  %0 y: bf16[T, N] = program.input {name = "x"}
  %1 w: bf16[K, N] = program.input {name = "w"}
  %2 x: bf16[T, K] = tensor.contract %0, %1
  program.output %2 {name = "y"}`,
  );
}

/** w[K, N] = x[T, K] y[T, N] in f32. */
function weightGradient(N: number, K: number): Program {
  return programOf(
    "score",
    { T: "?", N, K },
    `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1 y: bf16[T, N] = program.input {name = "w"}
  %2: bf16[K, N] = tensor.contract %0, %1
  %3 w: f32[K, N] = tensor.cast %2
  program.output %3 {name = "y"}`,
  );
}

/** y[T, N] = x[T, K] w[N, K] in f32: logits. */
function head(N: number, K: number): Program {
  return programOf(
    "score",
    { T: "?", N, K },
    `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1 w: bf16[N, K] = program.input {name = "w"}
  %2: bf16[T, N] = tensor.contract %0, %1
  %3 y: f32[T, N] = tensor.cast %2
  program.output %3 {name = "y"}`,
  );
}

/** y[T, N] = x[T, K] w[K, N], weights and sums in f32: the scores of a router. */
function scores(N: number, K: number): Program {
  return programOf(
    "score",
    { T: "?", N, K },
    `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1 w: f32[K, N] = program.input {name = "w"}
  %2 y: f32[T, N] = tensor.contract %0, %1
  program.output %2 {name = "y"}`,
  );
}

/** y[T, H, N] = x[T, H, K] w[K, H, N]: queries become latent, and what heads found values. */
function heads(H: number, N: number, K: number): Program {
  return programOf(
    "score",
    { T: "?", H, N, K },
    `
  %0 x: bf16[T, H, K] = program.input {name = "x"}
  %1 w: bf16[K, H, N] = program.input {name = "w"}
  %2 y: bf16[T, H, N] = tensor.contract %0, %1
  program.output %2 {name = "y"}`,
  );
}

interface Shape {
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

function dense(family: "gemm" | "gemm-few", { M, N, K }: Shape): Case {
  const bytes = 2 * (M * K + K * N + M * N);
  return {
    name: `${family}/${M}x${N}x${K}`,
    program: forward(N, K),
    sizes: { T: M },
    flops: 2 * M * N * K,
    bytes,
    limit: family === "gemm" ? "bf16" : "memory",
    goal: GOALS[family],
    deviations: { w: K ** -0.5 },
    peer: { op: "matmul" },
    tolerance: bf16Tolerance(),
  };
}

function input({ M, N, K }: Shape): Case {
  return {
    ...dense("gemm", { M, N, K }),
    name: `gemm-input/${M}x${K}x${N}`,
    program: gradient(N, K),
    deviations: { w: N ** -0.5 },
    peer: { op: "matmul", turned: "w" },
  };
}

function weight({ M, N, K }: Shape): Case {
  return {
    ...dense("gemm", { M, N, K }),
    name: `gemm-weight/${K}x${N}x${M}`,
    program: weightGradient(N, K),
    bytes: 2 * M * (K + N) + 4 * K * N,
    deviations: { w: M ** -0.5 },
    peer: { op: "matmul", turned: "x", f32: true },
    tolerance: { ...bf16Tolerance(), mean: Math.max(bf16Tolerance().mean, F32_TOLERANCE.mean) },
  };
}

function logits(shape: Shape): Case {
  const { M, N, K } = shape;
  return {
    ...dense("gemm-few", shape),
    name: `gemm-head/${M}x${N}x${K}`,
    program: head(N, K),
    bytes: 2 * K * (M + N) + 4 * M * N,
    peer: { op: "matmul", turned: "w", f32: true },
  };
}

function routed(shape: Shape): Case {
  const { M, N, K } = shape;
  const { goal: _, ...base } = dense("gemm-few", shape);
  return {
    ...base,
    name: `gemm-router/${M}x${N}x${K}`,
    program: scores(N, K),
    bytes: 2 * M * K + 4 * N * (K + M),
    peer: { op: "matmul_f32" },
    tolerance: F32_TOLERANCE,
  };
}

function headwise(H: number, shape: Shape): Case {
  const { M, N, K } = shape;
  const base = dense(M > 128 ? "gemm" : "gemm-few", shape);
  return {
    ...base,
    name: `gemm-heads/${M}x${H}x${N}x${K}`,
    program: heads(H, N, K),
    flops: H * base.flops,
    bytes: H * base.bytes,
    peer: { op: "heads" },
  };
}

export function gemmCases(tiny: boolean): Case[] {
  if (tiny) {
    const shape = { M: 80, N: 136, K: 72 };
    const few = { M: 3, N: 136, K: 72 };
    const plain = [dense("gemm", shape), dense("gemm-few", few), input(shape), weight(shape)];
    return [...plain, logits(few), routed(few), headwise(3, shape)];
  }
  const many = SHAPES.map(([N, K]) => ({ M: 4096, N, K }));
  return [
    dense("gemm", { M: 8192, N: 8192, K: 8192 }),
    ...many.map((shape) => dense("gemm", shape)),
    ...[1, 64, 128].flatMap((M) => SHAPES.map(([N, K]) => dense("gemm-few", { M, N, K }))),
    ...many.map(input),
    ...many.map(weight),
    ...[1, 64].map((M) => logits({ M, N: 129280, K: 7168 })),
    ...[64, 4096].map((M) => routed({ M, N: 256, K: 7168 })),
    ...[128, 4096].map((M) => headwise(128, { M, N: 128, K: 512 })),
  ];
}

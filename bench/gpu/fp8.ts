/** Products in eight bits as DeepSeek-V3 has them (section 3.3.2): scales for 1 x 128 of activations and 128 x 128 of weights. */
import { quantizeProducts } from "../../compiler/elaborate/quantize-products.ts";
import { eliminateDead } from "../../compiler/passes/eliminate-dead.ts";
import type { Program } from "../../compiler/tensor-ir/types.ts";
import { bf16Tolerance, type Case, programOf } from "./case.ts";
import { type Goal, GOALS } from "./goals.ts";
import { type Experts, chosenExperts } from "./grouped.ts";

interface Shape {
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** Columns, terms, and the TFLOPS that DeepGEMM has on an H800 with 4096 rows (its README). */
const SHAPES = [
  [2112, 7168, 1009],
  [24576, 1536, 1125],
  [32768, 512, 751],
  [7168, 16384, 1426],
  [4096, 7168, 1265],
  [7168, 2048, 1168],
] as const;

const QUANTIZATION = { activations: 128, weights: [128, 128], quantizes: () => true } as const;

/** Codes and scales are made before a product, by kernels that are no part of its time. */
const QUANTIZERS = /^(?:rows|columns|serial)/;

/** y[T, N] = x[T, K] w[N, K]; `turned`, w[K, N]. */
function dense(N: number, K: number, turned: boolean): Program {
  const program = programOf(
    "score",
    { T: "?", N, K },
    `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1 w: bf16[${turned ? "K, N" : "N, K"}] = model.param {name = "w"}
  %2 y: bf16[T, N] = tensor.contract %0, %1
  program.output %2 {name = "y"}`,
  );
  return quantizeProducts(program, QUANTIZATION);
}

function denseCase({ M, N, K }: Shape, goal: Goal | undefined, turned = false): Case {
  return {
    name: `fp8${turned ? "-turned" : ""}/${M}x${N}x${K}`,
    program: dense(N, K, turned),
    sizes: { T: M },
    flops: 2 * M * N * K,
    bytes: M * K + K * N + 2 * M * N + 4 * (M + N / 128) * (K / 128),
    limit: M >= 1024 ? "fp8" : "memory",
    ...(goal === undefined ? {} : { goal }),
    deviations: { w: K ** -0.5 },
    shared: QUANTIZERS,
    peer: { op: "fp8_matmul", turned },
    // Codes are the same but where a quotient lies between two of them.
    tolerance: bf16Tolerance(2),
  };
}

/** dw[N, K] = dy[T, N] x[T, K], the gradient of a product's weights: tiles of 128 tokens of one channel. */
function gradientCase({ M, N, K }: Shape, goal: Goal | undefined): Case {
  const program = programOf(
    "score",
    { T: "?", N, K },
    `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1 dy: bf16[T, N] = program.input {name = "dy"}
  %2 w: bf16[N, K] = model.param {name = "w"}
  %3: bf16[T, N] = tensor.contract %0, %2
  %4 dw: bf16[N, K] = tensor.contract %1, %0
  program.output %4 {name = "dw"}`,
  );
  return {
    name: `fp8-weight/${N}x${K}x${M}`,
    // The product itself, which says whose gradient it is, is read by nobody.
    program: eliminateDead.run(quantizeProducts(program, QUANTIZATION), {}),
    sizes: { T: M },
    flops: 2 * M * N * K,
    bytes: M * (N + K) + 2 * N * K + (4 * M * (N + K)) / 128,
    limit: "fp8",
    ...(goal === undefined ? {} : { goal }),
    shared: QUANTIZERS,
    peer: { op: "fp8_weight" },
    tolerance: bf16Tolerance(2),
  };
}

/** y[T, Slot, N] = x[T, K] w[expert, N, K]. */
function groupedCase(shape: Experts, goal: Goal): Case {
  const { experts, tokens, slots, N, K } = shape;
  const rows = tokens * slots;
  const program = programOf(
    "score",
    { T: "?", N, K, E: experts, Slot: slots },
    `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1 w: bf16[E, N, K] = model.param {name = "w"}
  %2 chosen: i32[T, Slot] = program.input {name = "chosen"}
  %3: bf16[T, Slot, K] = moe.dispatch %0, %2 {experts = "E", slot = "Slot"}
  %4 y: bf16[T, Slot, N] = moe.contract %3, %1, %2 {experts = "E", slot = "Slot"}
  program.output %4 {name = "y"}`,
  );
  return {
    name: `fp8-grouped/${experts}x${Math.round(rows / experts)}x${N}x${K}`,
    program: quantizeProducts(program, QUANTIZATION),
    sizes: { T: tokens },
    flops: 2 * rows * N * K,
    bytes: rows * K + experts * N * K + 2 * rows * N,
    limit: rows / experts >= 1024 ? "fp8" : "memory",
    goal,
    deviations: { w: K ** -0.5 },
    integers: { chosen: () => chosenExperts(shape) },
    shared: QUANTIZERS,
    peer: { op: "fp8_grouped", experts, slots },
    tolerance: bf16Tolerance(2),
  };
}

/** dw[E, K, N], the sum of x[T, K] dy[T, Slot, N] over the rows of each expert: tiles of 128 rows of one expert. */
function expertsGradientCase(shape: Experts, goal: Goal | undefined): Case {
  const { experts, tokens, slots, N, K } = shape;
  const rows = tokens * slots;
  const program = programOf(
    "score",
    { T: "?", N, K, E: experts, Slot: slots },
    `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1 dy: bf16[T, Slot, N] = program.input {name = "dy"}
  %2 w: bf16[E, K, N] = model.param {name = "w"}
  %3 chosen: i32[T, Slot] = program.input {name = "chosen"}
  %4: bf16[T, Slot, K] = moe.dispatch %0, %3 {experts = "E", slot = "Slot"}
  %5: bf16[T, Slot, N] = moe.contract %4, %2, %3 {experts = "E", slot = "Slot"}
  %6 dw: bf16[E, K, N] = moe.contract_weight %4, %1, %3 {experts = "E", slot = "Slot"}
  program.output %6 {name = "dw"}`,
  );
  return {
    name: `fp8-grouped-weight/${experts}x${Math.round(rows / experts)}x${N}x${K}`,
    // The product itself, which says whose gradient it is, is read by nobody.
    program: eliminateDead.run(quantizeProducts(program, QUANTIZATION), {}),
    sizes: { T: tokens },
    flops: 2 * rows * N * K,
    bytes: rows * (N + K) + 2 * experts * N * K + (4 * rows * (N + K)) / 128,
    limit: "fp8",
    ...(goal === undefined ? {} : { goal }),
    integers: { chosen: () => chosenExperts(shape) },
    shared: QUANTIZERS,
    peer: { op: "fp8_grouped_weight", experts, slots },
    tolerance: bf16Tolerance(2),
  };
}

/** Codes and scales of activations. */
function quantizeCase(M: number, K: number): Case {
  const program = programOf(
    "score",
    { T: "?", K, J: K / 128, I: 128 },
    `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1: f32[T, K] = tensor.cast %0
  %2: f32[T, J, I] = tensor.split_dim %1 {dim = "K", into = ["J", "I"]}
  %3: f32[T, J, I] = math.abs %2
  %4: f32[T, J] = tensor.reduce %3 {kind = "max"}
  %5: f32 = tensor.constant {value = 0.0001}
  %6: f32[T, J] = math.max %4, %5
  %7: f32 = tensor.constant {value = 448}
  %8 scale: f32[T, J] = math.div %6, %7
  %9: f32[T, J, I] = math.div %2, %8
  %10 codes: f8e4m3[T, J, I] = tensor.cast %9
  program.output %8 {name = "scale"}
  program.output %10 {name = "codes"}`,
  );
  return {
    name: `fp8-cast/${M}x${K}`,
    program,
    sizes: { T: M },
    flops: 0,
    bytes: M * K * 3 + (4 * M * K) / 128,
    limit: "memory",
    ...(M * K < 1 << 20 ? {} : { goal: GOALS.rows }),
    peer: { op: "fp8_cast" },
    // A quotient between two codes may become either, 2^-4 apart.
    tolerance: { mean: 1e-3, worst: 2 ** -3 },
  };
}

export function fp8Cases(tiny: boolean): Case[] {
  if (tiny) {
    // Half of a tile at the end, as with the 2112 columns of DeepSeek-V3.
    const shape = { M: 80, N: 192, K: 256 };
    const experts = { experts: 3, tokens: 40, slots: 2, N: 128, K: 256 };
    return [
      denseCase(shape, undefined),
      gradientCase({ M: 256, N: 192, K: 128 }, undefined),
      groupedCase(experts, GOALS["fp8-up"]),
      expertsGradientCase(experts, undefined),
      quantizeCase(9, 256),
    ];
  }
  const share = (tflops: number): Goal => ({ unit: "TFLOPS", gate: 0.75 * tflops, goal: 0.9 * tflops });
  const up = { slots: 1, N: 4096, K: 7168 };
  const down = { slots: 1, N: 7168, K: 2048 };
  return [
    ...SHAPES.map(([N, K, tflops]) => denseCase({ M: 4096, N, K }, share(tflops))),
    denseCase({ M: 4096, N: 4096, K: 7168 }, undefined, true),
    gradientCase({ M: 4096, N: 4096, K: 7168 }, GOALS["fp8-weight"]),
    gradientCase({ M: 4096, N: 7168, K: 2048 }, GOALS["fp8-weight"]),
    gradientCase({ M: 4096, N: 24576, K: 1536 }, GOALS["fp8-weight"]),
    ...[64, 128].flatMap((M) => SHAPES.map(([N, K]) => denseCase({ M, N, K }, GOALS["fp8-few"]))),
    groupedCase({ experts: 4, tokens: 32768, ...up }, GOALS["fp8-up"]),
    groupedCase({ experts: 4, tokens: 32768, ...down }, GOALS["fp8-down"]),
    expertsGradientCase({ experts: 4, tokens: 32768, ...up }, GOALS["fp8-weight"]),
    expertsGradientCase({ experts: 4, tokens: 32768, ...down }, GOALS["fp8-weight"]),
    // Steps of generation: few rows for each expert.
    groupedCase({ experts: 32, tokens: 32 * 20, ...up }, GOALS["fp8-decode"]),
    groupedCase({ experts: 6, tokens: 6 * 20, ...up }, GOALS["fp8-decode"]),
    quantizeCase(8192, 7168),
  ];
}

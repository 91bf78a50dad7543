/** A layer of routed experts as a whole: each token's rows through gate, up and down, added up by their weights. */
import { backwardOf, bf16Tolerance, type Case, programOf } from "./case.ts";
import { GOALS } from "./goals.ts";
import { chosenExperts } from "./grouped.ts";

interface Shape {
  readonly tokens: number;
  readonly D: number;
  readonly F: number;
  readonly experts: number;
  readonly slots: number;
}

/** DeepSeek-V2-Lite's, and the one that SonicMoE (arXiv 2512.14080) measures. */
const SHAPES: readonly Shape[] = [
  { tokens: 16384, D: 2048, F: 1408, experts: 64, slots: 6 },
  { tokens: 32768, D: 4096, F: 1024, experts: 128, slots: 8 },
];

const BODY = `
  %0 x: bf16[T, D] = program.input {name = "x"}
  %1 gate: bf16[E, D, F] = program.input {name = "gate"}
  %2 up: bf16[E, D, F] = program.input {name = "up"}
  %3 down: bf16[E, F, D] = program.input {name = "down"}
  %4 chosen: i32[T, K] = program.input {name = "chosen"}
  %5 weight: f32[T, K] = program.input {name = "weight"}
  %6: bf16[T, K, D] = moe.dispatch %0, %4 {experts = "E", slot = "K"}
  %7: bf16[T, K, F] = moe.contract %6, %1, %4 {experts = "E", slot = "K"}
  %8: bf16[T, K, F] = math.silu %7
  %9: bf16[T, K, F] = moe.contract %6, %2, %4 {experts = "E", slot = "K"}
  %10: bf16[T, K, F] = math.mul %8, %9
  %11: bf16[T, K, D] = moe.contract %10, %3, %4 {experts = "E", slot = "K"}
  %12: f32[T, D] = moe.combine %11, %5, %4 {experts = "E", slot = "K"}
  %13 y: bf16[T, D] = tensor.cast %12
  program.output %13 {name = "y"}`;

function layer(kind: "moe" | "moe-training", shape: Shape): Case {
  const { tokens, D, F, experts, slots } = shape;
  const program = programOf("score", { T: "?", D, F, E: experts, K: slots }, BODY);
  const training = kind === "moe-training";
  return {
    name: `${kind}/${tokens}x${D}x${F}x${experts}x${slots}`,
    program: training ? backwardOf(program, "with forward") : program,
    sizes: { T: tokens },
    flops: 2 * tokens * slots * 3 * D * F * (training ? 3 : 1),
    bytes: 2 * (2 * tokens * D + 3 * experts * D * F) * (training ? 3 : 1),
    limit: "bf16",
    goal: GOALS[kind],
    deviations: { gate: D ** -0.5, up: D ** -0.5, down: F ** -0.5 },
    integers: { chosen: () => chosenExperts({ experts, tokens, slots, N: F, K: D }) },
    peer: { op: kind.replace("-", "_"), experts, slots },
    // Gate, up, what goes into down and what comes out of it are rounded one after the other, here or there or both.
    tolerance: bf16Tolerance(training ? 16 : 6),
  };
}

export function moeCases(tiny: boolean): Case[] {
  const shapes = tiny ? [{ tokens: 40, D: 72, F: 136, experts: 3, slots: 2 }] : SHAPES;
  return [...shapes.map((shape) => layer("moe", shape)), ...shapes.map((shape) => layer("moe-training", shape))];
}

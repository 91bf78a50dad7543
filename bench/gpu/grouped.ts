/** Products of experts: forward, gradients of their rows, gradients of their weights. */
import { bf16Tolerance, type Case, programOf } from "./case.ts";
import { GOALS } from "./goals.ts";

export interface Experts {
  readonly experts: number;
  /** Tokens, each of which goes to `slots` experts. */
  readonly tokens: number;
  readonly slots: number;
  /** Columns and terms. */
  readonly N: number;
  readonly K: number;
}

/** DeepSeek-V3's up (gate and up beside each other) and down on 4 or 8 experts of a rank, DeepSeek-V2-Lite's gate on all of its 64. */
const SHAPES: readonly Experts[] = [
  { experts: 4, tokens: 4 * 8192, slots: 1, N: 4096, K: 7168 },
  { experts: 4, tokens: 4 * 8192, slots: 1, N: 7168, K: 2048 },
  { experts: 8, tokens: 8 * 4096, slots: 1, N: 4096, K: 7168 },
  { experts: 8, tokens: 8 * 4096, slots: 1, N: 7168, K: 2048 },
  { experts: 64, tokens: 16384, slots: 6, N: 1408, K: 2048 },
];

/** Different experts for each token, 0.7 to 1.3 times as many rows for each as were even. */
export function chosenExperts({ experts, tokens, slots }: Experts): Int32Array {
  const weights = Array.from(
    { length: experts },
    (_, e) => 0.7 + (0.6 * ((e * 5) % experts)) / Math.max(1, experts - 1),
  );
  const total = weights.reduce((a, b) => a + b, 0);
  let state = 1;
  const draw = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    let left = (state / 2 ** 32) * total;
    const found = weights.findIndex((weight) => (left -= weight) < 0);
    return found < 0 ? experts - 1 : found;
  };
  const all = new Int32Array(tokens * slots);
  for (let token = 0; token < tokens; token++) {
    const own = new Set<number>();
    while (own.size < slots) own.add(draw());
    all.set([...own], token * slots);
  }
  return all;
}

/** Steps of generation: few rows for each expert, so that reading weights takes the time. */
const FEW: readonly Experts[] = [
  { experts: 32, tokens: 32 * 20, slots: 1, N: 4096, K: 7168 },
  { experts: 64, tokens: 64, slots: 6, N: 1408, K: 2048 },
];

type Kind = "grouped" | "grouped-input" | "grouped-weight";

/** The rows of `x` are those of tokens in `grouped`, where each of them is read by all of its experts. */
const BODIES: Readonly<Record<Kind, string>> = {
  grouped: `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1 w: bf16[E, K, N] = program.input {name = "w"}
  %2 chosen: i32[T, Slot] = program.input {name = "chosen"}
  %3: bf16[T, Slot, K] = moe.dispatch %0, %2 {experts = "E", slot = "Slot"}
  %4 y: bf16[T, Slot, N] = moe.contract %3, %1, %2 {experts = "E", slot = "Slot"}
  program.output %4 {name = "y"}`,
  "grouped-input": `
  %0 y: bf16[T, Slot, N] = program.input {name = "x"}
  %1 w: bf16[E, K, N] = program.input {name = "w"}
  %2 chosen: i32[T, Slot] = program.input {name = "chosen"}
  %3 x: bf16[T, Slot, K] = moe.contract %0, %1, %2 {experts = "E", slot = "Slot"}
  program.output %3 {name = "y"}`,
  "grouped-weight": `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1 y: bf16[T, Slot, N] = program.input {name = "w"}
  %2 chosen: i32[T, Slot] = program.input {name = "chosen"}
  %3: bf16[T, Slot, K] = moe.dispatch %0, %2 {experts = "E", slot = "Slot"}
  %4 w: bf16[E, K, N] = moe.contract_weight %3, %1, %2 {experts = "E", slot = "Slot"}
  program.output %4 {name = "y"}`,
};

function grouped(kind: Kind, shape: Experts): Case {
  const { experts, tokens, slots, N, K } = shape;
  const rows = tokens * slots;
  const terms = { grouped: K, "grouped-input": N, "grouped-weight": rows / experts }[kind];
  return {
    name: `${kind}/${experts}x${Math.round(rows / experts)}x${N}x${K}`,
    program: programOf("score", { T: "?", N, K, E: experts, Slot: slots }, BODIES[kind]),
    sizes: { T: tokens },
    flops: 2 * rows * N * K,
    bytes: 2 * (rows * (N + K) + experts * N * K),
    ...(rows / experts >= 512 ? { limit: "bf16", goal: GOALS.grouped } : { limit: "memory" }),
    deviations: { w: terms ** -0.5 },
    integers: { chosen: () => chosenExperts(shape) },
    peer: { op: kind.replace("-", "_"), experts, slots },
    tolerance: bf16Tolerance(),
  };
}

export function groupedCases(tiny: boolean): Case[] {
  const few = tiny ? [] : FEW;
  const shapes = tiny ? [{ experts: 3, tokens: 40, slots: 2, N: 136, K: 72 }] : SHAPES;
  return [
    ...[...shapes, ...few].map((shape) => grouped("grouped", shape)),
    ...shapes.slice(0, 2).map((shape) => grouped("grouped-input", shape)),
    ...shapes.slice(0, 2).map((shape) => grouped("grouped-weight", shape)),
  ];
}

/** Products whose weights are stored as codes (`--store int8`, `int4`), of many rows: prefill. */
import type { WeightForm } from "../../compiler/lower/stored-weights.ts";
import type { Program } from "../../compiler/tensor-ir/types.ts";
import { bf16Tolerance, type Case, programOf } from "./case.ts";
import { chosenExperts, type Experts } from "./grouped.ts";

type Codes = WeightForm & { readonly kind: "int8" | "int4" };

const FORMS: readonly Codes[] = [
  { kind: "int8", group: 64 },
  { kind: "int4", group: 32 },
];

/** Codes of int8 lie between -124 and 124; as bytes, those of int4 take all values. */
const DEVIATION = 36;

function program(N: number, K: number): Program {
  return programOf(
    "score",
    { T: "?", N, K },
    `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1 w: bf16[K, N] = model.param {name = "w"}
  %2 y: bf16[T, N] = tensor.contract %0, %1
  program.output %2 {name = "y"}`,
  );
}

function programOfExperts({ experts, slots, N, K }: Experts): Program {
  return programOf(
    "score",
    { T: "?", E: experts, Slot: slots, N, K },
    `
  %0 x: bf16[T, K] = program.input {name = "x"}
  %1 w: bf16[E, K, N] = model.param {name = "w"}
  %2 chosen: i32[T, Slot] = program.input {name = "chosen"}
  %3: bf16[T, Slot, K] = moe.dispatch %0, %2 {experts = "E", slot = "Slot"}
  %4 y: bf16[T, Slot, N] = moe.contract %3, %1, %2 {experts = "E", slot = "Slot"}
  program.output %4 {name = "y"}`,
  );
}

/** Bytes of codes and of their scales. */
function bytesOf(size: number, { kind, group }: Codes): number {
  return size * (kind === "int8" ? 1 : 0.5) + 2 * Math.ceil(size / group);
}

/** Products of codes that lie far apart are of the size of bf16's: scales are small. */
function deviations(K: number): Case["deviations"] {
  return { w: DEVIATION, "w.scale": K ** -0.5 / DEVIATION };
}

function dense(store: Codes, M: number, N: number, K: number): Case {
  return {
    name: `stored-${store.kind}/${M}x${N}x${K}`,
    program: program(N, K),
    store,
    sizes: { T: M },
    flops: 2 * M * N * K,
    bytes: 2 * M * (K + N) + bytesOf(K * N, store),
    limit: "bf16",
    deviations: deviations(K)!,
    peer: { op: "stored_matmul", group: store.group, kind: store.kind },
    tolerance: bf16Tolerance(),
  };
}

function grouped(store: Codes, shape: Experts): Case {
  const { experts, tokens, slots, N, K } = shape;
  return {
    name: `stored-${store.kind}-grouped/${experts}x${tokens * slots}x${N}x${K}`,
    program: programOfExperts(shape),
    store,
    sizes: { T: tokens },
    flops: 2 * tokens * slots * N * K,
    bytes: 2 * tokens * (K + slots * N) + bytesOf(experts * K * N, store),
    limit: "bf16",
    deviations: deviations(K)!,
    integers: { chosen: () => chosenExperts(shape) },
    peer: { op: "stored_grouped", group: store.group, kind: store.kind, experts, slots },
    tolerance: bf16Tolerance(),
  };
}

export function storedCases(tiny: boolean): Case[] {
  if (tiny)
    return FORMS.flatMap((form) => [
      dense(form, 80, 136, 72),
      grouped(form, { experts: 3, tokens: 27, slots: 2, N: 136, K: 72 }),
    ]);
  return FORMS.flatMap((form) => [
    dense(form, 4096, 4096, 7168),
    dense(form, 4096, 7168, 2048),
    dense(form, 128, 7168, 2048),
    grouped(form, { experts: 64, tokens: 16384, slots: 6, N: 1408, K: 2048 }),
    grouped(form, { experts: 8, tokens: 8 * 4096, slots: 1, N: 7168, K: 2048 }),
  ]);
}

import { POSITIONS, SEQUENCES, TOKENS } from "../elaborate/sink.ts";
import type { Module } from "../model-ir/types.ts";
import { numberAttr } from "../tensor-ir/attrs.ts";
import { opDefinition } from "../tensor-ir/ops/table.ts";
import type { Op } from "../tensor-ir/types.ts";
import type { Probe } from "./probe.ts";

export interface FlopFacts {
  readonly forwardPerToken: number;
  /** Three times the forward pass: the backward pass computes two products for each of its own. */
  readonly trainPerToken: number;
  /** Tokens of the sequence that the numbers are means over. */
  readonly context: number;
}

/**
 * Matrix work of the forward pass per token of one sequence of `context` tokens, by place: 2 m n k for each contraction,
 * routed ones with the experts that a token visits. Of contractions over both T and S only the positions count that a token
 * sees: half of them, or those of its window. The input embedding is no matrix work; elementwise work is not counted.
 */
export function flopsByPlace(module: Module, { ops, alike }: Probe, context: number): Map<string, number> {
  const sizes = new Map<string, number>([
    [TOKENS, context],
    [POSITIONS, context],
    [SEQUENCES, 1],
  ]);
  for (const [label, size] of module.dims) if (size !== null) sizes.set(label, size);
  const windows = windowsByPlace(ops);
  const places = new Map<string, number>();
  for (const { op, path } of ops) {
    const flops = opDefinition(op.name).flops(op, sizes);
    if (flops === 0) continue;
    const seen = isAttention(op) ? visibleShare(windows.get(path), context) : 1;
    places.set(path, (places.get(path) ?? 0) + (flops * seen) / context);
  }
  return new Map([...places].flatMap(([path, flops]) => alike(path).map((each) => [each, flops] as const)));
}

/** The mean share of the positions that a token sees: those before it, at most `window` of them. */
function visibleShare(window: number | undefined, context: number): number {
  if (window === undefined || window >= context) return 1 / 2;
  return (window - window ** 2 / (2 * context)) / context;
}

/** Windows of attention: places that compare the position of a key with the token's own minus a constant. */
function windowsByPlace(ops: Probe["ops"]): Map<string, number> {
  const source = new Map(ops.flatMap(({ op }) => op.results.map(({ id }) => [id, op] as const)));
  const windows = new Map<string, number>();
  for (const { op, path } of ops) {
    const reach = op.name === "math.gt" ? source.get(op.operands[1]!.id) : undefined;
    const back = reach?.name === "math.sub" ? source.get(reach.operands[1]!.id) : undefined;
    if (!isAttention(op) || back?.name !== "tensor.constant") continue;
    windows.set(path, numberAttr(back.attrs, "value"));
  }
  return windows;
}

export function flopFacts(places: ReadonlyMap<string, number>, context: number): FlopFacts {
  const forwardPerToken = [...places.values()].reduce((a, b) => a + b, 0);
  return { forwardPerToken, trainPerToken: 3 * forwardPerToken, context };
}

/** Whether each token meets each position. */
function isAttention(op: Op): boolean {
  const labels = op.operands.flatMap(({ type }) => type.dims);
  return labels.includes(TOKENS) && labels.includes(POSITIONS);
}

import { POSITIONS, SEQUENCES, TOKENS } from "../elaborate/sink.ts";
import type { Module } from "../model-ir/types.ts";
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
 * routed ones with the experts that a token visits. Scores of a token with later positions are not needed: contractions
 * over both T and S count half. The input embedding is no matrix work; elementwise work is not counted.
 */
export function flopsByPlace(module: Module, { ops }: Probe, context: number): Map<string, number> {
  const sizes = new Map<string, number>([
    [TOKENS, context],
    [POSITIONS, context],
    [SEQUENCES, 1],
  ]);
  for (const [label, size] of module.dims) if (size !== null) sizes.set(label, size);
  const places = new Map<string, number>();
  for (const { op, path } of ops) {
    const flops = opDefinition(op.name).flops(op, sizes);
    if (flops > 0) places.set(path, (places.get(path) ?? 0) + (isCausal(op) ? flops / 2 : flops) / context);
  }
  return places;
}

export function flopFacts(places: ReadonlyMap<string, number>, context: number): FlopFacts {
  const forwardPerToken = [...places.values()].reduce((a, b) => a + b, 0);
  return { forwardPerToken, trainPerToken: 3 * forwardPerToken, context };
}

function isCausal(op: Op): boolean {
  const labels = op.operands.flatMap(({ type }) => type.dims);
  return labels.includes(TOKENS) && labels.includes(POSITIONS);
}

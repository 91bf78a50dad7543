import type { Module } from "../model-ir/types.ts";
import { withoutDims } from "../tensor-ir/ops/dims.ts";
import type { Value } from "../tensor-ir/types.ts";
import type { LossTerm, ProgramHost } from "./host.ts";
import type { Inliner } from "./inline.ts";
import { emitOne, TOKENS } from "./sink.ts";

/** The model on the program's tokens and positions: logits [T, V]. */
export function runForward(module: Module, host: ProgramHost, inliner: Inliner): Value {
  const { forward, root } = module;
  const args = ["tokens", "pos"].map((name) => host.read(name, { dtype: "i32", dims: [TOKENS] }));
  return inliner.run(forward, host.frame("", root), args.slice(0, forward.params.length))[0]!;
}

/** The dim of the vocabulary: what logits have beside T. */
export function vocabularyOf(logits: Value): string {
  const [label, ...others] = withoutDims(logits.type.dims, [TOKENS]);
  if (label === undefined || others.length > 0) throw new Error("logits must have T and one more dim");
  return label;
}

/** How many tokens there are. */
export function vocabularySize({ forward, dims }: Module): number {
  const size = dims.get(vocabularyOf(forward.results[0]!));
  if (typeof size !== "number") throw new Error("the vocabulary has no size");
  return size;
}

/**
 * Cross entropy of logits [T, V] with `target.depth`, summed over the tokens that have a target, and their number: in f32,
 * logsumexp(logits) - logits[target]. The denominator counts the tokens of `among: bool[T]` instead when it is given.
 */
export function crossEntropy(host: ProgramHost, logits: Value, depth: number, name: string, among?: Value): LossTerm {
  const { sink } = host;
  const dim = vocabularyOf(logits);
  const target = host.read(`target.${depth}`, { dtype: "i32", dims: [TOKENS] });
  const perToken = { dtype: "f32", dims: [TOKENS] } as const;
  const scalar = { dtype: "f32", dims: [] } as const;
  const exact =
    logits.type.dtype === "f32"
      ? logits
      : emitOne(sink, "tensor.cast", [logits], { dtype: "f32", dims: logits.type.dims });
  const total = emitOne(sink, "nn.logsumexp", [exact], perToken, { dim });
  const picked = emitOne(sink, "tensor.gather", [exact, target], perToken, { dim });
  const surprise = emitOne(sink, "math.sub", [total, picked], perToken);
  const valid = host.atLeastZero(target);
  const zero = emitOne(sink, "tensor.constant", [], scalar, { value: 0 });
  const counted = emitOne(sink, "math.select", [valid, surprise, zero], perToken);
  const ones = emitOne(sink, "tensor.cast", [among ?? valid], perToken);
  const numerator = emitOne(sink, "tensor.reduce", [counted], scalar, { kind: "sum" });
  const denominator = emitOne(sink, "tensor.reduce", [ones], scalar, { kind: "sum" });
  sink.emit({ name: "loss.term", operands: [numerator, denominator], results: [], attrs: { name } });
  return { name, numerator, denominator };
}

/** A loss as one number, for logs: numerator / denominator of all micro-batches and ranks; 0 when nothing was counted. */
export function meanLoss(host: ProgramHost, { numerator, denominator }: LossTerm): Value {
  const { sink } = host;
  const type = { dtype: "f32", dims: [] } as const;
  const global = emitOne(sink, "loss.global", [denominator], denominator.type);
  const least = emitOne(sink, "tensor.constant", [], type, { value: 1e-9 });
  return emitOne(sink, "math.div", [numerator, emitOne(sink, "math.max", [global, least], type)], type);
}

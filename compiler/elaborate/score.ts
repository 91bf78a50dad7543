import type { Module } from "../model-ir/types.ts";
import { differentiate } from "../tensor-ir/autodiff/differentiate.ts";
import type { DType, Program } from "../tensor-ir/types.ts";
import { crossEntropy, meanLoss, runForward } from "./forward.ts";
import { ProgramHost } from "./host.ts";
import { Inliner } from "./inline.ts";
import { emitOne, inDtype } from "./sink.ts";

export interface ScoreOptions {
  /** Outputs `logits`, which takes memory for all of them; true when not given. */
  readonly logits?: boolean;
  /** Outputs `hidden.0` (what enters the root's stack) to `hidden.L` (after each layer). */
  readonly hidden?: boolean;
  /** Outputs `grad.<path of a param>` of the mean next-token loss. */
  readonly gradients?: boolean;
  /** Emits the metrics of the blocks: loads and choices of the routers. */
  readonly metrics?: boolean;
  /** The dtype of stored params where it is not that of the blocks. */
  readonly master?: DType;
}

/**
 * Teacher-forced scoring of whole sequences, packed along T: inputs `tokens`, `pos`, `seq` and, for the loss, `target.1`
 * (i32[T], -1 for none); outputs `logits` [T, V] in f32 on request and `loss.next_token`, the mean. S is T: nothing is kept
 * between calls.
 */
export function scoreProgram(module: Module, options: ScoreOptions = {}): Program {
  const host = new ProgramHost(module, {
    caches: "whole",
    metrics: options.metrics ?? false,
    losses: false,
    ...(options.master === undefined ? {} : { master: options.master }),
  });
  const logits = runForward(module, host, new Inliner(module, host));
  const output = (name: string, value: typeof logits): void => host.builder.effect("program.output", [value], { name });
  if (options.logits ?? true) output("logits", inDtype(host.sink, logits, "f32"));
  if (options.hidden) host.hidden.forEach((value, layer) => output(`hidden.${layer}`, value));
  const loss = crossEntropy(host, logits, 1, "next_token");
  output("loss.next_token", meanLoss(host, loss));
  if (options.gradients) {
    const params = [...host.params];
    const weight = emitOne(host.sink, "tensor.constant", [], { dtype: "f32", dims: [] }, { value: 1 });
    const gradients = differentiate(
      host.builder,
      [{ ...loss, weight }],
      params.map(([, value]) => value),
    );
    params.forEach(([path], i) => output(`grad.${path}`, gradients[i]!));
  }
  return host.builder.finish("score");
}

/**
 * What a training evaluates with: the loss of `score` without its logits, so that lowering need not store them.
 * @param master the dtype of stored params
 */
export function evaluationProgram(module: Module, master: DType): Program {
  return { ...scoreProgram(module, { logits: false, master }), name: "evaluate" };
}

import { joinPath, placesOf } from "../model-ir/places.ts";
import type { Block, Module } from "../model-ir/types.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import { differentiate, type WeightedLoss } from "../tensor-ir/autodiff/differentiate.ts";
import type { DType, Program, TensorType, Value } from "../tensor-ir/types.ts";
import { denseCopies } from "./copies.ts";
import { crossEntropy, meanLoss, runForward } from "./forward.ts";
import { ProgramHost } from "./host.ts";
import { Inliner } from "./inline.ts";
import { type AheadDivisor, runAhead } from "./look-ahead.ts";
import { emitOne } from "./sink.ts";
import { updateParams } from "./update.ts";

/** What a `train` section makes of a model's training step. */
export interface TrainPlan {
  /** `weight` is a number or the name of a program input: `train.loss.mtp`. */
  readonly objective: readonly { readonly loss: string; readonly weight: number | string }[];
  /** The optimizer for a param of this type; `decayed` is false for params with less than two dims: norms and biases. */
  readonly optimizer: (type: TensorType, decayed: boolean) => Block;
  /** `valid` when not given. */
  readonly divideAheadBy?: AheadDivisor;
  /** The largest norm of the gradient; undefined for no limit. */
  readonly clip?: number;
  /** The dtype of stored params; f32 when not given. */
  readonly master?: DType;
}

const SCALAR: TensorType = { dtype: "f32", dims: [] };

/**
 * One training step of a module's training variant: forward, look-ahead modules when the objective has `mtp`, gradients,
 * clipping, optimizer, then the `on step` of the blocks. Inputs as for `score`, with `ahead.k` and `target.k` up to the
 * depth, `lr`, `step` and `train.x`. Outputs `loss`, `loss.<name>` (without its weight) and `grad_norm`.
 */
export function trainStepProgram(module: Module, plan: TrainPlan): Program {
  const host = new ProgramHost(module, { caches: "whole", metrics: true, losses: true, master: plan.master ?? "f32" });
  const inliner = new Inliner(module, host);
  const logits = runForward(module, host, inliner);
  host.losses.push(crossEntropy(host, logits, 1, "next_token"));
  const looksAhead = plan.objective.some(({ loss }) => loss === "mtp");
  if (looksAhead) host.losses.push(...runAhead(module, host, inliner, plan.divideAheadBy));

  const params = [...host.params];
  const gradients = differentiate(
    host.builder,
    objective(plan, host),
    params.map(([, value]) => value),
  );
  updateParams(
    module,
    plan,
    host,
    inliner,
    params.map(([path, value], i) => ({ path, value, gradient: gradients[i]! })),
  );
  runEvents(module, host, inliner);
  return host.builder.finish("train_step");
}

/** The losses with their weights. Outputs each of them without its weight, and their weighted sum. */
function objective(plan: TrainPlan, host: ProgramHost): WeightedLoss[] {
  const { sink, builder } = host;
  const binary = (name: string, a: Value, b: Value): Value => emitOne(sink, name, [a, b], SCALAR);
  const constant = (value: number): Value => emitOne(sink, "tensor.constant", [], SCALAR, { value });
  const parts: Value[] = [];
  const weighted = plan.objective.flatMap(({ loss, weight }) => {
    const terms = host.losses.filter(({ name }) => lastPart(name) === loss);
    if (terms.length === 0) throw new Error(`no part of the model has the loss ${loss}`);
    // The depths share one weight (Eq. 25); everything else adds up over the layers.
    const share = constant(loss === "mtp" ? 1 / terms.length : 1);
    const sum = terms.map((term) => meanLoss(host, term)).reduce((a, b) => binary("math.add", a, b));
    const value = binary("math.mul", sum, share);
    const factor = typeof weight === "number" ? constant(weight) : host.read(weight, SCALAR);
    builder.effect("program.output", [value], { name: `loss.${loss}` });
    parts.push(binary("math.mul", value, factor));
    const each = binary("math.mul", factor, share);
    return terms.map((term) => ({ ...term, weight: each }));
  });
  const total = parts.reduce((a, b) => binary("math.add", a, b));
  builder.effect("program.output", [total], { name: "loss" });
  return weighted;
}

/** `on step` of every place that ran: what it reads of its metrics was emitted in this step. */
function runEvents(module: Module, host: ProgramHost, inliner: Inliner): void {
  for (const { path, block, copies } of placesOf(module.root)) {
    if (block.onStep === undefined) continue;
    const metrics = block.onStep.ops.filter((op) => op.name === "model.metric");
    if (!metrics.every((op) => host.metrics.has(joinPath(path, stringAttr(op.attrs, "name"))))) continue;
    const sink = copies.reduce((outer, label) => denseCopies(label, outer), host.sink);
    inliner.run(block.onStep, { path, block, sink }, []);
  }
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf(".") + 1);
}

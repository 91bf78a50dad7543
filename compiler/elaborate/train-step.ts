import { joinPath, placesOf } from "../model-ir/places.ts";
import type { Ahead, Block, Module } from "../model-ir/types.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import { differentiate, type WeightedLoss } from "../tensor-ir/autodiff/differentiate.ts";
import type { DType, Program, TensorType, Value } from "../tensor-ir/types.ts";
import { denseCopies } from "./copies.ts";
import { crossEntropy, meanLoss, runForward } from "./forward.ts";
import { ProgramHost } from "./host.ts";
import { Inliner } from "./inline.ts";
import { emitOne, TOKENS } from "./sink.ts";
import { updateParams } from "./update.ts";

/** What a `train` section makes of a model's training step. */
export interface TrainPlan {
  /** `weight` is a number or the name of a program input: `train.loss.mtp`. */
  readonly objective: readonly { readonly loss: string; readonly weight: number | string }[];
  /** The optimizer for a param of this type; `decayed` is false for params with less than two dims: norms and biases. */
  readonly optimizer: (type: TensorType, decayed: boolean) => Block;
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
  if (looksAhead) for (const [use, ahead] of module.ahead) runAhead(module, use, ahead, host, inliner);

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

/**
 * Multi-token prediction (DeepSeek-V3 section 2.2): module k takes the hidden state of depth k - 1 (at first what the head
 * of the model reads) and the embedding of the token k ahead, and predicts the one after it. Positions without a token
 * ahead do not count as live.
 */
function runAhead(module: Module, use: string, ahead: Ahead, host: ProgramHost, inliner: Inliner): void {
  const { root } = module;
  const target = root.uses.get(use);
  if (target?.kind !== "ahead") throw new Error(`${use} is no look-ahead use`);
  const blockOf = (name: string): Block => {
    const shared = root.uses.get(name);
    if (shared?.kind !== "block") throw new Error(`${use} shares ${name}, which is no block`);
    return shared.block;
  };
  const { embed, head } = ahead;
  let hidden = host.calls.findLast(({ use: called, fn }) => called === head.use && fn === head.fn.id)?.args[0];
  if (hidden === undefined) throw new Error(`forward does not call ${head.use} as ${use} does`);
  const pos = host.read("pos", { dtype: "i32", dims: [TOKENS] });
  for (let k = 1; k <= ahead.depth; k++) {
    const path = joinPath(use, k - 1);
    const tokens = host.read(`ahead.${k}`, { dtype: "i32", dims: [TOKENS] });
    host.bindings.set("live", host.atLeastZero(tokens));
    const [embedding] = inliner.run(embed.fn, host.frame(embed.use, blockOf(embed.use)), [tokens]);
    const frame = host.frame(path, target.block);
    [hidden] = inliner.run(ahead.forward, frame, [hidden!, embedding!, pos]);
    const [seen] = inliner.run(ahead.readout, frame, [hidden!]);
    const [logits] = inliner.run(head.fn, host.frame(head.use, blockOf(head.use)), [seen!]);
    host.losses.push(crossEntropy(host, logits!, k + 1, joinPath(path, "mtp")));
    host.bindings.delete("live");
  }
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

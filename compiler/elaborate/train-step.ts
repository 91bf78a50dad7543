import { joinPath, placesOf } from "../model-ir/places.ts";
import type { Block, Module } from "../model-ir/types.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import { differentiate, type WeightedLoss } from "../tensor-ir/autodiff/differentiate.ts";
import type { DimLabel, DType, Op, Program, TensorType, Value } from "../tensor-ir/types.ts";
import { denseCopies } from "./copies.ts";
import { crossEntropy, meanLoss, runForward, vocabularyOf } from "./forward.ts";
import { type HostSettings, ProgramHost } from "./host.ts";
import { Inliner } from "./inline.ts";
import { type AheadDivisor, runAhead } from "./look-ahead.ts";
import { type Quantization, quantizeProducts } from "./quantize-products.ts";
import { cast, emitOne } from "./sink.ts";
import { type TrainedParam, updateParams } from "./update.ts";

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
  /** The dtype of the optimizer's stored states; f32 when not given. */
  readonly moments?: DType;
  /** The dtype of the gradient's sums over several calls; that of the stored params when not given. */
  readonly gradients?: DType;
  /** Products in eight bits; in the dtype of their operands when not given. */
  readonly products?: Quantization;
}

/** The dtype in which a training stores params. */
export function masterOf({ master = "f32" }: Pick<TrainPlan, "master">): DType {
  return master;
}

const SCALAR: TensorType = { dtype: "f32", dims: [] };

/**
 * One training step of a module's training variant: forward, look-ahead modules when the objective has `mtp`, gradients,
 * clipping, optimizer, then the `on step` of the blocks. Inputs as for `score`, with `ahead.k` and `target.k` up to the
 * depth, `lr`, `step` and `train.x`. Outputs `loss`, `loss.<name>` (without its weight) and `grad_norm`.
 */
export function trainStepProgram(module: Module, plan: TrainPlan): Program {
  const step = lossesOf(module, plan);
  const { host, inliner } = step;
  updateParams(module, plan, host, inliner, gradientsOf(step));
  runEvents(module, host, inliner);
  return inProducts(host.builder.finish("train_step"), plan, step);
}

/** A step under construction: forward pass and losses are there. */
interface Step {
  readonly host: ProgramHost;
  readonly inliner: Inliner;
  readonly objective: readonly WeightedLoss[];
  /** The dim of logits. */
  readonly vocabulary: DimLabel;
}

function lossesOf(module: Module, plan: TrainPlan): Step {
  const host = new ProgramHost(module, settings(plan));
  const inliner = new Inliner(module, host);
  const logits = runForward(module, host, inliner);
  host.losses.push(crossEntropy(host, logits, 1, "next_token"));
  const looksAhead = plan.objective.some(({ loss }) => loss === "mtp");
  if (looksAhead) host.losses.push(...runAhead(module, host, inliner, plan.divideAheadBy));
  return { host, inliner, objective: objective(plan, host), vocabulary: vocabularyOf(logits) };
}

/** With products as the plan wants them. */
function inProducts(program: Program, { products }: TrainPlan, { vocabulary }: Step): Program {
  return products === undefined ? program : quantizeProducts(program, { ...products, vocabulary });
}

function settings(plan: TrainPlan): HostSettings {
  const { moments } = plan;
  return {
    caches: "whole",
    metrics: true,
    losses: true,
    master: masterOf(plan),
    ...(moments === undefined ? {} : { moments }),
  };
}

function gradientsOf({ host, objective: losses }: Step): TrainedParam[] {
  const params = [...host.params];
  const gradients = differentiate(
    host.builder,
    losses,
    params.map(([, value]) => value),
  );
  return params.map(([path, value], i) => ({ path, value, gradient: gradients[i]! }));
}

/**
 * A training step in several calls, for batches that do not fit into one (runtime/train/trainer.ts):
 *
 * - `denominators` outputs `denominator.<loss term>` of its sequences;
 * - `gradients` reads the sums of these over all calls as inputs of the same names, and adds to the states
 *   `gradient.<param>` and, for what `on step` reads, `step.<metric>`; its outputs are shares of those of `train_step`;
 * - `apply` clips, runs the optimizer and `on step` on the sums, and sets these states to 0.
 */
export function accumulationPrograms(module: Module, plan: TrainPlan): readonly [Program, Program, Program] {
  const step = lossesOf(module, plan);
  const { host } = step;
  const trained = gradientsOf(step);
  const metrics = [...host.metrics].filter(([path]) => isReadOnStep(module, path));
  const add = (name: string, value: Value, dtype = value.type.dtype): void => {
    const { type } = value;
    const stored = { ...type, dtype };
    const sum = cast(host.sink, emitOne(host.sink, "model.state", [], stored, { name }), type.dtype);
    const added = cast(host.sink, emitOne(host.sink, "math.add", [sum, value], type), dtype);
    host.builder.effect("model.update", [added], { name });
  };
  for (const { path, gradient } of trained) add(joinPath("gradient", path), gradient, plan.gradients);
  for (const [path, value] of metrics) add(joinPath("step", path), value);
  const gradients = inProducts(withGlobals(host.builder.finish("gradients"), host), plan, step);
  return [denominatorsProgram(module, plan), gradients, applyProgram(module, plan, trained, metrics)];
}

function denominatorsProgram(module: Module, plan: TrainPlan): Program {
  const { host } = lossesOf(module, plan);
  for (const [name, value] of denominators(host)) host.builder.effect("program.output", [value], { name });
  const program = host.builder.finish("denominators");
  const isOther = ({ name, attrs }: Op): boolean =>
    name === "metric.emit" ||
    name === "loss.term" ||
    (name === "program.output" && !String(attrs["name"]).startsWith("denominator."));
  return { ...program, ops: program.ops.filter((op) => !isOther(op)) };
}

function denominators(host: ProgramHost): Map<string, Value> {
  return new Map(host.losses.map(({ name, denominator }) => [joinPath("denominator", name), denominator]));
}

/** The program with inputs in the place of `loss.global`. */
function withGlobals(program: Program, host: ProgramHost): Program {
  const names = new Map([...denominators(host)].map(([name, { id }]) => [id, name]));
  const ops = program.ops.map((op): Op => {
    if (op.name !== "loss.global") return op;
    const name = names.get(op.operands[0]!.id);
    if (name === undefined) throw new Error(`%${op.operands[0]!.id} is the denominator of no loss`);
    return { ...op, name: "program.input", operands: [], attrs: { name } };
  });
  return { ...program, ops };
}

function applyProgram(
  module: Module,
  plan: TrainPlan,
  trained: readonly TrainedParam[],
  metrics: readonly (readonly [string, Value])[],
): Program {
  const host = new ProgramHost(module, settings(plan));
  const inliner = new Inliner(module, host);
  const state = (name: string, { type }: Value): Value => emitOne(host.sink, "model.state", [], type, { name });
  const sumOf = ({ type }: Value): TensorType => ({ ...type, dtype: plan.gradients ?? type.dtype });
  const params = trained.map(({ path, value, gradient }): TrainedParam => {
    const stored = emitOne(host.sink, "model.param", [], value.type, { name: path });
    host.params.set(path, stored);
    const name = joinPath("gradient", path);
    return { path, value: stored, gradient: emitOne(host.sink, "model.state", [], sumOf(gradient), { name }) };
  });
  for (const [path, value] of metrics) host.metrics.set(path, state(joinPath("step", path), value));
  updateParams(module, plan, host, inliner, params);
  runEvents(module, host, inliner);
  const clear = (name: string, type: TensorType): void => {
    const zero = emitOne(host.sink, "tensor.constant", [], type, { value: 0 });
    host.builder.effect("model.update", [zero], { name });
  };
  for (const { path, gradient } of trained) clear(joinPath("gradient", path), sumOf(gradient));
  for (const [path, { type }] of metrics) clear(joinPath("step", path), type);
  return host.builder.finish("apply");
}

/** Whether the block that emits a metric reads it in `on step`. */
function isReadOnStep(module: Module, metric: string): boolean {
  return placesOf(module.root).some(({ path, block }) =>
    (block.onStep?.ops ?? []).some(
      (op) => op.name === "model.metric" && joinPath(path, stringAttr(op.attrs, "name")) === metric,
    ),
  );
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

import { joinPath, storesOf } from "../model-ir/places.ts";
import type { Module } from "../model-ir/types.ts";
import type { TensorType, Value } from "../tensor-ir/types.ts";
import type { ProgramHost } from "./host.ts";
import type { Inliner } from "./inline.ts";
import { cast, emitOne } from "./sink.ts";
import type { TrainPlan } from "./train-step.ts";

const SCALAR: TensorType = { dtype: "f32", dims: [] };

export interface TrainedParam {
  readonly path: string;
  readonly value: Value;
  readonly gradient: Value;
}

/** Clips the gradient by its global norm and runs the optimizer on every param; its states are `optimizer.<path>.<name>`. */
export function updateParams(
  module: Module,
  plan: TrainPlan,
  host: ProgramHost,
  inliner: Inliner,
  params: readonly TrainedParam[],
): void {
  const exact = params.map((param) => ({
    ...param,
    gradient: cast(host.sink, param.gradient, "f32"),
    value: cast(host.sink, param.value, "f32"),
  }));
  const scale = clipping(
    host,
    exact.map(({ gradient }) => gradient),
    plan.clip,
  );
  const rank = new Map(storesOf(module.root).map(({ path, store }) => [path, store.type.dims.length]));
  for (const { path, value, gradient } of exact) {
    const grad =
      scale === undefined
        ? gradient
        : emitOne(host.sink, "math.mul", [gradient, scale], gradient.type, {}, undefined, "grad");
    const at = joinPath("optimizer", path);
    const block = plan.optimizer(value.type, rank.get(path)! >= 2);
    if (block.onStep === undefined) throw new Error(`${block.id} is no optimizer`);
    host.bindings.set("weight", value).set("grad", grad);
    host.targets.set(joinPath(at, "weight"), path);
    inliner.run(block.onStep, host.frame(at, block), []);
  }
  host.bindings.delete("weight");
  host.bindings.delete("grad");
}

/** min(1, clip / (norm + 1e-6)), as torch's clip_grad_norm_; the norm is an output. */
function clipping(host: ProgramHost, gradients: readonly Value[], clip: number | undefined): Value | undefined {
  const { sink } = host;
  const constant = (value: number): Value => emitOne(sink, "tensor.constant", [], SCALAR, { value });
  const binary = (name: string, a: Value, b: Value): Value => emitOne(sink, name, [a, b], SCALAR);
  const squares = gradients.map((gradient) => {
    const square = emitOne(sink, "math.square", [gradient], gradient.type);
    return gradient.type.dims.length === 0 ? square : emitOne(sink, "tensor.reduce", [square], SCALAR, { kind: "sum" });
  });
  const norm = emitOne(sink, "math.sqrt", [squares.reduce((a, b) => binary("math.add", a, b))], SCALAR);
  host.builder.effect("program.output", [norm], { name: "grad_norm" });
  if (clip === undefined) return undefined;
  const factor = binary("math.div", constant(clip), binary("math.add", norm, constant(1e-6)));
  return emitOne(sink, "math.min", [factor, constant(1)], SCALAR, {}, undefined, "clip");
}

import type { NameTable } from "../../runtime/io/names/table.ts";
import type { ModelFile, ModelStore } from "../../runtime/program/model.ts";
import { vocabularySize } from "../elaborate/forward.ts";
import { masterOf, type TrainPlan } from "../elaborate/train-step.ts";
import { joinPath, type PlacedStore, storesOf } from "../model-ir/places.ts";
import type { Module, Store } from "../model-ir/types.ts";
import type { DType, Program, TensorType } from "../tensor-ir/types.ts";

/**
 * What the runtime must know of a model: its params and states with their initial values and, with a table, their names in
 * checkpoints. With a plan also the states of its optimizer, and params as training stores them.
 */
export function modelFile(
  module: Module,
  names?: NameTable,
  plan?: TrainPlan,
  transient: readonly TransientState[] = [],
): ModelFile {
  const placed = storesOf(module.root).filter(({ store }) => store.kind !== "cache");
  const params = placed.filter(({ store }) => store.kind === "param");
  const stores = placed.map((one) => modelStore(module, one, plan && masterOf(plan)));
  return {
    format: 1,
    name: module.name,
    vocabulary: vocabularySize(module),
    stores: [
      ...stores,
      ...(plan === undefined ? [] : params.flatMap((one) => optimizerStores(module, one, plan))),
      ...transient.map((state) => transientStore(module, state)),
    ],
    ...(names === undefined ? {} : { names }),
  };
}

/** A state that is empty between steps, and the type that programs read it with. */
export interface TransientState {
  readonly name: string;
  readonly type: TensorType;
}

/** The states that a step in several calls sums up in. */
export function transientStates([, gradients]: readonly [Program, Program, Program]): TransientState[] {
  return gradients.ops.flatMap(({ name, attrs, results }) => {
    const store = String(attrs["name"]);
    return name === "model.state" && /^(gradient|step)\./.test(store) ? [{ name: store, type: results[0]!.type }] : [];
  });
}

function transientStore({ dims }: Module, { name, type }: TransientState): ModelStore {
  const shape = type.dims.map((label) => dims.get(label)!);
  return { name, kind: "state", dtype: type.dtype, shape, init: { kind: "constant", value: 0 }, transient: true };
}

function modelStore(module: Module, { path, store, type, place }: PlacedStore, master: DType | undefined): ModelStore {
  const dtype = store.kind === "param" ? (master ?? type.dtype) : type.dtype;
  return {
    ...described(module, path, store, { ...type, dtype }),
    kind: store.kind === "param" ? "param" : "state",
    blocks: place.block.names,
    ...(place.ahead ? { ahead: true } : {}),
  };
}

/** The states that the plan's optimizer keeps for one param: `optimizer.<path>.m`. */
function optimizerStores(module: Module, { path, store, type }: PlacedStore, plan: TrainPlan): ModelStore[] {
  const block = plan.optimizer({ dtype: "f32", dims: type.dims }, store.type.dims.length >= 2);
  return [...block.stores.values()].map((state) => ({
    ...described(module, joinPath(joinPath("optimizer", path), state.name), state, state.type),
    kind: "state",
  }));
}

function described(module: Module, name: string, { init }: Store, type: TensorType): Omit<ModelStore, "kind"> {
  const shape = type.dims.map((label) => {
    const size = module.dims.get(label);
    if (typeof size !== "number") throw new Error(`${name} has the run-time dim ${label}`);
    return size;
  });
  return { name, dtype: type.dtype, shape, init };
}

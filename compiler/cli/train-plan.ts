/** What a `train` section says about one training step. */
import type { TrainingModel } from "../../dsl/semantics/check.ts";
import { callAt, numberOf } from "../../dsl/semantics/sections/look-up.ts";
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import type { CallValue } from "../../dsl/semantics/sections/types.ts";
import type { TrainPlan } from "../elaborate/train-step.ts";
import { paramsOfParts } from "../model-ir/parts.ts";
import { type PlacedStore, storesOf } from "../model-ir/places.ts";
import type { Module } from "../model-ir/types.ts";
import { optimizerConstants } from "../package/training-plan.ts";
import { InputError } from "./io.ts";

/** The plan of a section for its model's training variant; without a section, next-token prediction with AdamW. */
export function trainPlan(section: CheckedSection | undefined, training: TrainingModel): TrainPlan {
  const optimizer = section === undefined ? undefined : callAt(section.entries, "optimizer");
  const clip = numberOf(optimizer?.args.get("clip"));
  const isBf16 = (entry: string): boolean => {
    const value = section?.entries.get(`precision.${entry}`)?.value;
    return value?.kind === "word" && value.name === "bf16";
  };
  return {
    objective: section === undefined ? [{ loss: "next_token", weight: 1 }] : objective(section),
    optimizer: optimizerOf(optimizer, training),
    ...(clip === undefined ? {} : { clip }),
    ...(dividesByLength(section) ? { divideAheadBy: "length" } : {}),
    ...(isBf16("master") ? { master: "bf16" } : {}),
    ...(isBf16("moments") ? { moments: "bf16" } : {}),
    ...(isBf16("gradients") ? { gradients: "bf16" } : {}),
    ...(section === undefined ? {} : productsOf(section, training.module)),
  };
}

function objective({ name, entries }: CheckedSection): TrainPlan["objective"] {
  const loss = entries.get("loss")?.value;
  if (loss?.kind !== "sum") throw new InputError(`\`train ${name}\` has no \`loss\`: its steps do not start from text`);
  return loss.terms.flatMap(({ weight, value }) =>
    value.kind === "call" ? [{ loss: value.fn, weight: weightOf(value, weight) }] : [],
  );
}

/** Whether `mtp(divide_by: length)` is among the losses. */
function dividesByLength(section: CheckedSection | undefined): boolean {
  const loss = section?.entries.get("loss")?.value;
  return (
    loss?.kind === "sum" &&
    loss.terms.some(({ value }) => {
      const divisor = value.kind === "call" && value.fn === "mtp" ? value.args.get("divide_by") : undefined;
      return divisor?.kind === "word" && divisor.name === "length";
    })
  );
}

/** A number, or the input that holds what a schedule says at the step. */
function weightOf({ fn, args }: CallValue, factor: number): number | string {
  const weight = args.get("weight");
  if (weight === undefined) return factor;
  const number = numberOf(weight);
  return number === undefined ? `train.loss.${fn}` : factor * number;
}

function optimizerOf(call: CallValue | undefined, training: TrainingModel): TrainPlan["optimizer"] {
  const args = optimizerConstants(call);
  const block = call?.fn === "sgd" ? "Sgd" : "AdamW";
  return (type, decayed) => {
    const found = training.optimizer(block, decayed ? args : new Map([...args, ["decay", 0]]), type);
    if (found === undefined) throw new Error(`the standard library has no optimizer ${block}`);
    return found;
  };
}

/** `precision.gemm`, where it is in eight bits: all products with params but those of `keep_bf16`, and of params that are kept wider. */
function productsOf({ entries }: CheckedSection, module: Module): Pick<TrainPlan, "products"> {
  const gemm = callAt(entries, "precision.gemm");
  if (gemm === undefined) return {};
  const kept = entries.get("precision.keep_bf16")?.value;
  const words = kept?.kind === "list" ? kept.items.flatMap((item) => (item.kind === "word" ? [item.name] : [])) : [];
  const parts = paramsOfParts(
    module,
    words.map((name) => name.split(".")),
  );
  const isWider = ({ type }: PlacedStore): boolean => type.dtype === "f32" && module.dtype !== "f32";
  const wider = new Set(storesOf(module.root).flatMap((placed) => (isWider(placed) ? [placed.path] : [])));
  const tile = (arg: string): readonly [number, number] => {
    const { args } = gemm.args.get(arg) as CallValue;
    return [numberOf(args.get("rows"))!, numberOf(args.get("columns"))!];
  };
  return {
    products: {
      activations: tile("activations")[1],
      weights: tile("weights"),
      quantizes: (path) => !parts.has(path) && !wider.has(path),
    },
  };
}

/** What a `train` section says about one training step. */
import type { TrainingModel } from "../../dsl/semantics/check.ts";
import { callAt, numberOf } from "../../dsl/semantics/sections/look-up.ts";
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import type { CallValue } from "../../dsl/semantics/sections/types.ts";
import type { TrainPlan } from "../elaborate/train-step.ts";
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

/** What a train section says, as plain data. */
import type { DataSource } from "../data/source.ts";
import type { StorageType } from "../program/launch.ts";
import type { ModelFile, ModelStore } from "../program/model.ts";
import type { Schedule } from "./schedule.ts";

export interface TrainingPlan {
  readonly format: 1;
  /** The name of the train section. */
  readonly name: string;
  readonly model: string;
  /** The train section whose weights this training starts from. */
  readonly from?: string;
  readonly data: DataSource;
  /** Tokens of a sequence. */
  readonly length: number;
  /** What one step reads. In tokens: as many sequences of `length` as fit, one at least. */
  readonly batch: { readonly unit: "sequences" | "tokens"; readonly size: Schedule };
  readonly stop: { readonly clock: "tokens" | "steps" | "epochs"; readonly value: number };
  readonly seed: number;
  /**
   * Inputs of `train_step` that follow schedules, by name: `lr`, `train.balance_rate`, and `train.loss.mtp` where the weight
   * of a loss changes.
   */
  readonly scalars: Readonly<Record<string, Schedule>>;
  /** The terms of the objective, for displays; weights that do not change are part of `train_step`. */
  readonly losses: readonly { readonly name: string; readonly weight: number | Schedule }[];
  /** How many tokens ahead the model's look-ahead modules predict; 0 without any. */
  readonly lookAhead: number;
  /** The constants of the optimizer, which are part of `train_step`: `beta1`, `eps`, `decay`. */
  readonly optimizer: { readonly name: string; readonly options: Readonly<Record<string, number | boolean>> };
  /** The largest norm of the gradient, also part of `train_step`. */
  readonly clip?: number;
}

/** A training that a package has programs for. */
export interface PackagedTraining {
  readonly plan: TrainingPlan;
  /** Programs of the package by the names that a trainer calls: `train_step`, `score`. */
  readonly programs: Readonly<Record<string, string>>;
  /** How params are stored while they are trained. */
  readonly master: StorageType;
  /** What there is beside the params and states of the model: of the optimizer, and sums between the calls of a step. */
  readonly stores: readonly ModelStore[];
}

/** `training.json`. */
export interface PackageTraining {
  readonly format: 1;
  readonly trainings: readonly PackagedTraining[];
}

/** The model as a training knows it: params as they are stored then, and the states of the optimizer. */
export function trainedModel(model: ModelFile, { master, stores }: PackagedTraining): ModelFile {
  const own = model.stores.map((store) => (store.kind === "param" ? { ...store, dtype: master } : store));
  return { ...model, stores: [...own, ...stores] };
}

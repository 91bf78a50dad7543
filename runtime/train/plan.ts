/** What a train section says, as plain data: an entry of `training.json` in a package. */
import type { DataSource } from "../data/source.ts";
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

/** `training.json`. */
export interface PackageTraining {
  readonly format: 1;
  readonly plans: readonly TrainingPlan[];
}

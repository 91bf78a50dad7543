/** The programs of a model, by what they are for. A package has all of them; a command loads those that it needs. */
import { evaluationProgram } from "../elaborate/score.ts";
import { draftPrograms, serveProgram } from "../elaborate/serve.ts";
import { accumulationPrograms, masterOf, type TrainPlan, trainStepProgram } from "../elaborate/train-step.ts";
import type { Module } from "../model-ir/types.ts";
import type { Program } from "../tensor-ir/types.ts";
import { type TransientState, transientStates } from "./model.ts";

/** What generates: `prefill`, `decode` and, unless nothing is guessed, `draft.k` for each look-ahead module. */
export function servingPrograms(module: Module, drafts = true): Program[] {
  const guessing = drafts ? draftPrograms(module) : [];
  return [serveProgram(module, "prefill"), serveProgram(module, "decode"), ...guessing];
}

export interface TrainingPrograms {
  /** `train_step`, `evaluate` and, when steps may be split, those of a step in several calls. */
  readonly programs: readonly Program[];
  /** States that only steps in several calls need. */
  readonly transient: readonly TransientState[];
}

/**
 * What trains.
 * @param trained the training variant of the module
 * @param splits whether a step may be made in several calls, which takes programs and states of its own
 */
export function trainingPrograms(module: Module, trained: Module, plan: TrainPlan, splits: boolean): TrainingPrograms {
  const step = [trainStepProgram(trained, plan), evaluationProgram(module, masterOf(plan))];
  if (!splits) return { programs: step, transient: [] };
  const parts = accumulationPrograms(trained, plan);
  return { programs: [...step, ...parts], transient: transientStates(parts) };
}

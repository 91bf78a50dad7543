import type { ChoiceRules } from "../../device/choice.ts";

/** How the tokens of an answer are chosen. */
export interface Sampling extends ChoiceRules {
  /** A whole number below 2^53. The same seed gives the same answer, whatever else is generated at the same time. */
  readonly seed: number;
  /** Which of several answers to one prompt: each has its own random numbers. */
  readonly choice: number;
}

export const GREEDY: Sampling = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  frequencyPenalty: 0,
  presencePenalty: 0,
  repetitionPenalty: 1,
  logitBias: new Map(),
  seed: 0,
  choice: 0,
};

/** How tokens are chosen. */
export interface Sampling {
  /** Divides the logits; 0 takes the likeliest token, the lowest of equals. */
  readonly temperature: number;
  /** Keeps the likeliest tokens that together have at least this probability; 1 keeps all. */
  readonly topP: number;
  /** Keeps so many of the likeliest tokens; 0 keeps all. */
  readonly topK: number;
  /** Drops tokens that are less likely than this times the likeliest one. */
  readonly minP: number;
  /** Subtracted from the logit of a token for every time it was generated. */
  readonly frequencyPenalty: number;
  /** Subtracted from the logit of a token that was generated. */
  readonly presencePenalty: number;
  /** Divides positive and multiplies negative logits of tokens in prompt or answer (Keskar et al. 2019, section 4.1). */
  readonly repetitionPenalty: number;
  /** Added to logits, by token. */
  readonly logitBias: ReadonlyMap<number, number>;
  /** A whole number below 2^53. The same seed gives the same answer, whatever else is generated at the same time. */
  readonly seed: number;
  /** Which of several answers to one prompt: each has its own random numbers. */
  readonly choice: number;
  /** How many alternatives are told with each token; undefined for no log-probabilities at all. */
  readonly alternatives?: number;
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

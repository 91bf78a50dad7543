/** How a token is chosen by logits. */
export interface ChoiceRules {
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
  /** How many alternatives are told with each token; undefined for no log-probabilities at all. */
  readonly alternatives?: number;
}

/** A token to be chosen by one row of the output `logits` f32[B, V] of a call. */
export interface Choice {
  readonly row: number;
  readonly rules: ChoiceRules;
  /** The two words that the noise of all tokens is made from (runtime/serve/sampling/noise.ts). */
  readonly noise: readonly [number, number];
  /** Tokens that penalties are about, each once, and how often each was generated; empty when there are no penalties. */
  readonly touched: readonly number[];
  readonly counts: readonly number[];
}

export interface TokenLogprob {
  readonly token: number;
  /** Natural logarithm of the model's own probability, without temperature, penalties and filters. */
  readonly logprob: number;
}

export interface Sampled {
  readonly token: number;
  /** When the rules ask for log-probabilities. */
  readonly logprob?: number;
  /** The likeliest tokens in descending order. */
  readonly alternatives?: readonly TokenLogprob[];
}

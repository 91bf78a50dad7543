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

/** What shall be told of a row of logits to whoever chooses by it elsewhere. */
export interface Asked {
  readonly row: number;
  /** Tokens that are told one by one, each once: whatever is said of "others" is said without them. */
  readonly named: readonly number[];
  /** So many of the likeliest others. */
  readonly likeliest: number;
  /** So many of those that are the largest by logit, divided by the temperature, and noise: 0 or `MOST_LIFTED`. */
  readonly lifted: number;
  readonly temperature: number;
  readonly noise: readonly [number, number];
}

/** Asked for by all that ask for some. */
export const MOST_LIFTED = 16;

/** Logits are those of the model, to the last bit; weights are right to 1e-5 of their sum, `lift` to 1e-4. */
export interface Shortlist {
  /** Logits by token. */
  readonly named: ReadonlyMap<number, number>;
  /** Logits of some others, the likeliest of them, the lowest of equals, among them. */
  readonly others: ReadonlyMap<number, number>;
  /** The largest logit of the others, NaN when one is NaN, -Infinity when there are none. */
  readonly largest: number;
  /** All others with larger logits are told; undefined when all are. */
  readonly floor: number | undefined;
  /** All others with a larger sum of (logit - largest) / temperature and noise are told; undefined when all finite ones are. */
  readonly lift: number | undefined;
  /** By lifted token: the sum of the weights exp((logit - largest) / temperature) of others with larger logits, or the same and lower tokens. */
  readonly ahead: ReadonlyMap<number, number>;
  /** Of all others: the sum of these weights, and of exp(logit - largest). Told where some of the likeliest are. */
  readonly weight: number;
  readonly rawWeight: number;
}

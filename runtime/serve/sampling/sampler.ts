import { type Cutoff, cutoff, isKept, likeliest } from "./cutoff.ts";
import { gumbel, GUMBEL_MAX, leastWord, TokenNoise } from "./noise.ts";
import type { Sampling } from "./sampling.ts";

export interface TokenLogprob {
  readonly token: number;
  /** Natural logarithm of the model's own probability, without temperature, penalties and filters. */
  readonly logprob: number;
}

export interface Sampled {
  readonly token: number;
  /** When the request asks for log-probabilities. */
  readonly logprob?: number;
  /** The likeliest tokens in descending order. */
  readonly alternatives?: readonly TokenLogprob[];
}

/** A model gave NaN or an infinity where a number must be. */
export class LogitsError extends Error {
  override readonly name = "LogitsError";

  constructor() {
    super("the model gave logits that are no numbers");
  }
}

/** Chooses the tokens of one answer, one after the other. */
export class Sampler {
  readonly #sampling: Sampling;
  readonly #prompt: ReadonlySet<number>;
  /** How often each token was generated. */
  readonly #counts = new Map<number, number>();
  #generated = 0;

  constructor(sampling: Sampling, prompt: readonly number[]) {
    this.#sampling = sampling;
    // Only repetition penalties look at the prompt.
    this.#prompt = new Set(sampling.repetitionPenalty === 1 ? [] : prompt);
  }

  /**
   * The token that follows, by the logits f32[V]; a pure function of them and the tokens accepted so far.
   * @throws LogitsError when a logit is NaN, or none is finite
   */
  sample(raw: Float32Array): Sampled {
    const logits = this.#adjusted(raw);
    const token = this.#choose(logits);
    const { alternatives } = this.#sampling;
    return alternatives === undefined ? { token } : { token, ...logprobs(raw, token, alternatives) };
  }

  /**
   * A guess for the token behind some guesses, by the logits of a look-ahead module: with the noise that the real choice will
   * have, so that it is the same wherever the module is right about the model.
   */
  guess(raw: Float32Array, before: readonly number[]): number {
    for (const token of before) this.#count(token, 1);
    try {
      return this.#choose(this.#adjusted(raw));
    } finally {
      for (const token of before) this.#count(token, -1);
    }
  }

  accept(token: number): void {
    this.#count(token, 1);
  }

  #count(token: number, by: 1 | -1): void {
    const count = (this.#counts.get(token) ?? 0) + by;
    if (count === 0) this.#counts.delete(token);
    else this.#counts.set(token, count);
    this.#generated += by;
  }

  #adjusted(raw: Float32Array): Float64Array {
    const { frequencyPenalty, presencePenalty, repetitionPenalty, logitBias, temperature } = this.#sampling;
    const logits = scratchFor(raw);
    if (repetitionPenalty !== 1) {
      for (const token of new Set([...this.#prompt, ...this.#counts.keys()])) {
        const logit = logits[token]!;
        logits[token] = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
      }
    }
    if (frequencyPenalty !== 0 || presencePenalty !== 0) {
      for (const [token, count] of this.#counts) logits[token]! -= frequencyPenalty * count + presencePenalty;
    }
    for (const [token, bias] of logitBias) logits[token]! += bias;
    if (temperature > 0 && temperature !== 1) for (let i = 0; i < logits.length; i++) logits[i]! /= temperature;
    return logits;
  }

  #choose(logits: Float64Array): number {
    const { temperature, seed, choice } = this.#sampling;
    const best = argmax(logits);
    if (temperature === 0) return best;
    const noise = new TokenNoise(seed, choice, this.#generated);
    return draw(logits, best, cutoff(logits, logits[best]!, this.#sampling), noise);
  }
}

/** Reused by all samplers, since none keeps it: a fresh array for each token would keep the garbage collector busy. */
let scratch = new Float64Array(0);

function scratchFor(raw: Float32Array): Float64Array {
  if (scratch.length !== raw.length) scratch = new Float64Array(raw.length);
  scratch.set(raw);
  return scratch;
}

/** The lowest token with the largest logit. */
function argmax(logits: Float64Array): number {
  let best = -1;
  let max = -Infinity;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token]!;
    if (logit > max) [best, max] = [token, logit];
    else if (Number.isNaN(logit)) throw new LogitsError();
  }
  if (!Number.isFinite(max)) throw new LogitsError();
  return best;
}

/**
 * The token up to the cut that has the largest sum of logit and noise. Nearly all tokens are seen to lose without their noise
 * being worked out.
 */
function draw(logits: Float64Array, best: number, cut: Cutoff, noise: TokenNoise): number {
  let chosen = best;
  let highest = logits[best]! + gumbel(noise.word(best));
  for (let token = 0; token < logits.length; token++) {
    const gap = highest - logits[token]!;
    if (gap > GUMBEL_MAX) continue;
    const word = noise.word(token);
    if ((gap >= 0 && word < leastWord(gap)) || !isKept(logits, token, cut)) continue;
    const score = logits[token]! + gumbel(word);
    if (score > highest) [chosen, highest] = [token, score];
  }
  return chosen;
}

function logprobs(raw: Float32Array, token: number, count: number): Omit<Sampled, "token"> {
  let max = -Infinity;
  for (const logit of raw) if (logit > max) max = logit;
  let sum = 0;
  for (const logit of raw) sum += Math.exp(logit - max);
  const total = max + Math.log(sum);
  const top = likeliest(new Float64Array(raw), count);
  return {
    logprob: raw[token]! - total,
    alternatives: top.map((other) => ({ token: other, logprob: raw[other]! - total })),
  };
}

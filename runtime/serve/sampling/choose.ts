/**
 * What is chosen by logits, in JavaScript: for devices that do not choose by themselves, and the measure of those that do. They
 * give the same to the last bit: sums in the order of tokens, numbers of 64 bits, `exp` and `log` of fdlibm, which engines of
 * JavaScript have.
 */
import type { Choice, ChoiceRules, Sampled } from "../../device/choice.ts";
import { type Cutoff, cutoff, isKept, likeliest } from "./cutoff.ts";
import { gumbel, GUMBEL_MAX, leastWord, wordOf } from "./noise.ts";

/** The token by a row of logits f32[V]. Undefined when a logit is NaN, or none is finite. */
export function choose(raw: Float32Array, choice: Choice): Sampled | undefined {
  const { rules, noise } = choice;
  const logits = adjusted(raw, choice);
  const best = argmax(logits);
  if (best === undefined) return undefined;
  const token = rules.temperature === 0 ? best : draw(logits, best, cutoff(logits, logits[best]!, rules), noise);
  return rules.alternatives === undefined ? { token } : { token, ...logprobs(raw, token, rules.alternatives) };
}

/**
 * Logits after penalties, bias and temperature.
 * @param indexOf where the logit of a token is; outside of the row where it is not there
 */
export function adjusted(
  raw: Float32Array,
  { rules, touched, counts }: Choice,
  indexOf: (token: number) => number = (token) => token,
): Float64Array {
  const { frequencyPenalty, presencePenalty, repetitionPenalty, logitBias, temperature }: ChoiceRules = rules;
  const logits = new Float64Array(raw);
  for (const [i, token] of touched.entries()) {
    const at = indexOf(token);
    const logit = logits[at]!;
    logits[at] = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
    if (counts[i]! > 0) logits[at]! -= frequencyPenalty * counts[i]! + presencePenalty;
  }
  for (const [token, bias] of logitBias) logits[indexOf(token)]! += bias;
  if (temperature > 0 && temperature !== 1) for (let i = 0; i < logits.length; i++) logits[i]! /= temperature;
  return logits;
}

/** The lowest token with the largest logit; undefined when a logit is NaN, or none is finite. */
export function argmax(logits: Float64Array): number | undefined {
  let best = -1;
  let max = -Infinity;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token]!;
    if (logit > max) [best, max] = [token, logit];
    else if (Number.isNaN(logit)) return undefined;
  }
  return Number.isFinite(max) ? best : undefined;
}

/**
 * The token up to the cut that has the largest sum of logit and noise. Nearly all tokens are seen to lose without their noise
 * being worked out.
 * @param tokens of the logits, ascending: where not all of them are there
 * @returns the index of its logit
 */
export function draw(
  logits: Float64Array,
  best: number,
  cut: Cutoff,
  noise: Choice["noise"],
  tokens?: Int32Array,
): number {
  let chosen = best;
  let highest = logits[best]! + gumbel(wordOf(noise, tokens?.[best] ?? best));
  for (let i = 0; i < logits.length; i++) {
    const gap = highest - logits[i]!;
    if (gap > GUMBEL_MAX) continue;
    const word = wordOf(noise, tokens?.[i] ?? i);
    if ((gap >= 0 && word < leastWord(gap)) || !isKept(logits, i, cut)) continue;
    const score = logits[i]! + gumbel(word);
    if (score > highest) [chosen, highest] = [i, score];
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

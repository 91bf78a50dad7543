/**
 * What is chosen by logits, in JavaScript: for devices that do not choose by themselves, and the measure of those that do. They
 * give the same to the last bit: sums in the order of tokens, numbers of 64 bits, `exp` and `log` of fdlibm, which engines of
 * JavaScript have.
 */
import type { Choice, ChoiceRules, Sampled } from "../../device/choice.ts";
import type { Call, Outcome, Session } from "../../device/session.ts";
import { type Cutoff, cutoff, isKept, likeliest } from "./cutoff.ts";
import { gumbel, GUMBEL_MAX, leastWord, wordOf } from "./noise.ts";

/** Runs a call and chooses tokens by its logits: on the device, or here when it cannot. @throws as `Session.run` */
export async function runAndChoose(
  session: Session,
  call: Call,
  choices: readonly Choice[],
  known?: number,
): Promise<Outcome> {
  if (session.choose !== undefined) return session.choose(call, choices, known);
  if (session.likeliest !== undefined && choices.every(isPlain)) {
    const { outputs, tokens } = await session.likeliest(call, known);
    return { outputs, chosen: choices.map(({ row }) => (tokens[row]! < 0 ? undefined : { token: tokens[row]! })) };
  }
  const outputs = await session.run({ ...call, outputs: [...(call.outputs ?? []), "logits"] });
  const logits = outputs["logits"] as Float32Array;
  const vocabulary = logits.length / call.sizes["B"]!;
  const chosen = choices.map((choice) => {
    const row = logits.subarray(choice.row * vocabulary, (choice.row + 1) * vocabulary);
    return choose(row.subarray(0, known), choice);
  });
  return { outputs, chosen };
}

/** Whether the likeliest token is taken by the logits as they are, and nothing else is told. */
function isPlain({ rules, touched }: Choice): boolean {
  const { temperature, logitBias, alternatives } = rules;
  return temperature === 0 && touched.length === 0 && logitBias.size === 0 && alternatives === undefined;
}

/** The token by a row of logits f32[V]. Undefined when a logit is NaN, or none is finite. */
export function choose(raw: Float32Array, choice: Choice): Sampled | undefined {
  const { rules, noise } = choice;
  const logits = adjusted(raw, choice);
  const best = argmax(logits);
  if (best === undefined) return undefined;
  const token = rules.temperature === 0 ? best : draw(logits, best, cutoff(logits, logits[best]!, rules), noise);
  return rules.alternatives === undefined ? { token } : { token, ...logprobs(raw, token, rules.alternatives) };
}

function adjusted(raw: Float32Array, { rules, touched, counts }: Choice): Float64Array {
  const { frequencyPenalty, presencePenalty, repetitionPenalty, logitBias, temperature }: ChoiceRules = rules;
  const logits = new Float64Array(raw);
  for (const [i, token] of touched.entries()) {
    const logit = logits[token]!;
    logits[token] = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
    if (counts[i]! > 0) logits[token]! -= frequencyPenalty * counts[i]! + presencePenalty;
  }
  for (const [token, bias] of logitBias) logits[token]! += bias;
  if (temperature > 0 && temperature !== 1) for (let i = 0; i < logits.length; i++) logits[i]! /= temperature;
  return logits;
}

/** The lowest token with the largest logit. */
function argmax(logits: Float64Array): number | undefined {
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
 */
function draw(logits: Float64Array, best: number, cut: Cutoff, noise: Choice["noise"]): number {
  let chosen = best;
  let highest = logits[best]! + gumbel(wordOf(noise, best));
  for (let token = 0; token < logits.length; token++) {
    const gap = highest - logits[token]!;
    if (gap > GUMBEL_MAX) continue;
    const word = wordOf(noise, token);
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

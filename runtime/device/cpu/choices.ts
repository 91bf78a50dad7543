/** Choices of tokens as the addon takes them, and what it chose. */
import type { NativeChoices } from "../../native/addon.ts";
import type { Choice, Sampled, TokenLogprob } from "../choice.ts";

/**
 * @param buffer the output that has the logits
 * @param known tokens below it can be chosen
 */
export function nativeChoices(buffer: number, known: number, choices: readonly Choice[]): NativeChoices {
  const wanted = [buffer, known];
  let entries = 0;
  for (const { row, rules, noise, touched, counts } of choices) {
    const { temperature, topK, topP, minP, frequencyPenalty, presencePenalty, repetitionPenalty } = rules;
    const { logitBias, alternatives } = rules;
    wanted.push(row, temperature, topK, topP, minP > 0 ? Math.log(minP) : -Infinity);
    wanted.push(frequencyPenalty, presencePenalty, repetitionPenalty, noise[0], noise[1]);
    wanted.push(alternatives === undefined ? -1 : Math.min(alternatives, known), touched.length, logitBias.size);
    for (const token of touched) wanted.push(token);
    for (const count of counts) wanted.push(count);
    for (const token of logitBias.keys()) wanted.push(token);
    for (const bias of logitBias.values()) wanted.push(bias);
    entries += alternatives === undefined ? 1 : 2 + 2 * Math.min(alternatives, known);
  }
  return { wanted: new Float64Array(wanted), chosen: new Float64Array(entries) };
}

/** What was chosen; undefined where logits are no numbers. */
export function sampledBy(chosen: Float64Array, known: number, choices: readonly Choice[]): (Sampled | undefined)[] {
  let at = 0;
  return choices.map(({ rules }) => {
    const token = chosen[at++]!;
    if (rules.alternatives === undefined) return token < 0 ? undefined : { token };
    const logprob = chosen[at++]!;
    const alternatives = Array.from({ length: Math.min(rules.alternatives, known) }, (): TokenLogprob => {
      return { token: chosen[at++]!, logprob: chosen[at++]! };
    });
    return token < 0 ? undefined : { token, logprob, alternatives };
  });
}

/**
 * What is chosen by a shortlist of the logits: what `choose` takes of all of them, or nothing where the list does not prove it.
 * Among the tokens of the list everything is computed as `choose` does, to the last bit; bounds of the device say that no other
 * token can win. Log-probabilities alone have a sum of the device in them.
 */
import { type Asked, type Choice, MOST_LIFTED, type Sampled, type Shortlist } from "../../device/choice.ts";
import { adjusted, argmax, draw } from "./choose.ts";
import { cutBefore, type Filters, isKept, likeliest, nucleus } from "./cutoff.ts";
import { gumbel, wordOf } from "./noise.ts";

/** So many of the likeliest tokens nearly always hold what top_p or min_p keeps, or the noise decides; where both act, more. */
const LISTED = 64;
const LISTED_FOR_BOTH = 256;
/** By how much sums of logit and noise of the device may be wrong, and its sums of weights, as a share. */
const MARGIN = 1e-4;

/** What a device has to tell for a choice. @param known tokens that can be chosen; all when not given */
export function askedFor({ row, rules, noise, touched }: Choice, known = Infinity): Asked {
  const { temperature, topP, minP, logitBias, alternatives } = rules;
  const topK = topKOf(rules, known);
  const filtered = topP < 1 && minP > 0 ? LISTED_FOR_BOTH : topP < 1 || minP > 0 ? LISTED : 0;
  // The first one behind a cut proves where it is.
  const listed = topK > 0 ? topK + 1 : filtered;
  const drawn = temperature > 0;
  return {
    row,
    named: [...new Set([...touched, ...logitBias.keys()])],
    likeliest: Math.max(alternatives === undefined ? 0 : alternatives + 1, drawn ? listed : 0),
    lifted: drawn && topK === 0 ? MOST_LIFTED : 0,
    temperature: drawn ? Math.max(temperature, 1e-30) : 1,
    noise,
  };
}

function topKOf({ topK }: Filters, known: number): number {
  return topK < known ? topK : 0;
}

/** A row of some tokens. */
interface Row {
  readonly list: Shortlist;
  readonly choice: Choice;
  /** Ascending. */
  readonly tokens: Int32Array;
  readonly raw: Float32Array;
  /** After penalties, bias and temperature. */
  readonly logits: Float64Array;
  /** The index of the largest one. */
  readonly best: number;
}

/** @returns as `choose` does; `unsure` where all logits are needed */
export function chooseFrom(list: Shortlist, choice: Choice, known = Infinity): Sampled | undefined | "unsure" {
  if (Number.isNaN(list.largest)) return undefined;
  const entries = [...list.named, ...list.others].sort(([a], [b]) => a - b);
  const tokens = Int32Array.from(entries, ([token]) => token);
  const raw = Float32Array.from(entries, ([, logit]) => logit);
  const places = new Map(entries.map(([token], i) => [token, i]));
  const logits = adjusted(raw, choice, (token) => places.get(token) ?? -1);
  const best = argmax(logits);
  if (best === undefined) return undefined;
  const row: Row = { list, choice, tokens, raw, logits, best };
  const chosen = choice.rules.temperature === 0 ? best : drawn(row, known);
  if (chosen === undefined) return "unsure";
  const token = tokens[chosen]!;
  const { alternatives } = choice.rules;
  if (alternatives === undefined) return { token };
  const told = logprobs(row, chosen, alternatives);
  return told === undefined ? "unsure" : { token, ...told };
}

/** The index of the token that noise and filters take; undefined where that is not proved. */
function drawn(row: Row, known: number): number | undefined {
  const { list, choice, tokens, logits, best } = row;
  const { temperature, topP, minP } = choice.rules;
  const topK = topKOf(choice.rules, known);
  const max = logits[best]!;
  const before = cutBefore(logits, max, { topK, minP });
  // Nothing that is not in the list can be kept.
  if (isTold(row, before.logit))
    return draw(logits, best, topP < 1 ? nucleus(logits, max, before, topP) : before, choice.noise, tokens);
  if (topK > 0 || (topP < 1 && minP > 0)) return undefined;
  const isIn = topP < 1 ? inNucleus(row) : (i: number) => isKept(logits, i, before);
  const scores = logits.map((logit, i) => logit + gumbel(wordOf(choice.noise, tokens[i]!)));
  const order = [...scores.keys()].sort(
    (a, b) => scores[b]! - scores[a]! || Number(b === best) - Number(a === best) || a - b,
  );
  const others = list.lift === undefined ? -Infinity : list.lift + list.largest / temperature + MARGIN;
  for (const i of order) {
    const kept = scores[i]! > others ? isIn(i) : undefined;
    if (kept !== false) return kept && i;
  }
  return undefined;
}

/** Whether all tokens with at least this logit are in the list. */
function isTold({ list: { floor }, choice }: Row, logit: number): boolean {
  return floor === undefined || logit > floor / (choice.rules.temperature || 1);
}

/** Says by index whether a token is among the fewest that have the share top_p; undefined where that is not sure. */
function inNucleus(row: Row): (i: number) => boolean | undefined {
  const { list, choice, tokens, logits, best } = row;
  const { temperature, topP } = choice.rules;
  const max = logits[best]!;
  const weightOf = (i: number): number => Math.exp(logits[i]! - max);
  const scale = Math.exp(list.largest / temperature - max);
  const named = [...tokens.keys()].filter((i) => list.named.has(tokens[i]!));
  const total = scale * list.weight + named.reduce((sum, i) => sum + weightOf(i), 0);
  const order = likeliest(logits, logits.length);
  return (i) => {
    const front = order.slice(0, order.indexOf(i));
    const isAll = isTold(row, logits[i]!);
    const others = isAll ? 0 : list.ahead.get(tokens[i]!);
    if (others === undefined) return i === best ? true : undefined;
    const counted = isAll ? front : front.filter((j) => list.named.has(tokens[j]!));
    const ahead = counted.reduce((sum, j) => sum + weightOf(j), scale * others);
    if (i !== best && Math.abs(ahead - topP * total) < MARGIN * total) return undefined;
    return i === best || ahead < topP * total;
  };
}

function logprobs({ list, tokens, raw }: Row, chosen: number, count: number): Omit<Sampled, "token"> | undefined {
  const top = likeliest(new Float64Array(raw), count);
  const { floor, largest } = list;
  if (floor !== undefined && count > 0 && !(top.length === count && raw[top.at(-1)!]! > floor)) return undefined;
  const max = raw.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = list.rawWeight * Math.exp(largest - max);
  for (const logit of list.named.values()) sum += Math.exp(logit - max);
  const total = max + Math.log(sum);
  return {
    logprob: raw[chosen]! - total,
    alternatives: top.map((i) => ({ token: tokens[i]!, logprob: raw[i]! - total })),
  };
}

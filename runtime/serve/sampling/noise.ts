import { philox } from "../../program/philox.ts";

const WORDS = 2 ** 32;

/** Gumbel noise from a random word: -ln(-ln u) with u in the middle of one of 2^32 equal parts of (0, 1). */
export function gumbel(word: number): number {
  return -Math.log(-Math.log((word + 0.5) / WORDS));
}

/** No noise is larger. */
export const GUMBEL_MAX = gumbel(WORDS - 1);

/** By k: smaller words give noise below k. One less than the bound itself, for what rounding may do. */
const LEAST_WORDS = Float64Array.from({ length: Math.ceil(GUMBEL_MAX) + 1 }, (_, k) =>
  Math.floor(WORDS * Math.exp(-Math.exp(-k)) - 1),
);

/** Words below it give noise below the gap, which is not negative and at most `GUMBEL_MAX`: seen without a logarithm. */
export function leastWord(gap: number): number {
  return LEAST_WORDS[Math.floor(gap)]!;
}

/**
 * Random words for every token at one place of one answer: a pure function of seed, choice, index of the generated token and
 * token. Adding their Gumbel noise to logits and taking the largest sum draws from the softmax (Gumbel 1954; Maddison et al.
 * 2014). Philox makes two words of the place; a bijective hash of 32 bits, keyed by both, makes the word of each token.
 */
export function noiseWords(seed: number, choice: number, index: number): [number, number] {
  const [first, second] = philox([index, choice, 0, 0], [seed >>> 0, Math.floor(seed / WORDS) >>> 0]);
  return [first, second];
}

/** The random word of a token. */
export function wordOf([first, second]: readonly [number, number], token: number): number {
  return mix(mix(token ^ first) ^ second) >>> 0;
}

/** `lowbias32` (Wellons, "Prospecting for hash functions", 2018). */
function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
}

import { philox } from "../../program/philox.ts";

/** No value of `gumbel` is larger: -ln(-ln(1 - 2^-33)). */
export const GUMBEL_MAX = 22.88;

/**
 * Gumbel noise for every token at one place of one answer: a pure function of seed, choice, index of the generated token and
 * token. Adding it to logits and taking the largest sum draws from their softmax (Gumbel 1954; Maddison et al. 2014).
 */
export class GumbelNoise {
  readonly #key: readonly [number, number];
  readonly #choice: number;
  readonly #index: number;
  #block = -1;
  #words: readonly number[] = [];

  constructor(seed: number, choice: number, index: number) {
    this.#key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
    this.#choice = choice;
    this.#index = index;
  }

  of(token: number): number {
    const block = token >>> 2;
    if (block !== this.#block) {
      this.#words = philox([block, this.#choice, this.#index, 0], this.#key);
      this.#block = block;
    }
    return -Math.log(-Math.log((this.#words[token & 3]! + 0.5) * 2 ** -32));
  }
}

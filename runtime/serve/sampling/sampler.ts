import type { Choice } from "../../device/choice.ts";
import { noiseWords } from "./noise.ts";
import type { Sampling } from "./sampling.ts";
import { LogitsError } from "./logits-error.ts";

export { LogitsError };

/** Where the likeliest token is taken, nobody looks at the noise. */
const SILENCE: Choice["noise"] = [0, 0];

/** Says how the tokens of one answer are chosen, one after the other: a pure function of the tokens accepted so far. */
export class Sampler {
  readonly #sampling: Sampling;
  /** Of the prompt, when penalties look at it. */
  readonly #prompt: ReadonlySet<number>;
  /** How often each token was generated. */
  readonly #counts = new Map<number, number>();
  #generated = 0;

  constructor(sampling: Sampling, prompt: readonly number[]) {
    this.#sampling = sampling;
    this.#prompt = new Set(sampling.repetitionPenalty === 1 ? [] : prompt);
  }

  /**
   * How the token behind some guesses is chosen by a row of logits. Look-ahead modules guess with it as well: with the noise that
   * the real choice will have, so that a guess is right wherever the module is right about the model.
   */
  choice(row: number, guesses: readonly number[]): Choice {
    const { temperature, seed, choice, frequencyPenalty, presencePenalty, repetitionPenalty } = this.#sampling;
    const noise = temperature === 0 ? SILENCE : noiseWords(seed, choice, this.#generated + guesses.length);
    const plain = frequencyPenalty === 0 && presencePenalty === 0 && repetitionPenalty === 1;
    if (plain) return { row, rules: this.#sampling, noise, touched: [], counts: [] };
    for (const token of guesses) this.#count(token, 1);
    const touched = [...new Set([...this.#prompt, ...this.#counts.keys()])];
    const counts = touched.map((token) => this.#counts.get(token) ?? 0);
    for (const token of guesses) this.#count(token, -1);
    return { row, rules: this.#sampling, noise, touched, counts };
  }

  accept(token: number): void {
    this.#count(token, 1);
    this.#generated++;
  }

  #count(token: number, by: 1 | -1): void {
    const count = (this.#counts.get(token) ?? 0) + by;
    if (count === 0) this.#counts.delete(token);
    else this.#counts.set(token, count);
  }
}

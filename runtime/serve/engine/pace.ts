/** Decides step by step whether guessing tokens is worth its time. What is generated does not depend on it. */
export interface Pace {
  /** Whether a step with so many answers that generate shall guess. */
  choose(answers: number): boolean;
  /** Tells how long such a step took, and how many tokens it gave. */
  record(answers: number, guessed: boolean, milliseconds: number, tokens: number): void;
}

export const ALWAYS: Pace = { choose: () => true, record: () => undefined };

/** Steps of each kind before they are compared; as many come before that, while everything is still getting warm. */
const FIRST = 8;
/** Steps of a trial of the other kind. */
const TRIAL = 12;
/** Steps between two trials: when things change, and when nothing has changed for long. */
const OFTEN = 128;
const SELDOM = 2048;
/** The weight of a new step in the averages: of the kind that is used, and of the kind that is on trial. */
const USED = 0.03;
const TRIED = 0.15;

/** Averages of steps of one kind. */
class Average {
  steps = 0;
  #milliseconds = 0;
  #tokens = 0;

  get perToken(): number {
    return this.#milliseconds / this.#tokens;
  }

  add(milliseconds: number, tokens: number, weight: number): void {
    const known = ++this.steps - FIRST;
    const share = known <= 1 ? 1 : Math.max(weight, 1 / known);
    this.#milliseconds += share * (milliseconds - this.#milliseconds);
    this.#tokens += share * (tokens - this.#tokens);
  }
}

/** What is known of steps with about the same number of answers. */
class Comparison {
  readonly guessing = new Average();
  readonly plain = new Average();
  #countdown = OFTEN;
  #interval = OFTEN;

  choose(): boolean {
    for (const enough of [FIRST, 2 * FIRST]) {
      if (this.guessing.steps < enough) return true;
      if (this.plain.steps < enough) return false;
    }
    this.#countdown--;
    if (this.#countdown > 0) return this.#guessingWins();
    if (this.#countdown > -TRIAL) return !this.#guessingWins();
    this.#interval = Math.min(SELDOM, 2 * this.#interval);
    this.#countdown = this.#interval;
    return this.#guessingWins();
  }

  record(guessed: boolean, milliseconds: number, tokens: number): void {
    const before = this.#guessingWins();
    const weight = guessed === before ? USED : TRIED;
    (guessed ? this.guessing : this.plain).add(milliseconds, tokens, weight);
    if (this.#guessingWins() !== before) this.#interval = this.#countdown = OFTEN;
  }

  #guessingWins(): boolean {
    return this.guessing.perToken < this.plain.perToken;
  }
}

/**
 * Takes what was faster lately, and tries the other now and then. A step that verifies guesses reads more tokens: that is nearly
 * free where weights have to come from memory, and not where there are many answers or the model is small.
 */
export class MeasuredPace implements Pace {
  /** By the logarithm of the number of answers. */
  readonly #known = new Map<number, Comparison>();

  choose(answers: number): boolean {
    return this.#at(answers).choose();
  }

  record(answers: number, guessed: boolean, milliseconds: number, tokens: number): void {
    this.#at(answers).record(guessed, milliseconds, tokens);
  }

  #at(answers: number): Comparison {
    const size = Math.ceil(Math.log2(answers));
    const known = this.#known.get(size) ?? new Comparison();
    this.#known.set(size, known);
    return known;
  }
}

import { describe, expect, test } from "vitest";
import { MeasuredPace } from "../../../runtime/serve/engine/pace.ts";

interface Costs {
  /** Milliseconds of a step. */
  readonly plain: number;
  readonly guessing: number;
  /** Tokens of a step that guesses, for one answer; between 1 and 2. */
  readonly tokens: number;
}

/** The same numbers below 1 in every run. */
let state = 7;
function random(): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return state / 2 ** 32;
}

/** How many of so many steps guess. A step that guesses after one that did not has nothing to verify, and is not recorded. */
function guessingSteps(pace: MeasuredPace, steps: number, costs: (step: number) => Costs, answers = 1): number {
  let [guessing, last] = [0, false];
  for (let step = 0; step < steps; step++) {
    const guesses = pace.choose(answers);
    const { plain, guessing: slow, tokens } = costs(step);
    // One token, or two, so that the mean is right.
    const given = answers * (random() < tokens - 1 ? 2 : 1);
    if (guesses && last) pace.record(answers, true, slow, given);
    else if (!guesses) pace.record(answers, false, plain, answers);
    if (guesses) guessing++;
    last = guesses;
  }
  return guessing;
}

describe("measured pace", () => {
  test("guesses where it pays, and hardly tries the other", () => {
    const guessing = guessingSteps(new MeasuredPace(), 5000, () => ({ plain: 1, guessing: 1.2, tokens: 1.7 }));
    expect(guessing).toBeGreaterThan(4700);
  });

  test("does not guess where it does not pay, and hardly tries it", () => {
    const guessing = guessingSteps(new MeasuredPace(), 5000, () => ({ plain: 1, guessing: 1.9, tokens: 1.6 }));
    expect(guessing).toBeGreaterThan(16);
    expect(guessing).toBeLessThan(300);
  });

  test("changes its mind when things change", () => {
    const pace = new MeasuredPace();
    const good = { plain: 1, guessing: 1.1, tokens: 1.8 };
    const bad = { plain: 1, guessing: 1.9, tokens: 1.1 };
    expect(guessingSteps(pace, 1000, () => good)).toBeGreaterThan(900);
    expect(guessingSteps(pace, 4000, () => bad)).toBeLessThan(600);
    // A trial comes after two thousand steps at most.
    expect(guessingSteps(pace, 8000, () => good)).toBeGreaterThan(5500);
  });

  test("is not misled by slow steps at the beginning", () => {
    const costs = (step: number): Costs => ({ plain: 1, guessing: step < 9 ? 50 : 1.2, tokens: 1.7 });
    expect(guessingSteps(new MeasuredPace(), 2000, costs)).toBeGreaterThan(1850);
  });

  test("knows few answers from many", () => {
    const pace = new MeasuredPace();
    const alone = { plain: 1, guessing: 1.2, tokens: 1.7 };
    const together = { plain: 1, guessing: 1.9, tokens: 1.7 };
    guessingSteps(pace, 500, () => alone);
    guessingSteps(pace, 500, () => together, 40);
    expect(guessingSteps(pace, 1000, () => alone)).toBeGreaterThan(900);
    expect(guessingSteps(pace, 1000, () => together, 40)).toBeLessThan(150);
  });
});

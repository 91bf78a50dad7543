import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { scheduleOf } from "../../../dsl/semantics/sections/look-up.ts";
import { type Clock, evaluateSchedule, type Moment, type Schedule } from "../../../runtime/train/schedule.ts";
import { check, train } from "../../dsl/semantics/sections/support.ts";

const SEQUENCES = 1_000;
const LENGTH = 4_096;

/** A moment of a run whose steps all have the same batch. */
function after(steps: number, end = 100_000): Moment {
  const clock = (n: number): Record<Clock, number> => ({
    steps: n,
    sequences: n * SEQUENCES,
    tokens: n * SEQUENCES * LENGTH,
    epochs: n / 10_000,
    progress: n / end,
  });
  return { at: clock(steps), afterSteps: (n, which) => clock(n)[which], end: clock(end) };
}

function scheduleFrom(text: string, key = "lr"): Schedule {
  const { messages, sections } = check(train({ stop: "10T tokens", [key]: text }));
  expect(messages).toEqual([]);
  const schedule = scheduleOf(sections.all[0]!.entries.get(key)?.value);
  if (schedule === undefined) throw new Error("no schedule");
  return schedule;
}

function at(text: string, steps: number): number {
  return evaluateSchedule(scheduleFrom(text), after(steps));
}

describe("pieces", () => {
  test("a number is a schedule", () => {
    expect(at("3e-4", 0)).toBe(3e-4);
    expect(at("3e-4", 99_999)).toBe(3e-4);
  });

  test("a piece holds up to and without its boundary", () => {
    const text = "schedule by steps { ..10 => 1  ..20 => 2  ..end => 3 }";
    expect([0, 9, 10, 19, 20, 1_000].map((step) => at(text, step))).toEqual([1, 1, 2, 2, 3, 3]);
  });

  test("ramp is linear, up and down", () => {
    expect(at("schedule by steps { ..100 => ramp(0, 2)  ..end => ramp(2, 0) }", 25)).toBeCloseTo(0.5, 12);
    expect(at("schedule by steps { ..100 => ramp(0, 2)  ..end => ramp(2, 0) }", 50_050)).toBeCloseTo(1, 12);
  });

  test("cosine is half a wave", () => {
    const text = "schedule by progress { ..end => cosine(1e-3, 1e-4) }";
    expect(at(text, 0)).toBeCloseTo(1e-3, 12);
    expect(at(text, 25_000)).toBeCloseTo(1e-4 + (9e-4 * (1 + Math.SQRT1_2)) / 2, 12);
    expect(at(text, 50_000)).toBeCloseTo(5.5e-4, 12);
    expect(at(text, 100_000)).toBeCloseTo(1e-4, 12);
  });

  test("exponential multiplies", () => {
    expect(at("schedule by steps { ..100 => exponential(1, 100)  ..end => 100 }", 50)).toBeCloseTo(10, 9);
  });

  test("percent of the progress", () => {
    const text = "schedule by progress { ..80% => 1  ..90% => 0.316  ..end => 0.1 }";
    expect([0, 79_999, 80_000, 90_000].map((step) => at(text, step))).toEqual([1, 1, 0.316, 0.1]);
  });
});

/** The learning rate of DeepSeek-V3 (section 4.2), against its formula. */
describe("DeepSeek-V3", () => {
  const schedule = scheduleFrom(`schedule by tokens {
    ..2_000 steps => ramp(0, 2.2e-4)
    ..1T          => 2.2e-4
    ..1.43T       => cosine(2.2e-4, 2.2e-5)
    ..1.4633T     => 2.2e-5
    ..end         => 7.3e-6
  }`);
  const perStep = SEQUENCES * LENGTH;
  const lr = (tokens: number): number => evaluateSchedule(schedule, after(tokens / perStep));

  test("warm-up counts steps", () => {
    expect(evaluateSchedule(schedule, after(1_000))).toBeCloseTo(1.1e-4, 12);
    expect(evaluateSchedule(schedule, after(2_000))).toBe(2.2e-4);
  });

  test("then tokens", () => {
    expect(lr(0.5e12)).toBe(2.2e-4);
    expect(lr(1.215e12)).toBeCloseTo((2.2e-4 + 2.2e-5) / 2, 12);
    expect(lr(1.45e12)).toBe(2.2e-5);
    expect(lr(1.47e12)).toBe(7.3e-6);
  });
});

test("a piece behind steps begins where those are in tokens", () => {
  const schedule = scheduleFrom("schedule by tokens { ..1_000 steps => 1  ..8.192B => cosine(1, 0)  ..end => 0 }");
  // 1,000 steps are 4.096B tokens, so the middle lies at 1,500 steps.
  expect(evaluateSchedule(schedule, after(1_500))).toBeCloseTo(0.5, 9);
  expect(() => evaluateSchedule(schedule, { at: after(1_500).at })).toThrow("cannot be measured in tokens");
});

test("a batch that grows, in sequences", () => {
  const schedule = scheduleFrom("schedule by tokens { ..469B => ramp(3_072, 15_360)  ..end => 15_360 }", "batch");
  expect(evaluateSchedule(schedule, after(0))).toBe(3_072);
  expect(evaluateSchedule(schedule, after(1_000_000))).toBe(15_360);
});

test("property: a schedule stays between the values of its pieces, and shapes meet their ends", () => {
  const kinds = ["constant", "ramp", "cosine", "exponential"] as const;
  const value = fc.double({ min: 1e-6, max: 10, noNaN: true });
  const pieceArb = fc.record({
    kind: fc.constantFrom(...kinds),
    from: value,
    to: value,
    length: fc.integer({ min: 1, max: 100 }),
  });
  fc.assert(
    fc.property(
      fc.array(pieceArb, { minLength: 1, maxLength: 5 }),
      fc.double({ min: 0, max: 600, noNaN: true }),
      (list, step) => {
        let end = 0;
        const pieces = list.map(({ kind, from, to, length }, index) => {
          end += length;
          const until = index === list.length - 1 ? undefined : { value: end, clock: "steps" as const };
          return { until, shape: { kind, from: kind === "constant" ? to : from, to } };
        });
        const schedule: Schedule = { by: "steps", pieces };
        const all = pieces.flatMap(({ shape }) => [shape.from, shape.to]);
        const result = evaluateSchedule(schedule, after(step, end));
        expect(result).toBeGreaterThanOrEqual(Math.min(...all) - 1e-12);
        expect(result).toBeLessThanOrEqual(Math.max(...all) + 1e-12);
        let start = 0;
        for (const [index, { shape, until }] of pieces.entries()) {
          expect(evaluateSchedule(schedule, after(start, end))).toBeCloseTo(shape.from, 9);
          start = until?.value ?? start + list[index]!.length;
        }
      },
    ),
    { numRuns: 200 },
  );
});

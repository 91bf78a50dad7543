import { describe, expect, test } from "vitest";
import { type Done, TrainingClock } from "../../../runtime/train/clock.ts";
import type { TrainingPlan } from "../../../runtime/train/plan.ts";
import { constantSchedule, type Schedule } from "../../../runtime/train/schedule.ts";
import { PLAN } from "../../support/tiny-training.ts";

const plan = (changes: Partial<TrainingPlan>): TrainingPlan => ({ ...PLAN, length: 10, ...changes });

/** Advances by steps of some tokens; gives the value of a schedule before each. */
function values(clock: TrainingClock, schedule: Schedule, tokens: readonly number[]): number[] {
  return tokens.map((count) => {
    const value = clock.value(schedule);
    clock.advance({ sequences: clock.batch, tokens: count, epochs: (clock.done.tokens + count) / 1000 });
    return value;
  });
}

describe("TrainingClock", () => {
  test("a piece that starts after some steps is measured from the tokens of that moment", () => {
    const lr: Schedule = {
      by: "tokens",
      pieces: [
        { until: { value: 2, clock: "steps" }, shape: { kind: "constant", from: 1, to: 1 } },
        { until: { value: 100, clock: "tokens" }, shape: { kind: "ramp", from: 1, to: 0 } },
        { shape: { kind: "constant", from: 0, to: 0 } },
      ],
    };
    const clock = new TrainingClock(plan({ scalars: { lr }, stop: { clock: "tokens", value: 200 } }), 1000);
    // 25 + 15 tokens in the first two steps: the ramp runs from 40 to 100.
    expect(values(clock, lr, [25, 15, 30, 15])).toEqual([1, 1, 1, 0.5]);
    const again = new TrainingClock(plan({ scalars: { lr }, stop: { clock: "tokens", value: 200 } }), 1000);
    again.restore(JSON.parse(JSON.stringify(clock.state())));
    expect(again.value(lr)).toBe(0.25);
    expect(again.done).toEqual(clock.done);
  });

  test("the batch grows with its schedule, and tokens are turned into sequences", () => {
    const size: Schedule = {
      by: "steps",
      pieces: [
        { until: { value: 2, clock: "steps" }, shape: { kind: "constant", from: 25, to: 25 } },
        { shape: { kind: "constant", from: 40, to: 40 } },
      ],
    };
    const clock = new TrainingClock(plan({ batch: { unit: "tokens", size } }), 1000);
    expect(values(clock, size, [20, 20, 40])).toEqual([25, 25, 40]);
    expect(clock.done.sequences).toBe(2 + 2 + 4);
    expect(new TrainingClock(plan({ batch: { unit: "tokens", size: constantSchedule(3) } }), 1000).batch).toBe(1);
  });

  test.for<[TrainingPlan["stop"], Partial<Done>]>([
    [{ clock: "steps", value: 3 }, { steps: 3 }],
    [{ clock: "tokens", value: 50 }, { steps: 3 }],
    [{ clock: "epochs", value: 0.05 }, { steps: 3 }],
  ])("ends by %o", ([stop, done]) => {
    const clock = new TrainingClock(plan({ stop }), 1000);
    while (!clock.ended) values(clock, PLAN.scalars["lr"]!, [20]);
    expect(clock.done).toMatchObject(done);
    expect(clock.progress).toBe(1);
  });

  test("a curve to an end that another clock decides runs to where full sequences get", () => {
    const lr: Schedule = { by: "steps", pieces: [{ shape: { kind: "ramp", from: 1, to: 0 } }] };
    const batch = { unit: "sequences", size: constantSchedule(4) } as const;
    // 4 sequences of 10 tokens a step: 400 tokens are 10 steps.
    const clock = new TrainingClock(plan({ scalars: { lr }, batch, stop: { clock: "tokens", value: 400 } }), 1000);
    expect(values(clock, lr, [40, 40, 40])).toEqual([1, 0.9, 0.8]);
  });
});

import { expect, test } from "vitest";
import { Plans } from "../../../runtime/device/plans.ts";
import { planArena } from "../../../runtime/program/arena.ts";
import type { LaunchProgram } from "../../../runtime/program/launch.ts";
import { buffer } from "../../support/kernels.ts";

const PROGRAM: LaunchProgram = {
  name: "p",
  dims: ["T", "S"],
  buffers: [
    buffer("temp", "a", "f32", "T", "S"),
    buffer("temp", "b", "f32", "S", 3),
    buffer("temp", "c", "bf16", "T", 1000),
    buffer("temp", "d", "f32", "T", "S"),
  ],
  launches: [
    { kernel: "k", args: [0, 1], extents: [] },
    { kernel: "k", args: [1, 2], extents: [] },
    { kernel: "k", args: [2, 3, 0], extents: [] },
  ],
};

test("a few sizes are planned exactly, and each once", () => {
  const plans = new Plans(PROGRAM, (sizes) => planArena(PROGRAM, sizes));
  const sizes = { T: 100, S: 1001, unused: 3 };
  expect(plans.of(sizes)).toEqual(planArena(PROGRAM, sizes));
  expect(plans.of({ S: 1001, T: 100 })).toBe(plans.of(sizes));
});

test("with more sizes, a plan serves all calls up to an eighth larger, and has room for each", () => {
  const plans = new Plans(PROGRAM, (sizes) => planArena(PROGRAM, sizes));
  const made = new Set<unknown>();
  for (let S = 1000; S < 4000; S++) {
    const plan = plans.of({ T: 1, S });
    made.add(plan);
    const exact = planArena(PROGRAM, { T: 1, S });
    expect(plan.bytes).toBeGreaterThanOrEqual(exact.bytes);
    expect(plan.bytes).toBeLessThan(exact.bytes * 1.2);
    // The first size was planned exactly, and still is.
    expect(plans.of({ T: 1, S: 1000 })).toEqual(planArena(PROGRAM, { T: 1, S: 1000 }));
  }
  expect(made.size).toBeLessThan(30);
});

test("a dim that is not bound is an error", () => {
  expect(() => new Plans(PROGRAM, (sizes) => planArena(PROGRAM, sizes)).of({ T: 1 })).toThrow(
    "the run-time dim S is not bound",
  );
});

/** Random programs with their gradients: generated kernels against the interpreter. */
import { expect, test } from "vitest";
import type { Capability } from "../../../compiler/kernel-ir/capability.ts";
import { CPU } from "../../../compiler/targets/cpu/capability.ts";
import { onCpu } from "../../support/on-cpu.ts";
import { checkRandomCases, randomCases } from "../../support/random-cases.ts";

/** Hardly anything fits: kernels are taken apart, locals and truth values are stored. */
const CRAMPED: Capability = {
  ...CPU,
  bindings: 4,
  itemBytes: 32,
  runTimeLocals: false,
  stored: ["f64", "f32", "i32"],
};

test.each([
  { of: "the CPU", target: CPU, numRuns: 14, cases: 25 },
  { of: "a target with little room", target: CRAMPED, numRuns: 4, cases: 6 },
])(
  "random programs on the CPU, lowered for $of",
  async ({ target, numRuns, cases: least }) => {
    const cases = randomCases(numRuns);
    expect(cases.length).toBeGreaterThan(least);
    const session = await onCpu(
      cases.map(({ program }) => program),
      {},
      { target },
    );
    await checkRandomCases(session, cases);
    session.close();
  },
  300_000,
);

/** Random programs with their gradients: generated kernels against the interpreter. */
import { expect, test } from "vitest";
import { HAS_WEBGPU, onWebGpu } from "../../../support/on-webgpu.ts";
import { checkRandomCases, randomCases } from "../../../support/random-cases.ts";

test.skipIf(!HAS_WEBGPU)(
  "random programs on WebGPU",
  async () => {
    const cases = randomCases(14);
    expect(cases.length).toBeGreaterThan(25);
    const session = await onWebGpu(cases.map(({ program }) => program));
    await checkRandomCases(session, cases);
    session.close();
  },
  300_000,
);

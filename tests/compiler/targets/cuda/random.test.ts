/** Random programs with their gradients: generated kernels, run by the harness, against the interpreter. */
import { expect, test } from "vitest";
import { onCuda } from "../../../support/on-cuda.ts";
import { checkRandomCases, randomCases } from "../../../support/random-cases.ts";

test("random programs in CUDA", async () => {
  const cases = randomCases(14);
  expect(cases.length).toBeGreaterThan(25);
  const session = await onCuda(cases.map(({ program }) => program));
  await checkRandomCases(session, cases);
  session.close();
}, 300_000);

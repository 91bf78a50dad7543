import { expect } from "vitest";
import type { Row } from "../../support/plain.ts";

/** |got - want| <= atol + rtol |want| for all values. */
export function expectClose(got: Row, want: Row, atol = 2e-6, rtol = 2e-5): void {
  expect(got.length).toBe(want.length);
  const off = got
    .map((value, i) => ({
      i,
      value,
      want: want[i]!,
      by: Math.abs(value - want[i]!) / (atol + rtol * Math.abs(want[i]!)),
    }))
    .filter(({ by }) => !(by <= 1));
  expect(off.slice(0, 5)).toEqual([]);
}

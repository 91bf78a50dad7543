import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ALIGNMENT, planArena } from "../../../runtime/program/arena.ts";
import { elementsOf, type LaunchProgram, STORAGE_BYTES } from "../../../runtime/program/launch.ts";

/** Programs of launches that read and write up to four of ten temps; sizes depend on T. */
const programs = fc
  .record({
    counts: fc.array(fc.nat({ max: 300 }), { minLength: 10, maxLength: 10 }),
    launches: fc.array(fc.uniqueArray(fc.nat({ max: 9 }), { minLength: 1, maxLength: 4 }), {
      minLength: 1,
      maxLength: 30,
    }),
  })
  .map(({ counts, launches }): LaunchProgram => ({
    name: "p",
    dims: ["T"],
    buffers: counts.map((count, i) => ({
      kind: "temp",
      name: `b${i}`,
      dtype: i % 2 ? "f32" : "bf16",
      shape: ["T", count],
    })),
    launches: launches.map((args) => ({ kernel: "k", args, extents: [] })),
  }));

function uses({ launches }: LaunchProgram, buffer: number): [number, number] {
  const at = launches.flatMap(({ args }, i) => (args.includes(buffer) ? [i] : []));
  return [at[0] ?? -1, at.at(-1) ?? -1];
}

describe("the arena", () => {
  test("temps that live at the same time do not overlap, and lie on cache lines inside the arena", () => {
    fc.assert(
      fc.property(programs, fc.integer({ min: 1, max: 50 }), (program, T) => {
        const { offsets, bytes, peak } = planArena(program, { T });
        expect(peak).toBeLessThanOrEqual(bytes);
        const placed = program.buffers.flatMap((spec, i) => {
          const [first, last] = uses(program, i);
          if (first < 0) return [];
          const from = offsets[i]!;
          const to = from + elementsOf(spec, { T }) * STORAGE_BYTES[spec.dtype];
          expect(from % ALIGNMENT).toBe(0);
          expect(to).toBeLessThanOrEqual(bytes);
          return [{ first, last, from, to }];
        });
        for (const [i, a] of placed.entries()) {
          for (const b of placed.slice(i + 1)) {
            const together = a.first <= b.last && b.first <= a.last;
            expect(!together || a.to <= b.from || b.to <= a.from || a.from === a.to || b.from === b.to).toBe(true);
          }
        }
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  test("a chain needs two buffers at once, however long it is", () => {
    const program: LaunchProgram = {
      name: "chain",
      dims: ["T"],
      buffers: Array.from({ length: 10 }, (_, i) => ({ kind: "temp", name: `x${i}`, dtype: "f32", shape: ["T", 16] })),
      launches: Array.from({ length: 9 }, (_, i) => ({ kernel: "k", args: [i, i + 1], extents: [] })),
    };
    expect(planArena(program, { T: 4 })).toMatchObject({ bytes: 512, peak: 512 });
    expect(() => planArena(program, {})).toThrow("the run-time dim T is not bound");
  });
});

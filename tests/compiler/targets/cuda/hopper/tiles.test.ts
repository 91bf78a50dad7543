/** Which tiles products get. */
import { expect, test } from "vitest";
import { candidates, chosenTile, type TileProblem } from "../../../../../compiler/targets/cuda/hopper/tiles.ts";
import { TUNING } from "../../../../../compiler/targets/cuda/hopper/tuning.ts";

const SQUARE: TileProblem = {
  m: 4096,
  n: 4096,
  loops: [{ k: 4096, products: 1 }],
  batches: 1,
  elementBytes: 2,
  resultBytes: 2,
  sums: 1,
  slots: 2,
  depth: 64,
};

test("a measured tile comes before the cost model's, for its shape only", () => {
  const { consumers, tileN, why } = chosenTile(SQUARE)!;
  expect({ consumers, tileN }).toEqual({ consumers: 2, tileN: 256 });
  expect(why).toMatch(/tiles, bound by/);
  const { m, n, loops, elementBytes } = SQUARE;
  const line = { m, n, loops, elementBytes, consumers: 2, tileN: 128, source: "an H200, today" } as const;
  expect(chosenTile(SQUARE, [line])).toMatchObject({ consumers: 2, tileN: 128, why: "measured: an H200, today" });
  const deeper = { ...SQUARE, loops: [{ k: 8192, products: 1 }] };
  expect(chosenTile(deeper, [line])).toEqual(chosenTile(deeper, []));
  // What does not fit is not taken, whoever measured it.
  expect(chosenTile({ ...SQUARE, sharedBytes: 120_000 }, [{ ...line, tileN: 256 }])!.why).not.toMatch(/measured/);
});

test("every measured tile is one that fits, and says where it is from", () => {
  for (const line of TUNING) {
    expect(line.source).toMatch(/H[12]00.*2026/);
    const problem = { ...SQUARE, ...line, depth: 128 / line.elementBytes };
    expect(candidates(problem).some((one) => one.fits && one.tileN === line.tileN)).toBe(true);
  }
});

test("tiles leave registers to what results need beside sums", () => {
  const chosen = (registers: number): number => chosenTile({ ...SQUARE, resultRegisters: () => registers })!.tileN;
  expect([0, 32, 33, 64, 65].map(chosen)).toEqual([256, 256, 192, 192, 128]);
  const [refused] = candidates({ ...SQUARE, resultRegisters: () => 40 }).filter(
    ({ tileN, consumers }) => tileN === 256 && consumers === 2,
  );
  expect(refused).toMatchObject({ fits: false, why: "128 registers for sums, and 40 for results" });
});

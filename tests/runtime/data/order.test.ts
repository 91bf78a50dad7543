import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bestFit } from "../../../runtime/data/pack.ts";
import { permutation } from "../../../runtime/data/permutation.ts";

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("permutation", () => {
  test("property: every number once", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2_000 }), fc.array(fc.nat(), { maxLength: 3 }), (size, key) => {
        expect(
          range(size)
            .map(permutation(size, key))
            .toSorted((a, b) => a - b),
        ).toEqual(range(size));
      }),
      { numRuns: 50 },
    );
  });

  test("stays what it is: checkpoints of other versions go on with it", () => {
    expect(range(10).map(permutation(10, [1, 2, 3]))).toEqual([2, 8, 1, 4, 7, 5, 6, 9, 0, 3]);
  });

  test("depends on every part of the key, large ones too", () => {
    const orders = [[0, 0], [0, 1], [1, 0], [2 ** 32, 0], [2 ** 40, 0], [], [0]].map((key) =>
      range(1_000).map(permutation(1_000, key)).join(),
    );
    expect(new Set(orders).size).toBe(orders.length);
  });

  test("numbers of more than 32 bits", () => {
    const size = 3 * 2 ** 40;
    const order = permutation(size, [7]);
    const places = range(2_000).map(order);
    expect(new Set(places).size).toBe(2_000);
    expect(places.every((place) => Number.isSafeInteger(place) && place >= 0 && place < size)).toBe(true);
    // Evenly spread: the mean of 2,000 is within 5 % of the middle (four standard deviations).
    expect(Math.abs(places.reduce((a, b) => a + b, 0) / 2_000 / size - 0.5)).toBeLessThan(0.026);
  });

  test("neighbors land apart: displacements look like those of a random order", () => {
    const size = 10_000;
    const order = range(size).map(permutation(size, [1, 2, 3]));
    // The mean distance of two random places is a third; of a random order, about 1 place in 10,000 stays.
    const distance = order.slice(1).reduce((sum, place, i) => sum + Math.abs(place - order[i]!), 0) / (size - 1);
    expect(Math.abs(distance / size - 1 / 3)).toBeLessThan(0.01);
    expect(order.filter((place, i) => place === i).length).toBeLessThan(8);
  });
});

describe("best fit", () => {
  test("an example", () => {
    // 8, 7, 6 and 5 open sequences; 4 closes that of 6, 3 that of 7, the first 2 that of 8; the other 2 is left for that of 5.
    expect(bestFit([5, 2, 8, 7, 2, 4, 6, 3], 10)).toEqual([
      [0, 4],
      [1, 2],
      [3, 7],
      [5, 6],
    ]);
  });

  test("property: every piece once, none too long, and no two sequences fit into one", () => {
    const pieces = fc
      .integer({ min: 4, max: 50 })
      .chain((length) =>
        fc.tuple(fc.constant(length), fc.array(fc.integer({ min: 1, max: length }), { maxLength: 80 })),
      );
    fc.assert(
      fc.property(pieces, ([length, lengths]) => {
        const sequences = bestFit(lengths, length);
        expect(sequences.flat().toSorted((a, b) => a - b)).toEqual(range(lengths.length));
        const filled = sequences.map((sequence) => sequence.reduce((sum, piece) => sum + lengths[piece]!, 0));
        const [least, second] = filled.toSorted((a, b) => a - b);
        expect(Math.max(0, ...filled)).toBeLessThanOrEqual(length);
        expect((least ?? length) + (second ?? length)).toBeGreaterThan(filled.length > 1 ? length : 0);
        for (const sequence of sequences) expect(sequence).toEqual(sequence.toSorted((a, b) => a - b));
        expect(sequences.map(([first]) => first)).toEqual(
          sequences.map(([first]) => first).toSorted((a, b) => a! - b!),
        );
      }),
    );
  });
});

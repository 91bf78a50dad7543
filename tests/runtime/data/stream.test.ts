import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { batchOf, type Sequence } from "../../../runtime/data/batch.ts";
import { PackedStream, type StreamPart } from "../../../runtime/data/packed-stream.ts";
import type { StreamState } from "../../../runtime/data/stream.ts";
import { countedDocuments, lengthsArb } from "../../support/documents.ts";

interface Setup {
  readonly lengths: readonly (readonly number[])[];
  readonly length: number;
  readonly pack: boolean;
  readonly seed: number;
}

const setupArb: fc.Arbitrary<Setup> = fc.record({
  lengths: fc.array(lengthsArb, { minLength: 1, maxLength: 3 }),
  length: fc.integer({ min: 1, max: 16 }),
  pack: fc.boolean(),
  seed: fc.nat({ max: 2 ** 31 }),
});

/** Corpora of equal shares whose tokens are all different. */
function partsOf({ lengths, length, pack, seed }: Setup, ahead = 2): StreamPart[] {
  return lengths.map((list, index) => ({
    share: 1 / lengths.length,
    documents: countedDocuments(list, 1_000_000 * index),
    length,
    pack,
    key: [seed, index],
    ahead,
  }));
}

const streamOf = (setup: Setup, epochs?: number, state?: StreamState): PackedStream =>
  new PackedStream("id", partsOf(setup), epochs, state);

function tokensOf(sequences: readonly Sequence[]): number[] {
  return sequences.flat().flatMap(({ tokens, length }) => [...tokens.subarray(0, length)]);
}

const ascending = (numbers: readonly number[]): number[] => numbers.toSorted((a, b) => a - b);

describe("one corpus", () => {
  const single = setupArb.map((setup) => ({ ...setup, lengths: setup.lengths.slice(0, 1) }));

  test("property: a pass has every token once, and every token but the first of a document once as a target", () => {
    fc.assert(
      fc.property(single, (setup) => {
        const total = setup.lengths[0]!.reduce((a, b) => a + b, 0);
        const sequences = streamOf(setup, 1).next(10_000);
        expect(ascending(tokensOf(sequences))).toEqual(Array.from({ length: total }, (_, i) => i));
        const { inputs } = batchOf(sequences, 1);
        const firsts = new Set(setup.lengths[0]!.map((_, i, all) => all.slice(0, i).reduce((a, b) => a + b, 0)));
        const expected = Array.from({ length: total }, (_, i) => i).filter((i) => !firsts.has(i));
        expect(ascending([...inputs["target.1"]!].filter((target) => target >= 0))).toEqual(expected);
        // Each target is the token behind the one it belongs to.
        inputs["tokens"]!.forEach((token, i) => expect([token + 1, -1]).toContain(inputs["target.1"]![i]));
        inputs["ahead.1"]!.forEach((ahead, i) => expect(ahead).toBe(inputs["target.1"]![i]));
        inputs["target.2"]!.forEach((target, i) => expect([inputs["tokens"]![i]! + 2, -1]).toContain(target));
      }),
    );
  });

  test("property: no sequence is too long, and without packing each is one piece", () => {
    fc.assert(
      fc.property(single, (setup) => {
        for (const sequence of streamOf(setup, 1).next(10_000)) {
          const size = sequence.reduce((sum, { length }) => sum + length, 0);
          expect(size).toBeLessThanOrEqual(setup.length);
          expect(sequence.length).toBeLessThanOrEqual(setup.pack ? size : 1);
        }
      }),
    );
  });

  test("passes have orders of their own", () => {
    const setup: Setup = { lengths: [Array.from({ length: 40 }, () => 3)], length: 8, pack: true, seed: 1 };
    const stream = streamOf(setup, 3);
    const tokens = tokensOf(stream.next(10_000));
    const passes = [0, 1, 2].map((pass) => tokens.slice(pass * 120, (pass + 1) * 120));
    for (const pass of passes) expect(ascending(pass)).toEqual(Array.from({ length: 120 }, (_, i) => i));
    expect(new Set(passes.map((pass) => pass.join())).size).toBe(3);
    expect(stream.epochs).toBe(3);
  });

  test("packing leaves little room", () => {
    const lengths = Array.from({ length: 5_000 }, (_, i) => 1 + ((i * 7_919) % 700));
    const stream = streamOf({ lengths: [lengths], length: 256, pack: true, seed: 3 }, 1);
    const sequences = stream.next(100_000);
    expect(tokensOf(sequences).length / (256 * sequences.length)).toBeGreaterThan(0.97);
  });
});

describe("the same stream", () => {
  test("property: however it is drawn", () => {
    fc.assert(
      fc.property(
        setupArb,
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 }),
        (setup, draws) => {
          const count = draws.reduce((a, b) => a + b, 0);
          const stream = streamOf(setup);
          expect(draws.flatMap((draw) => stream.next(draw))).toEqual(streamOf(setup).next(count));
        },
      ),
    );
  });

  test("property: after a stop anywhere, its state written as JSON", () => {
    fc.assert(
      fc.property(setupArb, fc.nat({ max: 60 }), (setup, at) => {
        const whole = streamOf(setup);
        const stream = streamOf(setup);
        whole.next(at);
        stream.next(at);
        const state = JSON.parse(JSON.stringify(stream.state())) as StreamState;
        const resumed = streamOf(setup, undefined, state);
        expect(resumed.next(20)).toEqual(whole.next(20));
        expect(resumed.state()).toEqual(whole.state());
        expect(resumed.epochs).toBe(whole.epochs);
      }),
    );
  });

  test("property: a batch of 16 is two of 8", () => {
    fc.assert(
      fc.property(setupArb, (setup) => {
        const sequences = streamOf(setup).next(16);
        const [one, two] = [batchOf(sequences.slice(0, 8), 1), batchOf(sequences.slice(8), 1)];
        const both = batchOf(sequences, 1);
        for (const name of ["tokens", "pos", "target.1", "target.2", "ahead.1"])
          expect([...one.inputs[name]!, ...two.inputs[name]!]).toEqual([...both.inputs[name]!]);
        expect(one.targets + two.targets).toBe(both.targets);
        expect(one.sizes.B + two.sizes.B).toBe(both.sizes.B);
      }),
    );
  });

  test("another seed is another order", () => {
    const setup: Setup = { lengths: [Array.from({ length: 50 }, () => 5)], length: 10, pack: true, seed: 1 };
    expect(streamOf({ ...setup, seed: 2 }).next(20)).not.toEqual(streamOf(setup).next(20));
  });

  test("a state of other data is refused", () => {
    const setup: Setup = { lengths: [[5, 5]], length: 4, pack: true, seed: 1 };
    const state = streamOf(setup).state();
    expect(() => new PackedStream("other", partsOf(setup), undefined, state)).toThrow(
      "the state belongs to other data",
    );
  });
});

describe("a mixture", () => {
  test("property: after every sequence each corpus has its share of the tokens, within one sequence", () => {
    const shares = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(shares, fc.array(lengthsArb, { minLength: 5, maxLength: 5 }), (weights, lengths) => {
        const sum = weights.reduce((a, b) => a + b, 0);
        const setup: Setup = { lengths: lengths.slice(0, weights.length), length: 8, pack: true, seed: 5 };
        const parts = partsOf(setup).map((part, i) => ({ ...part, share: weights[i]! / sum }));
        const stream = new PackedStream("id", parts);
        const given = weights.map(() => 0);
        for (let i = 0; i < 200; i++) {
          const tokens = tokensOf(stream.next(1));
          given[Math.floor(tokens[0]! / 1_000_000)]! += tokens.length;
          const total = given.reduce((a, b) => a + b, 0);
          for (const [index, tokens] of given.entries()) {
            // A corpus is chosen when it is furthest behind: never more than a sequence ahead of its share.
            expect(tokens - parts[index]!.share * total).toBeLessThanOrEqual(8);
          }
        }
      }),
      { numRuns: 30 },
    );
  });
});

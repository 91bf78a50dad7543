import { describe, expect, test } from "vitest";
import { batchOf, type Piece, type Sequence } from "../../../runtime/data/batch.ts";

function piece(length: number, tokens: readonly number[], counted?: readonly number[]): Piece {
  return {
    length,
    tokens: Int32Array.from(tokens),
    ...(counted === undefined ? {} : { counted: Uint8Array.from(counted) }),
  };
}

function plain(sequences: readonly Sequence[], lookAhead: number): Record<string, number[]> {
  const { inputs } = batchOf(sequences, lookAhead);
  return Object.fromEntries(Object.entries(inputs).map(([name, values]) => [name, [...values]]));
}

describe("inputs of a training step", () => {
  test("a document that goes on behind its piece predicts what follows", () => {
    expect(plain([[piece(2, [5, 6, 7, 8])]], 1)).toEqual({
      tokens: [5, 6],
      pos: [0, 1],
      seq: [0, 0],
      "target.1": [6, 7],
      "ahead.1": [6, 7],
      "target.2": [7, 8],
    });
  });

  test("pieces do not see each other, in one sequence or in two", () => {
    const [a, b] = [piece(3, [5, 6, 7]), piece(2, [8, 9])];
    const expected = {
      tokens: [5, 6, 7, 8, 9],
      pos: [0, 1, 2, 0, 1],
      seq: [0, 0, 0, 1, 1],
      "target.1": [6, 7, -1, 9, -1],
      "ahead.1": [6, 7, -1, 9, -1],
      "target.2": [7, -1, -1, -1, -1],
      "ahead.2": [7, -1, -1, -1, -1],
      "target.3": [-1, -1, -1, -1, -1],
    };
    expect(plain([[a, b]], 2)).toEqual(expected);
    expect(plain([[a], [b]], 2)).toEqual(expected);
  });

  test("what is given in a conversation is no target, but is seen ahead", () => {
    expect(plain([[piece(4, [1, 2, 3, 4], [0, 0, 1, 1])]], 1)).toEqual({
      tokens: [1, 2, 3, 4],
      pos: [0, 1, 2, 3],
      seq: [0, 0, 0, 0],
      "target.1": [-1, 3, 4, -1],
      "ahead.1": [2, 3, 4, -1],
      "target.2": [3, 4, -1, -1],
    });
  });

  test("sizes", () => {
    const { sizes, sequences, targets } = batchOf([[piece(3, [5, 6, 7]), piece(2, [8, 9])], [piece(1, [4, 3])]], 0);
    expect(sizes).toEqual({ T: 6, S: 6, B: 3 });
    expect({ sequences, targets }).toEqual({ sequences: 2, targets: 4 });
  });
});

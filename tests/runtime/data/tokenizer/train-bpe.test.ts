import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ALPHABET, spell } from "../../../../runtime/data/tokenizer/byte-alphabet.ts";
import { LEAST_VOCABULARY, trainTokenizer, WORDS } from "../../../../runtime/data/tokenizer/new-tokenizer.ts";
import { trainBpe } from "../../../../runtime/data/tokenizer/train-bpe.ts";

const fixtures = resolve(import.meta.dirname, "../../../fixtures/tokenizer");
const text = readFileSync(resolve(fixtures, "text.txt"), "utf8");
const words = (from: string): string[] => from.match(new RegExp(WORDS, "gu")) ?? [];

/** Counts all pairs anew for every merge. */
function naive(texts: readonly string[], split: (text: string) => string[], count: number): [number, number][] {
  let tokenized = texts
    .flatMap(split)
    .map((word) => Array.from(new TextEncoder().encode(word), (byte) => ALPHABET.indexOf(byte)));
  const merges: [number, number][] = [];
  while (merges.length < count) {
    const counts = new Map<string, number>();
    for (const word of tokenized)
      word.slice(1).forEach((right, i) => {
        const key = `${word[i]} ${right}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      });
    const ranked = [...counts].map(([key, n]) => ({ n, pair: key.split(" ").map(Number) as [number, number] }));
    ranked.sort((a, b) => b.n - a.n || a.pair[0] - b.pair[0] || a.pair[1] - b.pair[1]);
    const best = ranked[0];
    if (best === undefined || best.n < 2) break;
    const [left, right] = best.pair;
    const token = 256 + merges.push(best.pair) - 1;
    tokenized = tokenized.map((word) => {
      const out: number[] = [];
      for (let i = 0; i < word.length; i++) {
        const both = word[i] === left && word[i + 1] === right;
        out.push(both ? token : word[i]!);
        if (both) i++;
      }
      return out;
    });
  }
  return merges;
}

describe("learning merges", () => {
  test("the merges of Hugging Face tokenizers, ties included", () => {
    const { merges } = trainBpe([text], words, 1_000);
    const names = ALPHABET.map((byte) => spell(Uint8Array.of(byte)));
    const written = merges.map(([left, right]) => {
      names.push(names[left]! + names[right]!);
      return `${names[left]!} ${names[right]!}`;
    });
    const expected = JSON.parse(readFileSync(resolve(fixtures, "merges.json"), "utf8")) as { merges: string[] };
    expect(written).toEqual(expected.merges);
  });

  test("property: as if all pairs were counted anew for every merge", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", "c", "é", " "), minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 30 }), (list) => {
        const split = (joined: string): string[] => joined.split(" ").filter((part) => part !== "");
        expect(trainBpe(list, split, 40).merges).toEqual(naive(list, split, 40));
      }),
      { numRuns: 200 },
    );
  });

  test("the order of the texts does not matter", () => {
    const lines = text.split(/(?<=\n)/);
    expect(trainTokenizer(lines.toReversed(), 800)).toEqual(trainTokenizer(lines, 800));
  });
});

describe("the size of a vocabulary", () => {
  const size = (texts: readonly string[], wanted: number): number =>
    Object.keys(trainTokenizer(texts, wanted).tokenizer.model.vocab as object).length;

  test("is what was asked for", () => {
    expect(size([text], 700)).toBe(700);
    expect(size([text], LEAST_VOCABULARY)).toBe(LEAST_VOCABULARY);
  });

  test("is smaller where no pair occurs twice", () => {
    expect(size(["abc abc"], 700)).toBe(LEAST_VOCABULARY + 2);
    expect(size([], 700)).toBe(LEAST_VOCABULARY);
  });

  test("holds every byte", () => {
    expect(() => trainTokenizer([text], 265)).toThrow(
      "a vocabulary of 265 is too small: bytes and marks alone are 266",
    );
  });
});

/** Documents in memory. */
import fc from "fast-check";
import type { Documents } from "../../runtime/data/documents.ts";
import { HASH_START, hashStep, mix } from "../../runtime/data/read/document.ts";

export function documentsOf(all: readonly (readonly number[])[]): Documents {
  return {
    count: all.length,
    tokens: all.reduce((sum, { length }) => sum + length, 0),
    length: (document) => all[document]!.length,
    read: (document, from, to) => Int32Array.from(all[document]!.slice(from, to)),
    counted: () => undefined,
    hash: (document) => mix(all[document]!.reduce(hashStep, HASH_START)),
  };
}

/** Documents whose tokens are all different: 0, 1, 2, ... */
export function countedDocuments(lengths: readonly number[], start = 0): Documents {
  let next = start;
  return documentsOf(lengths.map((length) => Array.from({ length }, () => next++)));
}

export const lengthsArb = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 60 });

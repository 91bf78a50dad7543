/** Documents turned around, so that the model learns to write a missing middle. */
import { DataError } from "./data-error.ts";
import type { Documents } from "./documents.ts";
import { mix } from "./read/document.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

interface InfillMarks {
  readonly begin: number;
  readonly hole: number;
  readonly end: number;
}

/** Names of the marks of published tokenizers: ours, DeepSeek's, StarCoder's, Qwen's. */
const NAMES: readonly (readonly [begin: string, hole: string, end: string])[] = [
  ["<|fim_begin|>", "<|fim_hole|>", "<|fim_end|>"],
  ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
  ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
  ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
];

/** @throws DataError when the tokenizer has no such marks */
function infillMarks(tokenizer: Tokenizer): InfillMarks {
  for (const names of NAMES) {
    const [begin, hole, end] = names.map((name) => tokenizer.id(name));
    if (begin !== undefined && hole !== undefined && end !== undefined) return { begin, hole, end };
  }
  const wanted = NAMES.map((names) => names.join(" ")).join(", or ");
  throw new DataError([`\`fim\` needs a tokenizer with the tokens ${wanted}`]);
}

/**
 * The share `rate` of the documents as prefix, suffix, middle: `begin` prefix `hole` suffix `end` middle (PSM of Bavarian et
 * al. 2022; DeepSeek-V3 section 4.1), with what begins and ends the document at its ends. Which documents, and where they
 * are cut, depends on the seed and their number; a cut lies between tokens.
 */
export class InfilledDocuments implements Documents {
  readonly count: number;
  readonly tokens: number;
  readonly #documents: Documents;
  readonly #tokenizer: Tokenizer;
  readonly #marks: InfillMarks;
  readonly #rate: number;
  readonly #seed: number;

  constructor(documents: Documents, tokenizer: Tokenizer, rate: number, seed: number) {
    this.#documents = documents;
    this.#tokenizer = tokenizer;
    this.#marks = infillMarks(tokenizer);
    this.#rate = rate;
    this.#seed = seed;
    this.count = documents.count;
    let tokens = 0;
    for (let document = 0; document < this.count; document++) tokens += this.length(document);
    this.tokens = tokens;
  }

  length(document: number): number {
    return this.#documents.length(document) + (this.#isTurned(document) ? 3 : 0);
  }

  hash(document: number): number {
    return this.#documents.hash(document);
  }

  /** Texts have no given part. */
  counted(): undefined {
    return undefined;
  }

  read(document: number, from: number, to: number): Int32Array {
    if (!this.#isTurned(document)) return this.#documents.read(document, from, to);
    return this.#turned(document).subarray(from, to);
  }

  #isTurned(document: number): boolean {
    return this.#random(document, 0) < this.#rate;
  }

  /** From 0 up to and without 1. */
  #random(document: number, use: number): number {
    return mix(mix(mix(this.#seed ^ 0x5bd1e995) ^ document) + use) / 2 ** 32;
  }

  #turned(document: number): Int32Array {
    const all = this.#documents.read(document, 0, this.#documents.length(document));
    const start = all[0] === this.#tokenizer.bos ? 1 : 0;
    const stop = all.length > start && all.at(-1) === this.#tokenizer.eos ? all.length - 1 : all.length;
    const place = (use: number): number => start + Math.floor(this.#random(document, use) * (stop - start + 1));
    const [first, second] = [place(1), place(2)].toSorted((a, b) => a - b) as [number, number];
    const { begin, hole, end } = this.#marks;
    return Int32Array.from([
      ...all.subarray(0, start),
      begin,
      ...all.subarray(start, first),
      hole,
      ...all.subarray(second, stop),
      end,
      ...all.subarray(first, second),
      ...all.subarray(stop),
    ]);
  }
}

/** Learns a byte-level BPE vocabulary from text. */
import { ALPHABET } from "./byte-alphabet.ts";
import { Heap } from "./heap.ts";
import { pairKey, unpair } from "./merge.ts";

export interface Learned {
  /** Merges in the order in which they were learned; token i < 256 is byte `ALPHABET[i]`, 256 + i is what merge i gives. */
  readonly merges: readonly (readonly [left: number, right: number])[];
}

/**
 * The `count` most frequent merges, fewer when no pair occurs twice. Words are what `split` makes of the texts; no merge goes
 * over their ends. Of pairs that are equally frequent the one with the lowest tokens comes first, so the result depends on
 * the words only and not on their order.
 */
export function trainBpe(texts: Iterable<string>, split: (text: string) => Iterable<string>, count: number): Learned {
  const words = new Words(countWords(texts, split));
  const merges: [number, number][] = [];
  while (merges.length < count) {
    const best = words.mostFrequent();
    if (best === undefined) break;
    merges.push(unpair(best));
    words.merge(best, 255 + merges.length);
  }
  return { merges };
}

function countWords(texts: Iterable<string>, split: (text: string) => Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) for (const word of split(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

/** The distinct words as tokens, with the counts of all adjacent pairs. */
class Words {
  readonly #words: number[][] = [];
  readonly #counts: number[] = [];
  readonly #pairs = new Map<number, { count: number; readonly words: number[] }>();
  readonly #queue = new Heap<Counted>(before);

  constructor(counts: ReadonlyMap<string, number>) {
    const encoder = new TextEncoder();
    const tokenOf = new Uint8Array(256);
    ALPHABET.forEach((byte, token) => (tokenOf[byte] = token));
    const fresh = new Set<number>();
    for (const [word, count] of counts) {
      const index = this.#words.push(Array.from(encoder.encode(word), (byte) => tokenOf[byte]!)) - 1;
      this.#counts.push(count);
      this.#add(index, fresh);
    }
    this.#enqueue(fresh);
  }

  /** Undefined when no pair occurs twice. Counts in the queue are never too low, only out of date. */
  mostFrequent(): number | undefined {
    for (let top = this.#queue.pop(); top !== undefined; top = this.#queue.pop()) {
      const count = this.#pairs.get(top.key)?.count ?? 0;
      if (count === top.count) return top.key;
      if (count > 1) this.#queue.push({ key: top.key, count });
    }
    return undefined;
  }

  merge(key: number, token: number): void {
    const [left, right] = unpair(key);
    const { words } = this.#pairs.get(key)!;
    const fresh = new Set<number>();
    for (const index of words) {
      const word = this.#words[index]!;
      const merged = mergePair(word, left, right, token);
      // The list of a pair keeps words that have lost it since.
      if (merged.length === word.length) continue;
      this.#remove(index);
      this.#words[index] = merged;
      this.#add(index, fresh, token);
    }
    this.#pairs.delete(key);
    this.#enqueue(fresh);
  }

  #remove(index: number): void {
    const word = this.#words[index]!;
    for (let i = 0; i + 1 < word.length; i++) {
      const pair = this.#pairs.get(pairKey(word[i]!, word[i + 1]!));
      if (pair !== undefined) pair.count -= this.#counts[index]!;
    }
  }

  /** Counts the pairs of a word. Pairs with `token`, or all of them, are `fresh`: their lists do not have the word yet. */
  #add(index: number, fresh: Set<number>, token?: number): void {
    const word = this.#words[index]!;
    for (let i = 0; i + 1 < word.length; i++) {
      const [left, right] = [word[i]!, word[i + 1]!];
      const key = pairKey(left, right);
      let pair = this.#pairs.get(key);
      if (pair === undefined) this.#pairs.set(key, (pair = { count: 0, words: [] }));
      pair.count += this.#counts[index]!;
      if (token !== undefined && left !== token && right !== token) continue;
      if (pair.words.at(-1) !== index) pair.words.push(index);
      fresh.add(key);
    }
  }

  #enqueue(fresh: ReadonlySet<number>): void {
    for (const key of fresh) {
      const { count } = this.#pairs.get(key)!;
      if (count > 1) this.#queue.push({ key, count });
    }
  }
}

function mergePair(word: readonly number[], left: number, right: number, token: number): number[] {
  const merged: number[] = [];
  for (let i = 0; i < word.length; i++) {
    if (word[i] === left && word[i + 1] === right) {
      merged.push(token);
      i++;
    } else merged.push(word[i]!);
  }
  return merged;
}

interface Counted {
  readonly key: number;
  readonly count: number;
}

/** Most frequent first, then the lowest left token, then the lowest right one. */
function before(a: Counted, b: Counted): boolean {
  return a.count > b.count || (a.count === b.count && a.key < b.key);
}

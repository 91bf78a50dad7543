/** Byte pair encoding of one word (Sennrich et al. 2016): again and again the adjacent pair that was learned first. */
import { Heap } from "./heap.ts";

/** Numbers of tokens are below it: pairs of them must fit into one number. */
export const LARGEST_VOCABULARY = 2 ** 26;

const SHIFT = LARGEST_VOCABULARY;

export function pairKey(left: number, right: number): number {
  return left * SHIFT + right;
}

export function unpair(key: number): [left: number, right: number] {
  const left = Math.floor(key / SHIFT);
  return [left, key - left * SHIFT];
}

/** Rank and result of the pair that a merge joins, by `pairKey`. */
export type MergeTable = ReadonlyMap<number, { readonly rank: number; readonly token: number }>;

/**
 * The tokens of a word that starts as `symbols`, which is overwritten. Among pairs of one rank the leftmost goes first.
 * O(n log n): words may be long, such as a line of dashes.
 */
export function mergeWord(symbols: number[], merges: MergeTable): number[] {
  if (symbols.length < 2) return symbols;
  const next = symbols.map((_, i) => i + 1);
  const previous = symbols.map((_, i) => i - 1);
  const queue = new Heap<Candidate>(before);
  const consider = (at: number): void => {
    const after = next[at]!;
    if (after >= symbols.length) return;
    const merge = merges.get(pairKey(symbols[at]!, symbols[after]!));
    if (merge !== undefined) queue.push({ rank: merge.rank, at, left: symbols[at]!, right: symbols[after]! });
  };
  for (let i = 0; i + 1 < symbols.length; i++) consider(i);
  for (let top = queue.pop(); top !== undefined; top = queue.pop()) {
    const { at, left, right } = top;
    const after = next[at]!;
    // Out of date: one of the two was merged with another one since.
    if (symbols[at] !== left || after >= symbols.length || symbols[after] !== right) continue;
    symbols[at] = merges.get(pairKey(left, right))!.token;
    symbols[after] = -1;
    next[at] = next[after]!;
    if (next[at]! < symbols.length) previous[next[at]!] = at;
    if (previous[at]! >= 0) consider(previous[at]!);
    consider(at);
  }
  return symbols.filter((symbol) => symbol >= 0);
}

interface Candidate {
  readonly rank: number;
  readonly at: number;
  readonly left: number;
  readonly right: number;
}

/** Lowest rank first, then leftmost. */
function before(a: Candidate, b: Candidate): boolean {
  return a.rank < b.rank || (a.rank === b.rank && a.at < b.at);
}

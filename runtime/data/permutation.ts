import { mix } from "./read/document.ts";

const ROUNDS = 8;

/**
 * A permutation of 0 to `size` - 1 that needs no memory: a Feistel network (Luby & Rackoff 1988) over the next even number
 * of bits, walked until the result is below `size` (Black & Rogaway 2002), four steps at most on average.
 * @param key numbers that the order depends on: seed, corpus, epoch
 */
export function permutation(size: number, key: readonly number[]): (index: number) => number {
  let bits = 1;
  while (4 ** bits < size) bits++;
  const half = 2 ** bits;
  const start = key.reduce((hash, part) => mix(mix(hash ^ (part >>> 0)) ^ Math.floor(part / 2 ** 32)), 0x9e3779b9);
  const keys = Array.from({ length: ROUNDS }, (_, round) => mix(start + Math.imul(round + 1, 0x9e3779b9)));
  const once = (index: number): number => {
    let [left, right] = [Math.floor(index / half), index % half];
    for (const round of keys) [left, right] = [right, (left ^ mix(right ^ round)) & (half - 1)];
    return left * half + right;
  };
  return (index) => {
    let at = once(index);
    while (at >= size) at = once(at);
    return at;
  };
}

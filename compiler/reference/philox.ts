/**
 * Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four words of a
 * counter and two of a key to four random words, without any state. docs/tensor-ir.md says how `tensor.random` uses it.
 */
export function philox(counter: readonly number[], key: readonly number[]): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter as [number, number, number, number];
  let [k0, k1] = key as [number, number];
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = [mulHigh(0xd2511f53, c0), Math.imul(0xd2511f53, c0)];
    const [high1, low1] = [mulHigh(0xcd9e8d57, c2), Math.imul(0xcd9e8d57, c2)];
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1 >>> 0, (high0 ^ c3 ^ k1) >>> 0, low0 >>> 0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** The upper half of the product of two 32-bit words. */
function mulHigh(a: number, b: number): number {
  const [aHigh, aLow] = [a >>> 16, a & 0xffff];
  const [bHigh, bLow] = [b >>> 16, b & 0xffff];
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle % 0x10000);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}

/** FNV-1a, 32 bits, of the UTF-8 bytes. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

export interface Draws {
  readonly kind: "normal" | "uniform";
  readonly seed: number;
  readonly step: number;
  readonly stream: string;
}

/** Fills with draws: a pure function of seed, step, stream and the index of the element. */
export function draw(into: Float64Array, { kind, seed, step, stream }: Draws): void {
  const key = [seed >>> 0, hashText(stream)];
  for (let i = 0; i < into.length; i++) {
    const [x, y] = philox([i, 0, step >>> 0, 0], key);
    into[i] = kind === "uniform" ? unit(x) : Math.sqrt(-2 * Math.log(unit(x) + UNIT)) * Math.cos(2 * Math.PI * unit(y));
  }
}

const UNIT = 2 ** -24;

/** A multiple of 2^-24 in [0, 1): exact in f32. */
function unit(word: number): number {
  return (word >>> 8) * UNIT;
}

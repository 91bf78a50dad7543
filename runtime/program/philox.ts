/**
 * Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four words of a
 * counter and two of a key to four random words, without any state. docs/tensor-ir.md says how `tensor.random` uses it.
 */
export function philox(counter: readonly number[], key: readonly number[]): [number, number, number, number] {
  const words = Uint32Array.from(counter);
  mix(words, key[0]!, key[1]!);
  return [words[0]!, words[1]!, words[2]!, words[3]!];
}

/** Turns the four words of a counter into random ones, in place: nothing is allocated for each of millions of elements. */
function mix(words: Uint32Array, key0: number, key1: number): void {
  let c0 = words[0]! | 0;
  let c1 = words[1]! | 0;
  let c2 = words[2]! | 0;
  let c3 = words[3]! | 0;
  let k0 = key0 | 0;
  let k1 = key1 | 0;
  for (let round = 0; round < 10; round++) {
    const next0 = mulHigh(0xcd9e8d57, c2) ^ c1 ^ k0;
    const next2 = mulHigh(0xd2511f53, c0) ^ c3 ^ k1;
    c1 = Math.imul(0xcd9e8d57, c2);
    c3 = Math.imul(0xd2511f53, c0);
    c0 = next0;
    c2 = next2;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

/** The upper half of the product of two 32-bit words: products of 16-bit halves, so that everything stays an integer. */
function mulHigh(a: number, b: number): number {
  const aHigh = a >>> 16;
  const aLow = a & 0xffff;
  const bHigh = b >>> 16;
  const bLow = b & 0xffff;
  const low = Math.imul(aLow, bLow) >>> 16;
  const left = Math.imul(aHigh, bLow);
  const right = Math.imul(aLow, bHigh);
  // What the two middle products and the low one carry over, each at most 16 bits.
  const carry = ((left & 0xffff) + (right & 0xffff) + low) >>> 16;
  return (Math.imul(aHigh, bHigh) + (left >>> 16) + (right >>> 16) + carry) | 0;
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
  const [key0, key1] = [seed >>> 0, hashText(stream)];
  const words = new Uint32Array(4);
  for (let i = 0; i < into.length; i++) {
    words[0] = i;
    words[1] = Math.floor(i / 2 ** 32);
    words[2] = step;
    words[3] = 0;
    mix(words, key0, key1);
    const x = unit(words[0]!);
    into[i] = kind === "uniform" ? x : Math.sqrt(-2 * Math.log(x + UNIT)) * Math.cos(2 * Math.PI * unit(words[1]!));
  }
}

const UNIT = 2 ** -24;

/** A multiple of 2^-24 in [0, 1): exact in f32. */
function unit(word: number): number {
  return (word >>> 8) * UNIT;
}

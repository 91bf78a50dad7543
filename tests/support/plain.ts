/** Plain arithmetic on rows of numbers: what tests of `.dsk` code compare with. It shares nothing with the compiler. */

export type Row = readonly number[];
export type Rows = readonly Row[];

/** Numbers from -1 to 1 that depend on the seed alone (mulberry32). */
export function randoms(seed: number, count: number, scale = 1): number[] {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1) * scale;
  });
}

export function rowsOf(data: Row, width: number): number[][] {
  return Array.from({ length: data.length / width }, (_, i) => data.slice(i * width, (i + 1) * width));
}

export function sum(x: Row): number {
  return x.reduce((a, b) => a + b, 0);
}

export function mean(x: Row): number {
  return sum(x) / x.length;
}

export function dot(a: Row, b: Row): number {
  return sum(a.map((v, i) => v * b[i]!));
}

export function add(a: Row, b: Row): number[] {
  return a.map((v, i) => v + b[i]!);
}

export function times(a: Row, b: Row): number[] {
  return a.map((v, i) => v * b[i]!);
}

export function scaled(a: Row, by: number): number[] {
  return a.map((v) => v * by);
}

/** x W, with W of [inputs, outputs]. */
export function apply(x: Row, w: Rows): number[] {
  return w[0]!.map((_, j) => sum(x.map((v, i) => v * w[i]![j]!)));
}

export function softmax(x: Row): number[] {
  const top = Math.max(...x);
  const e = x.map((v) => Math.exp(v - top));
  return scaled(e, 1 / sum(e));
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

export function silu(x: number): number {
  return x * sigmoid(x);
}

export function softplus(x: number): number {
  return Math.log1p(Math.exp(-Math.abs(x))) + Math.max(x, 0);
}

/** The standard normal distribution function, by Simpson's rule. */
export function normalCdf(x: number): number {
  const steps = 400;
  const h = x / steps;
  let total = 0;
  for (let i = 0; i <= steps; i++) {
    const weight = i === 0 || i === steps ? 1 : i % 2 === 1 ? 4 : 2;
    total += weight * Math.exp(-((i * h) ** 2) / 2);
  }
  return 0.5 + (total * h) / 3 / Math.sqrt(2 * Math.PI);
}

export function gelu(x: number): number {
  return x * normalCdf(x);
}

export function rmsNorm(x: Row, weight: Row, eps = 1e-6): number[] {
  const scale = 1 / Math.sqrt(mean(x.map((v) => v * v)) + eps);
  return x.map((v, i) => v * scale * weight[i]!);
}

/** Places of the k largest, the lowest first among equals. */
export function topK(x: Row, k: number): number[] {
  return x
    .map((_, i) => i)
    .toSorted((a, b) => x[b]! - x[a]! || a - b)
    .slice(0, k);
}

/** Pairs (2i, 2i + 1), or (i, i + n/2) with `half`, turned by pos * frequency_i. */
export function rotate(x: Row, pos: number, frequency: Row, half: boolean): number[] {
  const out = [...x];
  for (const [i, f] of frequency.entries()) {
    const [a, b] = half ? [i, i + frequency.length] : [2 * i, 2 * i + 1];
    const [c, s] = [Math.cos(pos * f), Math.sin(pos * f)];
    out[a!] = x[a!]! * c - x[b!]! * s;
    out[b!] = x[a!]! * s + x[b!]! * c;
  }
  return out;
}

/** theta^(-2i / width) */
export function frequencies(width: number, theta = 10_000): number[] {
  return Array.from({ length: width / 2 }, (_, i) => theta ** ((-2 * i) / width));
}

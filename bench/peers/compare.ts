/** Whether both sides compute the same: without this, times mean nothing. */
import type { Generator } from "./generator.ts";

/**
 * How far logits may lie apart, as a share of how far they spread: f32 differs by the order of sums. In bf16 both round what lies
 * between layers, each in its own places; a router that is nearly undecided then chooses another expert now and then, so the
 * median counts.
 */
const MOST = { f32: 1e-5, bf16: 0.05 } as const;

/** Reads a prompt, then token by token. @throws Error when logits differ */
export async function compare(
  a: Generator,
  b: Generator,
  tokens: readonly number[],
  dtype: keyof typeof MOST,
): Promise<string> {
  const prompt = tokens.length >> 1;
  const distances: number[] = [];
  let agree = 0;
  for (let from = 0; from < tokens.length;) {
    const piece = { sequence: 0, from, tokens: tokens.slice(from, Math.max(from + 1, prompt)) };
    for (const side of [a, b]) await side.read([piece]);
    const [[x], [y]] = [await a.logits(), await b.logits()];
    distances.push(distance(x!, y!));
    if (best(x!) === best(y!)) agree++;
    from += piece.tokens.length;
  }
  const sorted = distances.toSorted((x, y) => x - y);
  const [middle, most] = [sorted[sorted.length >> 1]!, sorted.at(-1)!];
  const told = `logits differ by ${percent(middle)} (median), ${percent(most)} (most), the likeliest token is the same in ${agree} of ${distances.length}`;
  if (!(middle <= MOST[dtype])) throw new Error(told);
  return told;
}

/** The root of the mean square of the difference, as a share of the deviation of a. */
function distance(a: Float32Array, b: Float32Array): number {
  const mean = a.reduce((sum, x) => sum + x, 0) / a.length;
  let [difference, spread] = [0, 0];
  for (const [i, x] of a.entries()) {
    difference += (x - b[i]!) ** 2;
    spread += (x - mean) ** 2;
  }
  return Math.sqrt(difference / spread);
}

function best(row: Float32Array): number {
  return row.reduce((at, x, i) => (x > row[at]! ? i : at), 0);
}

function percent(x: number): string {
  return `${(100 * x).toPrecision(2)} %`;
}

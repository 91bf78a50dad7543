/** Which of the likeliest tokens may be drawn. */
export interface Filters {
  /** 0 keeps all. */
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
}

/** The last token that may be drawn: those with a larger logit may be, and of those with the same the ones up to it. */
export interface Cutoff {
  readonly logit: number;
  readonly token: number;
}

const NONE: Cutoff = { logit: -Infinity, token: Infinity };

export function isKept(logits: Float64Array, token: number, { logit, token: last }: Cutoff): boolean {
  const own = logits[token]!;
  return own > logit || (own === logit && token <= last);
}

/**
 * Where the filters of a request cut the tokens, sorted from the likeliest on, the lowest first among equals. `logits` are those
 * after penalties and temperature, `max` is the largest. The filters act one after the other: min_p, top_k, then top_p on the
 * probabilities of what is left.
 */
export function cutoff(logits: Float64Array, max: number, filters: Filters): Cutoff {
  const before = cutBefore(logits, max, filters);
  return filters.topP < 1 ? nucleus(logits, max, before, filters.topP) : before;
}

/** Where min_p and top_k cut. */
export function cutBefore(logits: Float64Array, max: number, { topK, minP }: Omit<Filters, "topP">): Cutoff {
  const least = minP > 0 ? { logit: max + Math.log(minP), token: Infinity } : NONE;
  const kth = topK > 0 && topK < logits.length ? cutAfter(logits, topK) : NONE;
  // Both keep a beginning of the same order.
  return kth.logit >= least.logit ? kth : least;
}

/** The k likeliest tokens in descending order, the lowest first among equals. */
export function likeliest(logits: Float64Array, k: number): number[] {
  if (k === 0) return [];
  const cut = k < logits.length ? cutAfter(logits, k) : NONE;
  return sorted(logits, (token) => isKept(logits, token, cut));
}

/** The cut that keeps k tokens, k less than there are. */
function cutAfter(logits: Float64Array, k: number): Cutoff {
  const logit = largest(logits, k);
  let equals = k;
  for (const other of logits) if (other > logit) equals--;
  let token = -1;
  while (equals > 0) if (logits[++token] === logit) equals--;
  return { logit, token };
}

function sorted(logits: Float64Array, wanted: (token: number) => boolean): number[] {
  const tokens: number[] = [];
  for (let token = 0; token < logits.length; token++) if (wanted(token)) tokens.push(token);
  return tokens.sort((a, b) => logits[b]! - logits[a]! || a - b);
}

/** Bins of tokens by the distance of their logits from the largest one; what is farther away than all bins has no weight. */
const BINS_PER_NAT = 16;
const BINS = 32 * BINS_PER_NAT;
/** exp(-distance) where a bin begins. */
const BIN_WEIGHTS = Float64Array.from({ length: BINS }, (_, bin) => Math.exp(-bin / BINS_PER_NAT));

/** exp(-distance) to 1e-8 of itself: a quarter of the time of `Math.exp`. */
function weightIn(bin: number, distance: number): number {
  const x = bin / BINS_PER_NAT - distance;
  return BIN_WEIGHTS[bin]! * (1 + x * (1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24)))));
}

/**
 * The cut behind the fewest tokens that together have the share topP of those before the cut. Only the tokens around the end of
 * the nucleus have to be sorted: those of one bin.
 */
export function nucleus(logits: Float64Array, max: number, before: Cutoff, topP: number): Cutoff {
  const weights = new Float64Array(BINS);
  let total = 0;
  for (let token = 0; token < logits.length; token++) {
    const distance = max - logits[token]!;
    const bin = Math.floor(distance * BINS_PER_NAT);
    if (bin >= BINS || !isKept(logits, token, before)) continue;
    const weight = weightIn(bin, distance);
    weights[bin]! += weight;
    total += weight;
  }
  const wanted = topP * total;
  let [bin, sum] = [0, 0];
  while (bin < BINS - 1 && sum + weights[bin]! < wanted) sum += weights[bin++]!;
  const distance = (token: number): number => max - logits[token]!;
  const isEnding = (token: number): boolean =>
    Math.floor(distance(token) * BINS_PER_NAT) === bin && isKept(logits, token, before);
  const ending = sorted(logits, isEnding);
  const last = ending.find((token) => (sum += weightIn(bin, distance(token))) >= wanted) ?? ending.at(-1);
  return last === undefined ? before : { logit: logits[last]!, token: last };
}

/** The k-th largest element: Hoare's selection on a copy. */
function largest(values: Float64Array, k: number): number {
  const copy = values.slice();
  let [low, high] = [0, copy.length - 1];
  while (low < high) {
    const pivot = copy[(low + high) >>> 1]!;
    let [i, j] = [low, high];
    while (i <= j) {
      while (copy[i]! > pivot) i++;
      while (copy[j]! < pivot) j--;
      if (i > j) break;
      [copy[i], copy[j]] = [copy[j]!, copy[i]!];
      i++;
      j--;
    }
    if (k - 1 <= j) high = j;
    else if (k - 1 >= i) low = i;
    else break;
  }
  return copy[k - 1]!;
}

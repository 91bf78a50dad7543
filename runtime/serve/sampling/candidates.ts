/** Which of the likeliest tokens may be drawn. */
export interface Filters {
  /** 0 keeps all. */
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
}

/**
 * The tokens that may be drawn, the likeliest first; undefined for all of them. `logits` are those after penalties and
 * temperature. The filters act one after the other: min_p, top_k, then top_p on the probabilities of what is left.
 */
export function candidates(logits: Float64Array, { topK, topP, minP }: Filters): readonly number[] | undefined {
  const cutsK = topK > 0 && topK < logits.length;
  if (!cutsK && topP >= 1 && minP <= 0) return undefined;
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const weight = (logit: number): number => Math.exp(logit - max);
  if (!cutsK && minP <= 0) {
    const total = logits.reduce((sum, logit) => sum + weight(logit), 0);
    // Tokens below the floor have less than 1 - topP together: no nucleus needs them, and they need no sorting.
    const floor = max + Math.log(((1 - topP) * total) / logits.length);
    return nucleus(sortedFrom(logits, floor), (token) => weight(logits[token]!), topP * total);
  }
  const least = minP > 0 ? max + Math.log(minP) : -Infinity;
  const kept = sortedFrom(logits, cutsK ? Math.max(least, largest(logits, topK)) : least);
  if (cutsK) kept.length = Math.min(kept.length, topK);
  if (topP >= 1) return kept;
  const total = kept.reduce((sum, token) => sum + weight(logits[token]!), 0);
  return nucleus(kept, (token) => weight(logits[token]!), topP * total);
}

/** The k likeliest tokens in descending order, the lowest first among equals. */
export function likeliest(logits: Float64Array, k: number): number[] {
  return k === 0 ? [] : sortedFrom(logits, largest(logits, Math.min(k, logits.length))).slice(0, k);
}

function sortedFrom(logits: Float64Array, floor: number): number[] {
  const kept: number[] = [];
  for (let token = 0; token < logits.length; token++) if (logits[token]! >= floor) kept.push(token);
  return kept.sort((a, b) => logits[b]! - logits[a]! || a - b);
}

/** The first of the sorted tokens that together weigh as much as wanted. */
function nucleus(sorted: number[], weight: (token: number) => number, wanted: number): number[] {
  let sum = 0;
  const end = sorted.findIndex((token) => (sum += weight(token)) >= wanted);
  return end < 0 ? sorted : sorted.slice(0, end + 1);
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

/** Names that a misspelt name may have meant. */

const MOST = 3;

/** The edit distance in which exchanging two neighbours costs 1 (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2]! + 1);
      row.push(cost);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}

/**
 * The candidates nearest to a name: the one that differs in case only, else those at the smallest edit distance, if it
 * is at most a third of the name's length (and 1 for short names, none for a single letter). At most three, in the order of the candidates.
 */
export function closest(name: string, candidates: Iterable<string>): string[] {
  const others = [...new Set(candidates)].filter((candidate) => candidate !== name);
  const lower = name.toLowerCase();
  const folded = others.filter((other) => other.length === name.length && other.toLowerCase() === lower);
  if (folded.length === 1) return folded;
  const limit = name.length < 2 ? 0 : Math.max(1, Math.floor(name.length / 3));
  let best = limit;
  let found: string[] = [];
  for (const candidate of others) {
    if (Math.abs(candidate.length - name.length) > best) continue;
    const d = distance(name, candidate);
    if (d < best) found = [];
    if (d <= best) found.push(candidate);
    best = Math.min(best, d);
  }
  return found.slice(0, MOST);
}

/** ``there are `a`, `b` ``; nothing where there are none. */
export function thereAre(names: readonly string[]): string | undefined {
  if (names.length === 0) return undefined;
  return `there ${names.length === 1 ? "is" : "are"} ${names.map((name) => `\`${name}\``).join(", ")}`;
}

/** ``did you mean `a` or `b`?``, or nothing where no candidate is near. */
export function didYouMean(name: string, candidates: Iterable<string>): string | undefined {
  const names = closest(name, candidates).map((candidate) => `\`${candidate}\``);
  if (names.length === 0) return undefined;
  const last = names.pop()!;
  return `did you mean ${names.length === 0 ? last : `${names.join(", ")} or ${last}`}?`;
}

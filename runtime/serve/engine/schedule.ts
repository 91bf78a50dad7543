/**
 * Divides a budget of tokens among sequences that have some left to read: equal shares, and what the short ones leave goes to
 * the others. So a short prompt never waits for a long one, and the long one goes on all the same.
 */
export function shares(pending: readonly number[], budget: number): number[] {
  const given = pending.map(() => 0);
  let left = budget;
  let open = pending.map((_, i) => i).filter((i) => pending[i]! > 0);
  while (left > 0 && open.length > 0) {
    const share = Math.max(1, Math.floor(left / open.length));
    for (const i of open) {
      const more = Math.min(share, pending[i]! - given[i]!, left);
      given[i]! += more;
      left -= more;
    }
    open = open.filter((i) => given[i]! < pending[i]!);
  }
  return given;
}

/** How many tokens two lists have in common at their beginnings. */
export function commonLength(a: readonly number[], b: readonly number[]): number {
  const end = Math.min(a.length, b.length);
  let length = 0;
  while (length < end && a[length] === b[length]) length++;
  return length;
}

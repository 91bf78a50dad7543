import type { Op, Value } from "./types.ts";

/** The ops that the values are computed from, and those that `root` says are needed anyhow with what they need. */
export function liveOps(
  ops: readonly Op[],
  values: readonly Value[],
  root: (op: Op) => boolean = () => false,
): Set<Op> {
  const needed = new Set(values.map(({ id }) => id));
  const live = new Set<Op>();
  for (const op of ops.toReversed()) {
    if (!root(op) && !op.results.some(({ id }) => needed.has(id))) continue;
    live.add(op);
    for (const { id } of op.operands) needed.add(id);
  }
  return live;
}

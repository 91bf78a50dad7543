/** What schedules of attention, forward and backward, have in common: rings of blocks between a producer and consumers, rows of their own. */
import type { SharedBuffer, Slot, Step } from "./schedule.ts";

export const TILES = { counter: "tile", count: "tiles" };
export const BLOCKS = { counter: "block", count: "blocks" };

/** Stages that go round: a barrier says that one is full, another one that it is free again. */
export interface Ring {
  readonly full: string;
  readonly empty: string;
  readonly at: Slot;
}

/** Until a stage is free. */
export function room({ empty, at }: Ring): Step {
  return { kind: "wait", barrier: empty, at, phase: "previous", why: "passes at once on the first way round" };
}

/** Until a stage is full. */
export function there({ full, at }: Ring): Step {
  return { kind: "wait", barrier: full, at, phase: "current" };
}

/** Gives a stage back, and goes on to the next one. */
export function used({ empty, at }: Ring): Step[] {
  return [
    { kind: "arrive", barrier: empty, at, by: "warps" },
    { kind: "advance", cursor: at.cursor },
  ];
}

/** What a mask's comparisons need of a block's columns, so that whole blocks are told from others; nothing where there are none. */
export function rangesBuffer(ranges: number, where: Pick<SharedBuffer, "stages" | "each">): SharedBuffer[] {
  if (ranges === 0) return [];
  const holds = "the smallest and largest of what columns are compared by";
  return [{ name: "ranges", ...where, bytes: 8 * ranges, holds }];
}

/** @param of the block, as labels say it */
export function findRanges(ranges: number, of: string, at?: Slot): Step[] {
  if (ranges === 0) return [];
  const write = { buffer: "ranges", ...(at === undefined ? {} : { at }), holds: `ranges[${of}]` };
  return [{ kind: "compute", name: "ranges of columns", writes: [write] }];
}

/** A read of them, for a step that asks them. */
export function asksRanges(ranges: number, of: string, at?: Slot): { buffer: string; at?: Slot; holds: string }[] {
  return ranges === 0 ? [] : [{ buffer: "ranges", ...(at === undefined ? {} : { at }), holds: `ranges[${of}]` }];
}

/** Rows of a role's own, gathered when all of its warps are done with what lay there. */
export function ownRows(
  gathered: readonly (Step & { readonly kind: "gather" })[],
  [done, ready]: readonly [done: string, ready: string],
  { before = [], beside = [] }: { readonly before?: readonly Step[]; readonly beside?: readonly Step[] } = {},
): Step[] {
  return [
    { kind: "sync", barrier: "own_warps", of: "own", why: done },
    ...before,
    ...gathered,
    { kind: "commit_copies" },
    ...beside,
    { kind: "settle_copies", pending: 0 },
    { kind: "publish" },
    { kind: "sync", barrier: "own_warps", of: "own", why: ready },
  ];
}

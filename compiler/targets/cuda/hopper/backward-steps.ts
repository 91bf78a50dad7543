/** What the schedules of attention's backward pass have in common: their ring, what consumers have of their own, products of the two. */
import { ownRows, type Ring, room, there, TILES } from "./attention-rings.ts";
import type { BackwardShape } from "./backward-plan.ts";
import { type Role, type Schedule, type Step, WARPGROUP } from "./schedule.ts";
import type { Counts } from "./simulate-trips.ts";

export const CONSUMERS = 2;

export const STAGE = { cursor: "stage" };
export const BEFORE = { cursor: "stage", back: 1 };
const RING: Ring = { full: "full", empty: "empty", at: STAGE };

/** What both schedules have: a ring that a producer fills, and what consumers keep of their own rows or columns. */
export function ring(stages: number): Pick<Schedule, "cursors" | "barriers" | "named"> {
  return {
    cursors: [{ name: "stage", stages }],
    barriers: [
      { name: "full", stages, arrivals: 1, event: "the block is there" },
      { name: "empty", stages, arrivals: 4 * CONSUMERS, event: "all warps of the consumers have used the block" },
    ],
    named: [{ name: "own_warps", id: 1, threads: WARPGROUP, each: CONSUMERS }],
  };
}

export const bytesOf = (rows: number, elements: number): number => rows * elements * 2;

/** A block's tiles; parts of keys (or queries) lie one behind the other, so that one product has all of their terms. */
export function fill(
  shape: BackwardShape,
  block: number,
  [deep, wide]: readonly [string, string],
  place: string,
): Step[] {
  const { parts, width } = shape;
  const depth = depthOf(shape);
  return [
    { kind: "expect", barrier: "full", at: STAGE, bytes: bytesOf(block, depth + width) },
    ...parts.map((part): Step => {
      const bytes = bytesOf(block, part);
      return { kind: "load", buffer: deep, at: STAGE, barrier: "full", bytes, holds: `${deep}[${place}]` };
    }),
    {
      kind: "load",
      buffer: wide,
      at: STAGE,
      barrier: "full",
      bytes: bytesOf(block, width),
      holds: `${wide}[${place}]`,
    },
    { kind: "advance", cursor: "stage" },
  ];
}

export const FREE = room(RING);

/** Elements of a query. */
export function depthOf({ parts }: Pick<BackwardShape, "parts">): number {
  return parts.reduce((sum, part) => sum + part, 0);
}

/** A consumer's own rows of two tensors, gathered. */
export function own([deep, wide]: readonly [string, string], before: readonly Step[] = []): Step[] {
  const gathered = [deep, wide].map(
    (buffer) => ({ kind: "gather", buffer, holds: `${buffer}[{tile},{part}]` }) as const,
  );
  return ownRows(gathered, ["all warps have stored their results", "all of them are there"], { before });
}

/** `into = a * b`, a consumer's own rows times those of a block. */
export function product(a: string, b: string, place: string, into: string): Step {
  return {
    kind: "multiply",
    a: { buffer: a, holds: `${a}[{tile},{part}]` },
    b: { buffer: b, at: STAGE, holds: `${b}[${place}]` },
    into,
    clears: "always",
  };
}

export const RELEASE: Step = { kind: "arrive", barrier: "empty", at: STAGE, by: "warps" };
export const RELEASE_BEFORE: Step = { kind: "arrive", barrier: "empty", at: BEFORE, by: "warps" };
export const NEXT: Step = { kind: "advance", cursor: "stage" };
export const THERE = there(RING);
export const COMMIT: Step = { kind: "commit" };
export const FENCE: Step = { kind: "fence" };

export function consumer(registers: number, tile: readonly Step[]): Role {
  return {
    name: "consumer",
    warpgroups: CONSUMERS,
    threads: "all",
    registers,
    steps: [{ kind: "loop", ...TILES, body: tile }],
  };
}

/** Trip counts that stand for all: no tile, blocks that all fit into the ring, and more than go round twice. */
export function backwardRuns({ stages }: BackwardShape): Counts[] {
  return [
    { tiles: 0, blocks: 1 },
    { tiles: 1, blocks: 1 },
    { tiles: 3, blocks: [1, 2, 1] },
    { tiles: 2, blocks: [2 * stages + 1, stages] },
  ];
}

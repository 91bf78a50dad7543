/** The producer of matrix products: it fills the ring by the copy engine, or by its threads where that can't follow. */
import { eachTile, type GemmShape, isShared, registersOf, ROWS, scalesOf, slicesOf, STAGE } from "./gemm-shape.ts";
import type { Count, Role, Step } from "./schedule.ts";

/** How many blocks of terms a gathering thread is ahead of what it has seen arrive. */
const AHEAD = 1;

export function producer(shape: GemmShape, aBytes: number, bBytes: number, loads: boolean, gathers: boolean): Role {
  const { loops, given, consumers, tileN, depthBytes, scaleBytes } = shape;
  const body = loops.map((loop, i): Step => {
    const tiles = [
      { buffer: "a", bytes: aBytes, gathered: loop.gathers.a },
      ...loop.products.map((_, j) => ({ buffer: `b${j}`, bytes: bBytes, gathered: loop.gathers.b })),
      ...(scaleBytes === undefined
        ? []
        : loop.products.map((_, j) => ({ buffer: scalesOf(j), bytes: tileN * scaleBytes, gathered: false }))),
    ];
    return fill(
      { counter: "k_block", count: loop.count },
      tiles.map((tile) => ({ ...tile, holds: `${tile.buffer}_${i}[{tile},{k_block}]` })),
      loads,
      gathers,
    );
  });
  if (given !== undefined) {
    const tiles = given.buffers.map((buffer) => ({
      buffer,
      bytes: buffer === "a" ? consumers * ROWS * depthBytes : tileN * depthBytes,
      gathered: given.gathered,
      holds: `${buffer}_given[{tile},{slice}]`,
    }));
    body.push(fill(slicesOf(tileN), tiles, loads, gathers));
  }
  const drained = gathers ? body.flatMap((loop) => [loop, ...drain((loop as Step & { kind: "loop" }).counter)]) : body;
  return {
    name: "producer",
    warpgroups: 1,
    threads: gathers ? "all" : "one",
    registers: registersOf(shape).producer,
    steps: [...eachTile(shape, drained), ...(isShared(shape) ? MEETINGS : [])],
  };
}

interface Filled {
  readonly buffer: string;
  readonly bytes: number;
  readonly gathered: boolean;
  readonly holds: string;
}

/** A loop that fills a stage of the ring in each turn. */
function fill(over: Count, tiles: readonly Filled[], loads: boolean, gathers: boolean): Step {
  const announced = tiles.reduce((n, { bytes, gathered }) => n + (gathered ? 0 : bytes), 0);
  const steps: Step[] = [
    { kind: "wait", barrier: "empty", at: STAGE, phase: "previous", why: "passes at once on the first way round" },
  ];
  if (announced > 0) steps.push({ kind: "expect", barrier: "full", at: STAGE, bytes: announced });
  else if (loads) steps.push({ kind: "arrive", barrier: "full", at: STAGE, by: "thread", why: "nothing to copy" });
  for (const { buffer, bytes, gathered, holds } of tiles) {
    if (gathered) steps.push({ kind: "gather", buffer, at: STAGE, holds });
    else steps.push({ kind: "load", buffer, at: STAGE, barrier: "full", bytes, holds });
  }
  if (gathers) {
    steps.push({ kind: "commit_copies" });
    const landed = { cursor: "stage", back: AHEAD };
    const when = { counter: over.counter, from: AHEAD };
    steps.push(
      { kind: "settle_copies", pending: AHEAD, when, why: "what was asked for before" },
      { kind: "publish", when },
      { kind: "arrive", barrier: "full", at: landed, by: "warps", when },
    );
  }
  steps.push({ kind: "advance", cursor: "stage" });
  return { kind: "loop", ...over, body: steps };
}

/** The last blocks that were gathered, oldest first. */
function drain(counter: string): Step[] {
  const steps: Step[] = [
    { kind: "settle_copies", pending: 0, why: "the last blocks of the tile" },
    { kind: "publish" },
  ];
  for (let back = AHEAD; back > 0; back--)
    steps.push({
      kind: "arrive",
      barrier: "full",
      at: { cursor: "stage", back },
      by: "warps",
      when: { counter, from: back - 1 },
    });
  return steps;
}

/** What the producers of a cluster do while consumers exchange sums: its barrier counts all threads. */
const MEETINGS: readonly Step[] = [{ kind: "meet" }, { kind: "meet" }];

/** The producer of matrix products: it fills the ring by the copy engine, or by its threads where that can't follow. */
import {
  codesOfProduct,
  eachTile,
  type GemmLoop,
  type GemmShape,
  hasCodes,
  isShared,
  registersOf,
  ROWS,
  scalesOf,
  slicesOf,
  STAGE,
} from "./gemm-shape.ts";
import type { Count, Role, Step } from "./schedule.ts";

/** How many blocks of terms a gathering thread is ahead of what it has seen arrive. */
const AHEAD = 1;

/** Who fills a stage. */
interface Fillers {
  /** The copy engine, for some buffers. */
  readonly loads: boolean;
  /** Threads, whose copies go on by themselves. */
  readonly gathers: boolean;
  /** Threads, which write what codes stand for. */
  readonly writes: boolean;
}

function fillersOf(shape: GemmShape): Fillers {
  const { loops, given } = shape;
  const loadsB = ({ gathers, codeRegisters }: GemmLoop): boolean => !gathers.b && codeRegisters === undefined;
  return {
    loads: loops.some((loop) => !loop.gathers.a || loadsB(loop)) || given?.gathered === false,
    gathers: loops.some(({ gathers }) => gathers.a || gathers.b),
    writes: hasCodes(shape),
  };
}

/** Arrivals that fill a stage: four warps where threads do, and the first thread for the copy engine. */
export function arrivalsOfFull(shape: GemmShape): number {
  const { loads, gathers, writes } = fillersOf(shape);
  return (gathers || writes ? 4 : 0) + (loads ? 1 : 0);
}

export function producer(shape: GemmShape, aBytes: number, bBytes: number): Role {
  const { loops, given, consumers, tileN, depthBytes, scaleBytes } = shape;
  const fillers = fillersOf(shape);
  const body = loops.flatMap((loop, i): Step[] => {
    const codes = (j: number): { codes?: Codes } =>
      loop.codeRegisters === undefined ? {} : { codes: { registers: codesOfProduct(j), of: `b${j}_${i}` } };
    const tiles = [
      { buffer: "a", bytes: aBytes, gathered: loop.gathers.a },
      ...loop.products.map((_, j) => ({ buffer: `b${j}`, bytes: bBytes, gathered: loop.gathers.b, ...codes(j) })),
      ...(scaleBytes === undefined
        ? []
        : loop.products.map((_, j) => ({ buffer: scalesOf(j), bytes: tileN * scaleBytes, gathered: false }))),
    ];
    return fill(
      { counter: "k_block", count: loop.count },
      tiles.map((tile) => ({ ...tile, holds: `${tile.buffer}_${i}[{tile},{k_block}]` })),
      fillers,
    );
  });
  if (given !== undefined) {
    const tiles = given.buffers.map((buffer) => ({
      buffer,
      bytes: buffer === "a" ? consumers * ROWS * depthBytes : tileN * depthBytes,
      gathered: given.gathered,
      holds: `${buffer}_given[{tile},{slice}]`,
    }));
    body.push(...fill(slicesOf(tileN), tiles, fillers));
  }
  return {
    name: "producer",
    warpgroups: 1,
    threads: fillers.gathers || fillers.writes ? "all" : "one",
    registers: registersOf(shape).producer,
    steps: [...eachTile(shape, body), ...(isShared(shape) ? MEETINGS : [])],
  };
}

interface Filled {
  readonly buffer: string;
  readonly bytes: number;
  readonly gathered: boolean;
  readonly holds: string;
  readonly codes?: Codes;
}

/** Registers that have codes of a block, and the name of what they are of. */
interface Codes {
  readonly registers: string;
  readonly of: string;
}

/** A loop that fills a stage of the ring in each turn, and what stands before and behind it. */
function fill(over: Count, tiles: readonly Filled[], { loads, gathers, writes }: Fillers): Step[] {
  const announced = tiles.reduce((n, { bytes, gathered, codes }) => n + (gathered || codes ? 0 : bytes), 0);
  const before = tiles.flatMap(({ codes }): Step[] => (codes === undefined ? [] : [read("begin", codes, "0")]));
  const steps: Step[] = [
    { kind: "wait", barrier: "empty", at: STAGE, phase: "previous", why: "passes at once on the first way round" },
  ];
  if (announced > 0) steps.push({ kind: "expect", barrier: "full", at: STAGE, bytes: announced });
  else if (loads) steps.push({ kind: "arrive", barrier: "full", at: STAGE, by: "thread", why: "nothing to copy" });
  for (const { buffer, bytes, gathered, holds, codes } of tiles) {
    if (gathered) steps.push({ kind: "gather", buffer, at: STAGE, holds });
    else if (codes === undefined) steps.push({ kind: "load", buffer, at: STAGE, barrier: "full", bytes, holds });
  }
  for (const { buffer, holds, codes } of tiles) {
    if (codes === undefined) continue;
    const { registers, of } = codes;
    steps.push({
      kind: "compute",
      name: `decode ${of}`,
      reads: [{ registers, holds: codeLabel(codes, "{k_block}") }],
      writes: [{ buffer, at: STAGE, holds }],
    });
    steps.push(read("read", codes, "{k_block+1}"));
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
  } else if (writes) {
    if (tiles.some(({ codes }) => codes !== undefined)) steps.push({ kind: "publish" });
    steps.push({ kind: "arrive", barrier: "full", at: STAGE, by: "warps" });
  }
  steps.push({ kind: "advance", cursor: "stage" });
  return [...before, { kind: "loop", ...over, body: steps }, ...(gathers ? drain(over.counter) : [])];
}

/** Codes of a block on their way to registers; behind the last block there are none. */
function read(how: "begin" | "read", codes: Codes, block: string): Step {
  return {
    kind: "compute",
    name: `${how} ${codes.of}`,
    why: how === "begin" ? "codes of the first block" : "those of the next block are on their way meanwhile",
    writes: [{ registers: codes.registers, holds: codeLabel(codes, block) }],
  };
}

function codeLabel({ of }: Codes, block: string): string {
  return `codes_${of}[{tile},${block}]`;
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

/**
 * The schedule of all matrix products: one warpgroup loads tiles into a ring, one or two others multiply. Tiles go on while the
 * results of the one before are stored, since the ring does not stop at its end.
 */
import {
  type Operand,
  type RegisterArray,
  type Role,
  type Schedule,
  type SharedBuffer,
  type Step,
  WARPGROUP,
} from "./schedule.ts";
import type { Counts } from "./simulate-schedule.ts";

/** Rows that a consumer multiplies at a time: those of wgmma. */
export const ROWS = 64;
/** Bytes of a row of a staged tile: what 128-byte swizzle takes. */
const STAGED_BYTES = ROWS * 128;

export interface GemmShape {
  readonly name: string;
  readonly consumers: 1 | 2;
  readonly stages: number;
  readonly tileN: number;
  /** Bytes of a row or column of a block of terms. */
  readonly depthBytes: number;
  /**
   * For operands in eight bits: by how many numbers the columns of a tile are scaled. The sums of a block are promoted, times
   * their scales, to sums in f32: those of the tensor cores keep 14 bits (DeepSeek-V3, section 3.3.2).
   */
  readonly columnScales?: number;
  /** One loop over k each; products of a loop share its tiles of A. */
  readonly loops: readonly GemmLoop[];
  /** Results that leave through shared memory, with the columns of a staged tile; the others are stored by the threads. */
  readonly staged: readonly StagedShape[];
  /** Whether threads store results themselves. */
  readonly direct: boolean;
  /** Where groups begin, for kernels that have groups. */
  readonly startsBytes?: number;
}

export interface StagedShape {
  readonly name: string;
  readonly columns: number;
  /** Its rows lie anywhere: threads copy them, the copy engine can't. */
  readonly scattered?: boolean;
}

export interface GemmLoop {
  /** How many blocks of terms it has: a constant or a variable of the kernel. */
  readonly count: string;
  /** The products' numbers. */
  readonly products: readonly number[];
  /** Whether rows of A, or of A and B, are gathered by threads: the copy engine can't. */
  readonly gathers: { readonly a: boolean; readonly b: boolean };
}

/** Registers of a thread where two warpgroups have the multiprocessor for themselves. */
const PLENTY = 248;
/** How many blocks of terms a gathering thread is ahead of what it has seen arrive. */
const AHEAD = 2;

export function gemmSchedule(shape: GemmShape): Schedule {
  const { name, consumers, stages, tileN, depthBytes, loops, staged, direct } = shape;
  const tilesOfB = Math.max(...loops.map(({ products }) => products.length));
  const [aBytes, bBytes] = [consumers * ROWS * depthBytes, tileN * depthBytes];
  const gathers = loops.some((loop) => loop.gathers.a || loop.gathers.b);
  const loads = loops.some((loop) => !loop.gathers.a || !loop.gathers.b);
  const buffers: SharedBuffer[] = [
    { name: "a", stages, bytes: aBytes, holds: "rows of A" },
    ...Array.from({ length: tilesOfB }, (_, i) => ({ name: `b${i}`, stages, bytes: bBytes, holds: "columns of B" })),
    ...(staged.length > 0
      ? [{ name: "staged", stages: 2, bytes: STAGED_BYTES, each: consumers, holds: "results on their way out" }]
      : []),
    ...(shape.startsBytes === undefined
      ? []
      : [
          {
            name: "starts",
            stages: 1,
            bytes: shape.startsBytes,
            holds: "where groups and their tiles begin, and the end",
          },
        ]),
  ];
  const products = loops.reduce((n, loop) => n + loop.products.length, 0);
  const registers: RegisterArray[] = Array.from({ length: products }, (_, i) => ({
    name: `sums${i}`,
    role: "consumer",
    count: tileN / 2,
  }));
  if (shape.columnScales !== undefined) {
    registers.push({ name: "partial", role: "consumer", count: tileN / 2 });
    registers.push({ name: "scales", role: "consumer", count: 2 + tilesOfB * shape.columnScales });
  }
  // Four warps of the producer arrive where they gather, and its first thread for the copy engine.
  const arrivals = (gathers ? 4 : 0) + (loads ? 1 : 0);
  return {
    name,
    cursors: [{ name: "stage", stages }, ...(staged.length > 0 ? [{ name: "stored", stages: 2 }] : [])],
    barriers: [
      { name: "full", stages, arrivals, event: "tiles of A and B are there" },
      { name: "empty", stages, arrivals: 4 * consumers, event: "all warps of the consumers have multiplied them" },
    ],
    named: staged.length > 0 ? [{ name: "own_warps", id: 1, threads: WARPGROUP, each: consumers }] : [],
    buffers,
    registers,
    roles: [producer(loops, aBytes, bBytes, loads, gathers, consumers), consumer(shape)],
    results: [
      ...staged.map(({ name: to, columns }) => ({
        role: "consumer",
        over: [TILES, { counter: "slice", count: String(tileN / columns) }],
        label: `${to}[{tile},{part},{slice}]`,
      })),
      ...(direct ? [{ role: "consumer", over: [TILES], label: "results[{tile},{part}]" }] : []),
    ],
  };
}

const TILES = { counter: "tile", count: "tiles" };
const STAGE = { cursor: "stage" };
const BEFORE = { cursor: "stage", back: 1 };

function producer(
  loops: readonly GemmLoop[],
  aBytes: number,
  bBytes: number,
  loads: boolean,
  gathers: boolean,
  consumers: number,
): Role {
  const body = loops.map((loop, i): Step => {
    const tiles = [
      { buffer: "a", bytes: aBytes, gathered: loop.gathers.a },
      ...loop.products.map((_, j) => ({ buffer: `b${j}`, bytes: bBytes, gathered: loop.gathers.b })),
    ];
    const announced = tiles.reduce((n, { bytes, gathered }) => n + (gathered ? 0 : bytes), 0);
    const steps: Step[] = [
      { kind: "wait", barrier: "empty", at: STAGE, phase: "previous", why: "passes at once on the first way round" },
    ];
    if (loads) steps.push({ kind: "expect", barrier: "full", at: STAGE, bytes: announced });
    for (const { buffer, bytes, gathered } of tiles) {
      const holds = `${buffer}_${i}[{tile},{k_block}]`;
      if (gathered) steps.push({ kind: "gather", buffer, at: STAGE, holds });
      else steps.push({ kind: "load", buffer, at: STAGE, barrier: "full", bytes, holds });
    }
    if (gathers) {
      steps.push({ kind: "commit_copies" });
      const landed = { cursor: "stage", back: AHEAD };
      const when = { counter: "k_block", from: AHEAD };
      steps.push(
        { kind: "settle_copies", pending: AHEAD, when, why: "what was asked for two blocks ago" },
        { kind: "publish", when },
        { kind: "arrive", barrier: "full", at: landed, by: "warps", when },
      );
    }
    steps.push({ kind: "advance", cursor: "stage" });
    return { kind: "loop", counter: "k_block", count: loop.count, body: steps };
  });
  const drained = gathers ? body.flatMap((loop) => [loop, ...drain()]) : body;
  return {
    name: "producer",
    warpgroups: 1,
    threads: gathers ? "all" : "one",
    registers: registersOf(loops, consumers).producer,
    steps: [{ kind: "loop", counter: "tile", count: "tiles", body: drained }],
  };
}

/** Registers of a thread: a producer that gathers for two loops keeps more addresses. */
function registersOf(loops: readonly GemmLoop[], consumers: number): { producer: number; consumer: number } {
  if (consumers === 1) return { producer: PLENTY, consumer: PLENTY };
  const many = loops.length > 1 && loops.some(({ gathers }) => gathers.a || gathers.b);
  return many ? { producer: 56, consumer: 224 } : { producer: 40, consumer: 232 };
}

/** The last blocks that were gathered, oldest first. */
function drain(): Step[] {
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
      when: { counter: "k_block", from: back - 1 },
    });
  return steps;
}

function consumer(shape: GemmShape): Role {
  const { loops, staged, direct, consumers, tileN, columnScales } = shape;
  const steps: Step[] = [];
  let sums = 0;
  const reads: { registers: string; holds: { counter: string; count: string; term: string } }[] = [];
  for (const [i, { count, products }] of loops.entries()) {
    const all = products.map((_, j): Product => {
      const [a, b] = [`a_${i}[{tile},{k_block}]`, `b${j}_${i}[{tile},{k_block}]`];
      const sum = `sums${sums + j}`;
      reads.push({ registers: sum, holds: { counter: "k_block", count, term: `${a} * ${b}` } });
      return {
        sum,
        a: { buffer: "a", at: STAGE, holds: a },
        b: { buffer: `b${j}`, at: STAGE, holds: b },
      };
    });
    sums += products.length;
    steps.push(...(columnScales === undefined ? summed(count, all) : promoted(i, count, all)));
  }
  for (const result of staged) steps.push(stageLoop(result, tileN, reads));
  if (direct) steps.push({ kind: "compute", name: "finish", reads, gives: "results[{tile},{part}]" });
  return {
    name: "consumer",
    warpgroups: consumers,
    threads: "all",
    registers: registersOf(loops, consumers).consumer,
    steps: [
      { kind: "loop", counter: "tile", count: "tiles", body: steps },
      ...(staged.some(({ scattered }) => scattered !== true)
        ? [{ kind: "settle_stores", pending: 0, why: "shared memory goes when the block ends" } as const]
        : []),
    ],
  };
}

/** A product of tiles, and the registers of its sums. */
interface Product {
  readonly sum: string;
  readonly a: Operand;
  readonly b: Operand;
}

/** The tensor cores sum over all blocks: while one is multiplied, the next one is waited for. */
function summed(count: string, products: readonly Product[]): Step[] {
  const multiplies = products.map(({ sum, a, b }): Step => ({
    kind: "multiply",
    a,
    b,
    into: sum,
    clears: { counter: "k_block" },
  }));
  return [
    {
      kind: "loop",
      counter: "k_block",
      count,
      body: [
        { kind: "wait", barrier: "full", at: STAGE, phase: "current" },
        { kind: "fence" },
        ...multiplies,
        { kind: "commit" },
        { kind: "settle", pending: 1, why: "the block before is done, this one is on its way" },
        { kind: "arrive", barrier: "empty", at: BEFORE, by: "warps", when: { counter: "k_block", from: 1 } },
        { kind: "advance", cursor: "stage" },
      ],
    },
    { kind: "settle", pending: 0, why: "here, where ptxas sees it: else it would serialize the products" },
    { kind: "arrive", barrier: "empty", at: BEFORE, by: "warps" },
  ];
}

/**
 * The tensor cores sum one block of terms, which is added to sums in f32: meanwhile they have the blocks of the other consumer.
 * Products of one A use the same registers in turn.
 */
function promoted(loop: number, count: string, products: readonly Product[]): Step[] {
  const sums = products.map(({ sum }) => sum).join(", ");
  const scales = `scales_${loop}[{tile},{k_block}]`;
  const body = products.flatMap(({ sum, a, b }, j): Step[] => [
    { kind: "fence" },
    { kind: "multiply", a, b, into: "partial", clears: "always" },
    { kind: "commit" },
    { kind: "settle", pending: 0, done: ["partial"] },
    ...(j + 1 < products.length ? [] : [{ kind: "arrive", barrier: "empty", at: STAGE, by: "warps" } as const]),
    {
      kind: "compute",
      name: `promote ${sum}`,
      reads: [{ registers: "scales", holds: scales }],
      adds: { from: "partial", into: sum },
    },
  ]);
  return [
    { kind: "compute", name: `clear ${sums}`, zeroes: products.map(({ sum }) => sum) },
    {
      kind: "loop",
      counter: "k_block",
      count,
      body: [
        {
          kind: "compute",
          name: `scales for ${sums}`,
          why: "on their way while the tiles are waited for",
          writes: [{ registers: "scales", holds: scales }],
        },
        { kind: "wait", barrier: "full", at: STAGE, phase: "current" },
        ...body,
        { kind: "advance", cursor: "stage" },
      ],
    },
  ];
}

/** Results leave by way of shared memory, 128 bytes of columns at a time. */
function stageLoop({ name, columns, scattered = false }: StagedShape, tileN: number, reads: Reads): Step {
  const at = { cursor: "stored" };
  const label = `${name}[{tile},{part},{slice}]`;
  const writes = [{ buffer: "staged", at, holds: label }];
  const stage: Step = { kind: "compute", name: `stage ${name}`, reads, writes };
  const body: Step[] = scattered
    ? [
        stage,
        { kind: "sync", barrier: "own_warps", of: "own", why: "all warps have written it" },
        { kind: "compute", name: `scatter ${name}`, loads: [{ buffer: "staged", at, holds: label }], gives: label },
      ]
    : [
        { kind: "settle_stores", pending: 1, why: "the slot was read" },
        { kind: "sync", barrier: "own_warps", of: "own" },
        stage,
        { kind: "publish" },
        { kind: "sync", barrier: "own_warps", of: "own", why: "all warps have written and published it" },
        { kind: "store", buffer: "staged", at, holds: label, gives: label },
        { kind: "commit_stores" },
      ];
  return {
    kind: "loop",
    counter: "slice",
    count: String(tileN / columns),
    unrolled: true,
    body: [...body, { kind: "advance", cursor: "stored" }],
  };
}

type Reads = readonly { registers: string; holds: { counter: string; count: string; term: string } }[];

/** Trip counts that stand for all: none, one, fewer than stages, more than go round twice. */
export function gemmRuns({ loops, stages, staged, tileN }: GemmShape): Counts[] {
  const slices = Object.fromEntries(staged.map(({ columns }) => [String(tileN / columns), tileN / columns]));
  const counts = [...new Set(loops.map(({ count }) => count))];
  const blocks = (n: readonly (number | readonly number[])[]): Counts =>
    Object.fromEntries(counts.map((count, i) => [count, n[i % n.length]!]));
  return [
    { tiles: 0, ...blocks([1]), ...slices },
    { tiles: 1, ...blocks([1]), ...slices },
    { tiles: 3, ...blocks([1, 2]), ...slices },
    { tiles: 2, ...blocks([2 * stages + 1, stages]), ...slices },
    { tiles: 4, ...blocks([[1, stages + 2, 2, 3], 3]), ...slices },
  ];
}

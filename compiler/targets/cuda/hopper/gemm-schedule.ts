/**
 * The schedule of all matrix products: one warpgroup loads tiles into a ring, one or two others multiply. Tiles go on while the
 * results of the one before are stored, since the ring does not stop at its end. Few rows have a block for each tile, or a cluster of
 * blocks that share its terms: each sends its sums to the block that adds up their columns.
 */
import {
  type Count,
  type Expected,
  type Label,
  type Operand,
  type RegisterArray,
  type Role,
  type Schedule,
  type SharedBuffer,
  type Slot,
  type Step,
  type Terms,
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
  /** Where each column has a scale of its own, they come through the ring with the tiles: bytes of one. */
  readonly scaleBytes?: number;
  /** One loop over k each; products of a loop share its tiles of A. */
  readonly loops: readonly GemmLoop[];
  /** Results that leave through shared memory, with the columns of a staged tile; the others are stored by the threads. */
  readonly staged: readonly StagedShape[];
  /** Whether threads store results themselves. */
  readonly direct: boolean;
  /** Where groups begin, for kernels that have groups. */
  readonly startsBytes?: number;
  /** For few rows: the blocks that share the terms of a tile, a cluster of them where that are several; none of them has another tile. */
  readonly parts?: number;
  /** What results are computed of beside sums: 64 columns at a time come through the ring, as blocks of terms do. */
  readonly given?: GivenShape;
}

export interface GivenShape {
  /** The buffers of a stage that they fill. */
  readonly buffers: readonly string[];
  /** Whether threads gather its rows. */
  readonly gathered: boolean;
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
/** Columns whose results are computed at a time. */
export const SLICE = 64;
/** Registers of a thread that results may wait in until they are staged. */
const RESULT_REGISTERS = 64;
/** How many blocks of terms a gathering thread is ahead of what it has seen arrive. */
const AHEAD = 1;

export function gemmSchedule(shape: GemmShape): Schedule {
  const { name, consumers, stages, tileN, depthBytes, loops, staged, direct, parts } = shape;
  const tilesOfB = Math.max(...loops.map(({ products }) => products.length));
  const [aBytes, bBytes] = [consumers * ROWS * depthBytes, tileN * depthBytes];
  const gathers = loops.some((loop) => loop.gathers.a || loop.gathers.b);
  const loads = loops.some((loop) => !loop.gathers.a || !loop.gathers.b);
  const copied = staged.some(({ scattered }) => scattered !== true);
  const slots = slotsOf(staged);
  const buffers: SharedBuffer[] = [
    { name: "a", stages, bytes: aBytes, holds: "rows of A" },
    ...Array.from({ length: tilesOfB }, (_, i) => ({ name: `b${i}`, stages, bytes: bBytes, holds: "columns of B" })),
    ...(staged.length > 0
      ? [{ name: "staged", stages: slots, bytes: STAGED_BYTES, each: consumers, holds: "results on their way out" }]
      : []),
    ...(shape.scaleBytes === undefined
      ? []
      : Array.from({ length: tilesOfB }, (_, i) => ({
          name: scalesOf(i),
          stages,
          bytes: tileN * shape.scaleBytes!,
          holds: "what columns of B are scaled by",
        }))),
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
    ...(isShared(shape)
      ? [
          {
            name: "received",
            stages: 1,
            bytes: ROWS * tileN * 4 * sumsOf(loops).length,
            each: consumers,
            over: ["a", ...Array.from({ length: tilesOfB }, (_, i) => `b${i}`)],
            holds: "sums of the columns that the block adds up, of all blocks",
          },
        ]
      : []),
  ];
  const registers: RegisterArray[] = Array.from({ length: sumsOf(loops).length }, (_, i) => ({
    name: `sums${i}`,
    role: "consumer",
    count: tileN / 2,
  }));
  if (shape.columnScales !== undefined) {
    registers.push({ name: "partial", role: "consumer", count: tileN / 2 });
    const ofColumns = shape.scaleBytes === undefined ? tilesOfB * shape.columnScales : 0;
    registers.push({ name: "scales", role: "consumer", count: 2 + ofColumns });
  }
  // Results are computed when nothing is promoted any more: they have those registers first.
  let spare = registers.reduce((n, { name: of, count }) => n + (of.startsWith("sums") ? 0 : count), 0);
  const batches = batchesOf(staged);
  for (let i = 0; i < Math.max(0, ...batches.map(({ length }) => length)); i++) {
    const counts = batches.flatMap((batch) => batch.slice(i, i + 1)).map(({ columns }) => registersOfResult(columns));
    const count = Math.max(...counts);
    registers.push({ name: resultsOf(i), role: "consumer", count: Math.max(0, count - spare) });
    spare = Math.max(0, spare - count);
  }
  // Four warps of the producer arrive where they gather, and its first thread for the copy engine.
  const arrivals = (gathers ? 4 : 0) + (loads ? 1 : 0);
  return {
    name,
    cursors: [{ name: "stage", stages }, ...(copied ? [{ name: "stored", stages: slots }] : [])],
    barriers: [
      { name: "full", stages, arrivals, event: "tiles of A and B are there" },
      { name: "empty", stages, arrivals: 4 * consumers, event: "all warps of the consumers have multiplied them" },
    ],
    named: copied ? [{ name: "own_warps", id: 1, threads: WARPGROUP, each: consumers }] : [],
    buffers,
    registers,
    roles: [producer(shape, aBytes, bBytes, loads, gathers), consumer(shape)],
    ...(isShared(shape) ? { cluster: parts! } : {}),
    results: [
      ...staged.map(({ name: to, columns }) => ({
        role: "consumer",
        over: [TILES, slicesOf(tileN), ...piecesOf(columns)],
        label: resultLabel(to, columns),
      })),
      ...(direct ? [{ role: "consumer", over: isShared(shape) ? [RANKS] : overTiles(shape), label: DIRECT }] : []),
    ],
  };
}

const TILES = { counter: "tile", count: "tiles" };
const RANKS = { counter: "rank", count: "cluster" };
/** What threads store themselves. */
const DIRECT = "results[{tile},{rank},{part}]";

function isShared({ parts = 1 }: GemmShape): boolean {
  return parts > 1;
}

/** Tiles that a block has one after the other. */
function overTiles({ parts }: GemmShape): Count[] {
  return parts === undefined ? [TILES] : [];
}

/** Steps for each tile of a block. */
function eachTile(shape: GemmShape, body: readonly Step[]): readonly Step[] {
  return shape.parts === undefined ? [{ kind: "loop", ...TILES, body }] : body;
}

const STAGE = { cursor: "stage" };
const BEFORE = { cursor: "stage", back: 1 };

function slicesOf(tileN: number): Count {
  return { counter: "slice", count: String(tileN / SLICE) };
}

/** Parts of a slice whose columns take 128 bytes each, where that are several. */
function piecesOf(columns: number): Count[] {
  return columns === SLICE ? [] : [{ counter: "piece", count: String(SLICE / columns) }];
}

function resultLabel(name: string, columns: number): string {
  return `${name}[{tile},{part},{slice}${columns === SLICE ? "" : ",{piece}"}]`;
}

/** The registers of a batch's results, by number. */
export function resultsOf(i: number): string {
  return `results${i}`;
}

/** Pairs of bf16, or one number each: a warpgroup's threads have 64 rows of a slice. */
export function registersOfResult(columns: number): number {
  return columns === SLICE ? SLICE / 4 : SLICE / 2;
}

/** The buffer of what columns of a product are scaled by. */
export function scalesOf(product: number): string {
  return `scales_b${product}`;
}

/** Results that are computed together: what they share is computed once. */
export function batchesOf<T extends { readonly columns: number }>(staged: readonly T[]): T[][] {
  const batches: T[][] = [];
  for (const result of staged) {
    const own = [...(batches.at(-1) ?? []), result];
    const registers = own.reduce((n, { columns }) => n + registersOfResult(columns), 0);
    if (batches.length > 0 && registers <= RESULT_REGISTERS) batches[batches.length - 1] = own;
    else batches.push([result]);
  }
  return batches;
}

/** Slots for staged results: what is copied by the threads is gone at once. */
export function slotsOf(staged: readonly { readonly scattered?: boolean }[]): number {
  return staged.length === 0 ? 0 : staged.every(({ scattered }) => scattered === true) ? 1 : 2;
}

/** Numbers of the products whose sums the loops keep; a later loop may go on with those of another one. */
export function sumsOf(loops: readonly GemmLoop[]): number[] {
  return [...new Set(loops.flatMap(({ products }) => products))];
}

function producer(shape: GemmShape, aBytes: number, bBytes: number, loads: boolean, gathers: boolean): Role {
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

/** Registers of a thread: a producer that gathers in two loops keeps more addresses. */
function registersOf({ loops, given, consumers }: GemmShape): { producer: number; consumer: number } {
  if (consumers === 1) return { producer: PLENTY, consumer: PLENTY };
  const gathers = loops.some((loop) => loop.gathers.a || loop.gathers.b);
  const many = gathers && (loops.length > 1 || given !== undefined);
  return many ? { producer: 56, consumer: 224 } : { producer: 40, consumer: 232 };
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

function consumer(shape: GemmShape): Role {
  const { loops, staged, direct, consumers, columnScales, scaleBytes } = shape;
  const steps: Step[] = [];
  const sums = sumsOf(loops);
  const terms = sums.map((): Terms[] => []);
  for (const [i, { count, products }] of loops.entries()) {
    const all = products.map((product, j): Product => {
      const [a, b] = [`a_${i}[{tile},{k_block}]`, `b${j}_${i}[{tile},{k_block}]`];
      const sum = sums.indexOf(product);
      const goesOn = terms[sum]!.length > 0;
      terms[sum]!.push({ counter: "k_block", count, term: `${a} * ${b}` });
      return {
        sum: `sums${sum}`,
        a: { buffer: "a", at: STAGE, holds: a },
        b: { buffer: `b${j}`, at: STAGE, holds: b },
        ...(scaleBytes === undefined
          ? {}
          : { scales: { buffer: scalesOf(j), at: STAGE, holds: `${scalesOf(j)}_${i}[{tile},{k_block}]` } }),
        ...(goesOn ? { goesOn } : {}),
      };
    });
    const isLast = shape.parts !== undefined;
    steps.push(...(columnScales === undefined ? summed(count, all, isLast) : promoted(i, count, all)));
  }
  const reads: Reads = terms.map((holds, i) => ({
    registers: `sums${i}`,
    holds: holds.length === 1 ? holds[0]! : holds,
  }));
  for (const batch of batchesOf(staged)) steps.push(sliceLoop(batch, shape, reads));
  if (isShared(shape)) steps.push(...exchanged(reads));
  const added = reads.map(({ registers }) => ({ registers, holds: `added_${registers}[{rank}]` }));
  if (direct) steps.push({ kind: "compute", name: "finish", reads: isShared(shape) ? added : reads, gives: DIRECT });
  return {
    name: "consumer",
    warpgroups: consumers,
    threads: "all",
    registers: registersOf(shape).consumer,
    steps: [
      ...eachTile(shape, steps),
      ...(staged.some(({ scattered }) => scattered !== true)
        ? [{ kind: "settle_stores", pending: 0, why: "shared memory goes when the block ends" } as const]
        : []),
    ],
  };
}

/** What the producers of a cluster do while consumers exchange sums: its barrier counts all threads. */
const MEETINGS: readonly Step[] = [{ kind: "meet" }, { kind: "meet" }];

/** Blocks that share the terms of a tile send each other what others add up: each has some of the columns. */
function exchanged(reads: Reads): Step[] {
  return [
    { kind: "meet", why: "nobody in the cluster multiplies any more" },
    {
      kind: "compute",
      name: "send sums",
      reads,
      sends: [{ buffer: "received", holds: "received[{to},{part}]" }],
    },
    { kind: "meet", why: "all sums are there" },
    {
      kind: "compute",
      name: "add",
      why: "the parts of a sum in their order",
      loads: [{ buffer: "received", holds: "received[{rank},{part}]" }],
      writes: reads.map(({ registers }) => ({ registers, holds: `added_${registers}[{rank}]` })),
    },
  ];
}

/** A product of tiles, and the registers of its sums. */
interface Product {
  readonly sum: string;
  readonly a: Operand;
  readonly b: Operand;
  /** Scales of columns that came with the tiles. */
  readonly scales?: { readonly buffer: string; readonly at: Slot; readonly holds: Label };
  /** Whether the sums go on with those of a loop before. */
  readonly goesOn?: boolean;
}

/**
 * The tensor cores sum over all blocks: while one is multiplied, the next one is waited for.
 *
 * @param isLast whether nothing is loaded behind its last block
 */
function summed(count: string, products: readonly Product[], isLast: boolean): Step[] {
  const multiplies = products.map(({ sum, a, b, goesOn = false }): Step => ({
    kind: "multiply",
    a,
    b,
    into: sum,
    clears: goesOn ? "never" : { counter: "k_block" },
  }));
  const done = products.map(({ sum }) => sum);
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
    { kind: "settle", pending: 0, done, why: "here, where ptxas sees it: else it would serialize the products" },
    ...(isLast ? [] : [{ kind: "arrive", barrier: "empty", at: BEFORE, by: "warps" } as const]),
  ];
}

/**
 * The tensor cores sum one block of terms, which is added to sums in f32: meanwhile they have the blocks of the other consumer.
 * Products of one A use the same registers in turn.
 */
function promoted(loop: number, count: string, products: readonly Product[]): Step[] {
  const sums = products.map(({ sum }) => sum).join(", ");
  const scales = `scales_${loop}[{tile},{k_block}]`;
  // The stage is given back once nothing in it is needed: scales of columns are read while sums are promoted.
  const done = (j: number): Step[] =>
    j + 1 < products.length ? [] : [{ kind: "arrive", barrier: "empty", at: STAGE, by: "warps" }];
  const body = products.flatMap(({ sum, a, b, scales: ofColumns }, j): Step[] => [
    { kind: "fence" },
    { kind: "multiply", a, b, into: "partial", clears: "always" },
    { kind: "commit" },
    { kind: "settle", pending: 0, done: ["partial"] },
    ...(ofColumns === undefined ? done(j) : []),
    {
      kind: "compute",
      name: `promote ${sum}`,
      reads: [{ registers: "scales", holds: scales }],
      ...(ofColumns === undefined ? {} : { loads: [ofColumns] }),
      adds: { from: "partial", into: sum },
    },
    ...(ofColumns === undefined ? [] : done(j)),
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

/** Results of 64 columns are computed together and leave by way of shared memory, 128 bytes of columns at a time. */
function sliceLoop(batch: readonly StagedShape[], { given, tileN }: GemmShape, reads: Reads): Step {
  const names = batch.map(({ name }) => name).join(", ");
  const holds = (i: number): string => `${resultsOf(i)}[{tile},{slice}]`;
  const results: Step = {
    kind: "compute",
    name: `results ${names}`,
    reads,
    ...(given === undefined
      ? {}
      : {
          loads: given.buffers.map((buffer) => ({ buffer, at: STAGE, holds: `${buffer}_given[{tile},{slice}]` })),
        }),
    writes: batch.map((_, i) => ({ registers: resultsOf(i), holds: holds(i) })),
  };
  const body: Step[] =
    given === undefined
      ? [results]
      : [
          { kind: "wait", barrier: "full", at: STAGE, phase: "current" },
          results,
          { kind: "arrive", barrier: "empty", at: STAGE, by: "warps" },
          { kind: "advance", cursor: "stage" },
        ];
  return {
    kind: "loop",
    ...slicesOf(tileN),
    unrolled: true,
    body: [...body, ...batch.flatMap((result, i) => store(result, { registers: resultsOf(i), holds: holds(i) }))],
  };
}

/** Where the results of a slice go. */
function store({ name, columns, scattered = false }: StagedShape, reads: { registers: string; holds: string }): Step[] {
  const at = { cursor: "stored" };
  const label = resultLabel(name, columns);
  const steps: Step[] = scattered
    ? [{ kind: "compute", name: `scatter ${name}`, reads: [reads], gives: label }]
    : [
        { kind: "settle_stores", pending: 1, why: "the slot was read" },
        { kind: "sync", barrier: "own_warps", of: "own" },
        {
          kind: "compute",
          name: `stage ${name}`,
          reads: [reads],
          writes: [{ buffer: "staged", at, holds: label }],
        },
        { kind: "publish" },
        { kind: "sync", barrier: "own_warps", of: "own", why: "all warps have written and published it" },
        { kind: "store", buffer: "staged", at, holds: label, gives: label },
        { kind: "commit_stores" },
        { kind: "advance", cursor: "stored" },
      ];
  return piecesOf(columns).reduce((body: Step[], over) => [{ kind: "loop", ...over, unrolled: true, body }], steps);
}

type Reads = readonly { registers: string; holds: Expected }[];

/** Trip counts that stand for all: none, one, fewer than stages, more than go round twice. */
export function gemmRuns({ loops, stages, staged, tileN, parts }: GemmShape): Counts[] {
  const fixed = [slicesOf(tileN), ...staged.flatMap(({ columns }) => piecesOf(columns))];
  const slices = Object.fromEntries(fixed.map(({ count }) => [count, Number(count)]));
  const counts = [...new Set(loops.map(({ count }) => count))];
  const blocks = (n: readonly (number | readonly number[])[]): Counts =>
    Object.fromEntries(counts.map((count, i) => [count, n[i % n.length]!]));
  if (parts !== undefined)
    return [[1], [2 * stages + 1], parts === 1 ? [stages] : [[stages + 2, 1]]].map((n) => ({
      ...blocks(n),
      ...slices,
    }));
  return [
    { tiles: 0, ...blocks([1]), ...slices },
    { tiles: 1, ...blocks([1]), ...slices },
    { tiles: 3, ...blocks([1, 2]), ...slices },
    { tiles: 2, ...blocks([2 * stages + 1, stages]), ...slices },
    { tiles: 4, ...blocks([[1, stages + 2, 2, 3], 3]), ...slices },
  ];
}

/** What the schedules of matrix products are made from, and the names and counts that their parts share. */
import type { Count, Slot, Step } from "./schedule.ts";

/** Rows that a consumer multiplies at a time: those of wgmma. */
export const ROWS = 64;

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
  /**
   * Where B is stored as codes: registers of a thread that reads a part of a tile's codes, and what they are multiplied by, a block ahead.
   * All loops of a kernel have them, or none.
   */
  readonly codeRegisters?: number;
}

/** Columns whose results are computed at a time. */
export const SLICE = 64;
/** Registers of a thread that results may wait in until they are staged. */
const RESULT_REGISTERS = 64;

export const TILES = { counter: "tile", count: "tiles" };
export const RANKS = { counter: "rank", count: "cluster" };
/** What threads store themselves. */
export const DIRECT = "results[{tile},{rank},{part}]";

export function isShared({ parts = 1 }: GemmShape): boolean {
  return parts > 1;
}

/** Tiles that a block has one after the other. */
export function overTiles({ parts }: GemmShape): Count[] {
  return parts === undefined ? [TILES] : [];
}

/** Steps for each tile of a block. */
export function eachTile(shape: GemmShape, body: readonly Step[]): readonly Step[] {
  return shape.parts === undefined ? [{ kind: "loop", ...TILES, body }] : body;
}

/** The stage that a warpgroup is at, and the one before. */
export const STAGE: Slot = { cursor: "stage" };
export const BEFORE: Slot = { cursor: "stage", back: 1 };

export function slicesOf(tileN: number): Count {
  return { counter: "slice", count: String(tileN / SLICE) };
}

/** Parts of a slice whose columns take 128 bytes each, where that are several. */
export function piecesOf(columns: number): Count[] {
  return columns === SLICE ? [] : [{ counter: "piece", count: String(SLICE / columns) }];
}

export function resultLabel(name: string, columns: number): string {
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

/** Whether threads write tiles of B, which is stored as codes. */
export function hasCodes({ loops }: GemmShape): boolean {
  return loops.some(({ codeRegisters }) => codeRegisters !== undefined);
}

/** The producer's registers for codes of a loop's product. */
export function codesOfProduct(product: number): string {
  return `codes${product}`;
}

/** Registers of a thread where two warpgroups have the multiprocessor for themselves. */
const PLENTY = 248;

/** Registers of a thread: a producer that gathers in two loops keeps more addresses, one that reads ahead has codes. */
export function registersOf(shape: GemmShape): { producer: number; consumer: number } {
  const { loops, given, consumers } = shape;
  if (consumers === 1) return { producer: PLENTY, consumer: PLENTY };
  if (hasCodes(shape)) return { producer: 104, consumer: 200 };
  const gathers = loops.some((loop) => loop.gathers.a || loop.gathers.b);
  const many = gathers && (loops.length > 1 || given !== undefined);
  return many ? { producer: 56, consumer: 224 } : { producer: 40, consumer: 232 };
}

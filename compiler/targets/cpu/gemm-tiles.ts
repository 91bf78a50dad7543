/**
 * How matrix products are cut: tiles in registers, blocks in caches. Pure functions of shapes: the same kernel always gets the
 * same text. What is chosen here changes no result (templates/cpu/gemm.h.hbs says why).
 */

/** A tile of results that stays in registers while k runs. */
export interface Tile {
  /** The preprocessor line under which it holds. */
  readonly directive: string;
  /** Floats of a vector. */
  readonly lanes: number;
  readonly rows: number;
  readonly columns: number;
  readonly why: string;
}

/** The best instruction set first. A step in k loads columns / lanes vectors of B and one number per row of A. */
export const TILES: readonly Tile[] = [
  { directive: "#if defined(__AVX512F__)", lanes: 16, rows: 14, columns: 32, why: "28 sums, 2 of B, 32 registers" },
  { directive: "#elif defined(__AVX__)", lanes: 8, rows: 6, columns: 16, why: "12 sums, 2 of B, 1 of A, 16 registers" },
  { directive: "#elif defined(__aarch64__)", lanes: 4, rows: 6, columns: 16, why: "24 sums, 4 of B, 32 registers" },
  { directive: "#else", lanes: 4, rows: 6, columns: 8, why: "12 sums, 2 of B, 1 of A, 16 registers" },
];

/** Up to so many rows, B is streamed instead of packed. */
export const FEW_ROWS = 8;

/** The largest blocks; run-time extents are cut into equal blocks up to these. */
export interface Blocks {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Where there are few rows: an item is a range of columns. */
  readonly fewColumns: number;
  readonly fewDepth: number;
}

/** What is known of a product when its kernel is printed. */
export interface GemmShape {
  /** Columns and terms of the longest sum; Infinity for run-time extents. */
  readonly n: number;
  readonly k: number;
  /** Bytes of an element of B; undefined when B is computed. */
  readonly bytes: number | undefined;
}

/**
 * A block of A and one of results have 128 KiB each, one of B 256 KiB: together they stay in a second-level cache of 512 KiB or
 * more. Few rows read 8 KiB of a row of B at a time:
 * shorter pieces are slow where B comes from memory.
 */
export function blocksFor({ n, k, bytes }: GemmShape): Blocks {
  const few = bytes === undefined ? { columns: 256, depth: 256 } : { columns: 8192 / Math.max(1, bytes), depth: 2048 };
  // Scratch memory of small products is small.
  const columns = (most: number): number => Math.min(most, Math.ceil(n / 64) * 64);
  const depth = (most: number): number => Math.max(1, Math.min(most, k));
  return {
    rows: 128,
    columns: columns(256),
    depth: depth(256),
    fewColumns: columns(few.columns),
    fewDepth: depth(few.depth),
  };
}

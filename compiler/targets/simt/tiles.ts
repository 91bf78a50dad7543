/** Tiles of matrix products: operands in shared memory, results in registers. */
import type { ScalarType } from "../../kernel-ir/types.ts";
import type { Frame } from "./frame.ts";

/** Results of a tile in each direction, and terms that are loaded at a time. */
export const TILE = 64;
export const DEPTH = 32;
/** Columns of a thread: two vectors. */
export const COLUMNS = 8;
/** Rows that share what a workgroup for few rows reads of the other operand. */
export const TOGETHER = 4;

/** How a language adds up products of vectors. Sums of product `i` are its business until it hands them out. */
export interface Tiles {
  /** Declares sums of `TOGETHER` rows. */
  sumsOfRows(frame: Frame, i: number, dtype: ScalarType): void;
  /** One of them. */
  sumOfRow(i: number, row: number | string): string;
  /** The body for each row `r` below `rows`. */
  eachRow(frame: Frame, body: () => void): void;
  /** Adds `element(row) * b` to each. */
  addToRows(frame: Frame, i: number, element: (row: string) => string, loads: number, b: string): void;
  /**
   * Where a language is slow at reading: rows that the threads of a workgroup prepare together, `element(row)` of the terms from `first`
   * on, as many as it has room for, and then the sums of all terms. Every thread meets the others there.
   */
  readonly staged?: {
    readonly terms: number;
    rows(frame: Frame, threads: number, count: string, element: (row: string) => string, loads: number): void;
    /** Adds what was prepared of term `first + j`, times b. */
    add(frame: Frame, i: number, b: string): void;
  };
  /** Workgroups that keep a device busy: several share the terms of a tile where there are fewer tiles. Not given, none do. */
  readonly enough?: number;
  /** Declares the operands, once for a kernel. */
  operands(frame: Frame, dtype: ScalarType): void;
  /** Declares what a thread needs to know of its place, whose first row and column are `own_m` and `own_n`. */
  place(frame: Frame): void;
  /** Declares the sums of a thread. */
  sums(frame: Frame, i: number, rows: number, dtype: ScalarType): void;
  /** Loads an operand: for all terms and rows, `element(row)`, which has the term as `at`. */
  load(frame: Frame, operand: Operand): void;
  /** Adds the products of a thread's rows and columns for all terms that are loaded. */
  multiply(frame: Frame, i: number, rows: number): void;
  /** Calls for each result, with its row and column in the tile. */
  results(
    frame: Frame,
    products: number,
    rows: number,
    call: (r: string, c: string, sums: readonly string[]) => string,
  ): void;
}

export interface Operand {
  readonly letter: "a" | "b";
  readonly threads: number;
  /** Whether terms, not rows, are neighbors in memory. */
  readonly alongTerms: boolean;
  /** What term `k` of those that are loaded is. */
  readonly term: (k: string) => string;
  readonly element: (row: string) => string;
  /** How often an element reads memory. */
  readonly loads: number;
  /** Whether it is not known how many terms there are, or where they lie: each of them is looked at by itself. */
  readonly varies: boolean;
}

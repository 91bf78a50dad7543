/** Products of few rows as a language makes them that has a way of its own. */
import type { Frame } from "./frame.ts";

export interface FewRows {
  /** Of the entry point. */
  readonly name: string;
  /** Rows up to which it is taken. */
  readonly most: number;
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Rows that a workgroup has at a time, and columns. */
  readonly rows: number;
  readonly columns: number;
  /** Prints what a workgroup does: functions `aI(batch, m, k, ...statistics)`, `finish(batch, m, n, ...sums)` and `group_of(m)` are there. */
  print(frame: Frame, of: RowParts): void;
}

/** What a kernel knows of its rows. */
export interface RowParts {
  /** Names of the numbers of a row that a product's rows are made with. */
  statistics(product: number): readonly string[];
  /** Declares them for the row `m`, computed by so many of the threads of the workgroup. */
  prologue(threads: number, group: number): void;
}

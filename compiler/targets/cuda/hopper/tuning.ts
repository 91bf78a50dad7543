/** Tiles that were measured to be better than what the cost model chooses. None so far: where bench:gpu was run, the cost model's tiles reach cuBLAS. */

export interface Measured {
  /** The kernel's name. */
  readonly kernel: string;
  readonly consumers: 1 | 2;
  readonly tileN: number;
  /** Device, date and command. */
  readonly source: string;
}

export const TUNING: readonly Measured[] = [];

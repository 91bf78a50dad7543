/** Tiles that were measured to be better than what the cost model chooses. Nothing was measured so far: no GPU was at hand. */

export interface Measured {
  /** The kernel's name. */
  readonly kernel: string;
  readonly consumers: 1 | 2;
  readonly tileN: number;
  /** Device, date and command. */
  readonly source: string;
}

export const TUNING: readonly Measured[] = [];

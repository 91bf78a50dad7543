/**
 * Dims that count tiles of a dim whose size only a run knows: `T/128` is ceil(T / 128), the last tile being filled up, and `T/128*128` is
 * all of their elements. `T/128*8+64` is 64 more than 8 for each tile: as many tiles as 8 T rows of 64 groups surely fit in, none of which
 * has rows of two groups. All follow from T: nobody binds them.
 */
import type { DimLabel, DimTable } from "./types.ts";

export interface Tiles {
  readonly of: DimLabel;
  /** Elements of a tile. */
  readonly by: number;
  /** Elements of this dim for each tile. */
  readonly times: number;
  /** Elements beside those. */
  readonly plus?: number;
}

/** What a run-time dim counts, when that are tiles of another one. */
export function tilesOf(label: DimLabel): Required<Tiles> | undefined {
  const [, of, by, times = "1", plus = "0"] = /^(.+?)\/(\d+)(?:\*(\d+))?(?:\+(\d+))?$/.exec(label) ?? [];
  return of === undefined ? undefined : { of, by: Number(by), times: Number(times), plus: Number(plus) };
}

export function tilesLabel({ of, by, times, plus = 0 }: Tiles): DimLabel {
  return `${of}/${by}${times === 1 ? "" : `*${times}`}${plus === 0 ? "" : `+${plus}`}`;
}

/** The size of a dim where run-time dims have these sizes; undefined where one is not bound. */
export function sizeWith(
  dims: DimTable,
  label: DimLabel,
  bound: Pick<ReadonlyMap<DimLabel, number>, "get">,
): number | undefined {
  const size = dims.get(label) ?? bound.get(label);
  if (size !== undefined) return size;
  const tiles = tilesOf(label);
  const whole = tiles === undefined ? undefined : bound.get(tiles.of);
  return whole === undefined ? undefined : Math.ceil(whole / tiles!.by) * tiles!.times + tiles!.plus;
}

/**
 * The tiles of `by` rows that rows of groups fill, as many as there may be: each group has some of its own, the last one filled up. Undefined
 * where not just one of the rows' dims is a run-time dim.
 */
export function tilesOfGroups(
  dims: DimTable,
  rows: readonly DimLabel[],
  groups: number,
  by: number,
): DimLabel | undefined {
  const [of, another] = rows.filter((label) => dims.get(label) === null && tilesOf(label) === undefined);
  const times = rows.filter((label) => label !== of).reduce((n, label) => n * (dims.get(label) ?? NaN), 1);
  if (of === undefined || another !== undefined || Number.isNaN(times)) return undefined;
  // Rows are at most `times` for each of all tiles' elements; a group wastes less than a tile.
  return tilesLabel({ of, by, times, plus: groups });
}

/** Run-time dims that a run has to bind. */
export function boundDims(dims: DimTable): DimLabel[] {
  return [...dims].flatMap(([label, size]) => (size === null && tilesOf(label) === undefined ? [label] : []));
}

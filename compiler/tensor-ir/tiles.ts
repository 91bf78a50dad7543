/**
 * Dims that count tiles of a dim whose size only a run knows: `T/128` is ceil(T / 128), the last tile being filled up, and `T/128*128` is
 * all of their elements. Both follow from T: nobody binds them.
 */
import type { DimLabel, DimTable } from "./types.ts";

export interface Tiles {
  readonly of: DimLabel;
  /** Elements of a tile. */
  readonly by: number;
  /** Elements of this dim for each tile. */
  readonly times: number;
}

/** What a run-time dim counts, when that are tiles of another one. */
export function tilesOf(label: DimLabel): Tiles | undefined {
  const [, of, by, times = "1"] = /^(.+?)\/(\d+)(?:\*(\d+))?$/.exec(label) ?? [];
  return of === undefined ? undefined : { of, by: Number(by), times: Number(times) };
}

export function tilesLabel({ of, by, times }: Tiles): DimLabel {
  return `${of}/${by}${times === 1 ? "" : `*${times}`}`;
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
  return whole === undefined ? undefined : Math.ceil(whole / tiles!.by) * tiles!.times;
}

/** Run-time dims that a run has to bind. */
export function boundDims(dims: DimTable): DimLabel[] {
  return [...dims].flatMap(([label, size]) => (size === null && tilesOf(label) === undefined ? [label] : []));
}

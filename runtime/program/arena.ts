import { elementsOf, type LaunchProgram, type Sizes, STORAGE_BYTES } from "./launch.ts";

/** Every temp begins on a cache line, so that no two launches' outputs share one. */
export const ALIGNMENT = 64;

export interface ArenaPlan {
  /** By the index of the buffer: its offset in bytes, or -1 for what does not live in the arena. */
  readonly offsets: readonly number[];
  /** The bytes of the arena: the largest end of a temp. */
  readonly bytes: number;
  /** The most bytes of temps that are alive at once: no plan can be smaller. */
  readonly peak: number;
}

interface Interval {
  readonly buffer: number;
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/**
 * Places the temps of a program: the largest first, each at the lowest offset where nothing that lives at the same time is.
 * A pure function of the program and the sizes of its run-time dims: the compiler prints what the runtime will do.
 */
export function planArena(program: LaunchProgram, sizes: Sizes): ArenaPlan {
  const intervals = intervalsOf(program, sizes);
  const offsets = program.buffers.map(() => -1);
  const placed: (Interval & { readonly offset: number })[] = [];
  for (const interval of intervals.toSorted((a, b) => b.bytes - a.bytes || a.first - b.first || a.buffer - b.buffer)) {
    const neighbors = placed.filter(({ first, last }) => first <= interval.last && interval.first <= last);
    let offset = 0;
    for (const other of neighbors) {
      if (offset + interval.bytes <= other.offset) break;
      offset = Math.max(offset, other.offset + other.bytes);
    }
    offsets[interval.buffer] = offset;
    placed.push({ ...interval, offset });
    placed.sort((a, b) => a.offset - b.offset);
  }
  const bytes = placed.reduce((end, { offset, bytes: size }) => Math.max(end, offset + size), 0);
  return { offsets, bytes, peak: peakOf(intervals, program.launches.length) };
}

function intervalsOf(program: LaunchProgram, sizes: Sizes): Interval[] {
  const first = new Map<number, number>();
  const last = new Map<number, number>();
  for (const [at, { args }] of program.launches.entries()) {
    for (const buffer of args) {
      if (!first.has(buffer)) first.set(buffer, at);
      last.set(buffer, at);
    }
  }
  return program.buffers.flatMap((spec, buffer) => {
    const from = first.get(buffer);
    if (spec.kind !== "temp" || from === undefined) return [];
    const bytes = Math.ceil((elementsOf(spec, sizes) * STORAGE_BYTES[spec.dtype]) / ALIGNMENT) * ALIGNMENT;
    return [{ buffer, bytes, first: from, last: last.get(buffer)! }];
  });
}

function peakOf(intervals: readonly Interval[], launches: number): number {
  const change = Array.from({ length: launches + 1 }, () => 0);
  for (const { bytes, first, last } of intervals) {
    change[first]! += bytes;
    change[last + 1]! -= bytes;
  }
  let now = 0;
  return change.reduce((peak, by) => Math.max(peak, (now += by)), 0);
}

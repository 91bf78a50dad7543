import { elementsOf, type LaunchProgram, type Sizes, STORAGE_BYTES, type Together } from "./launch.ts";

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
  const placed = new Placed(intervals.length);
  for (const interval of intervals.toSorted((a, b) => b.bytes - a.bytes || a.first - b.first || a.buffer - b.buffer))
    offsets[interval.buffer] = placed.add(interval);
  const bytes = intervals.reduce((end, { buffer, bytes: size }) => Math.max(end, offsets[buffer]! + size), 0);
  return { offsets, bytes, peak: Math.max(0, ...liveOf(intervals, program.launches.length)) };
}

/** What has its place, in the order of offsets. Flat arrays: programs have thousands of temps, and each looks at all before it. */
class Placed {
  readonly #offsets: Float64Array;
  readonly #ends: Float64Array;
  readonly #firsts: Int32Array;
  readonly #lasts: Int32Array;
  #count = 0;

  constructor(most: number) {
    this.#offsets = new Float64Array(most);
    this.#ends = new Float64Array(most);
    this.#firsts = new Int32Array(most);
    this.#lasts = new Int32Array(most);
  }

  /** Gives an interval the lowest offset that is free as long as it lives. */
  add({ bytes, first, last }: Interval): number {
    const [offsets, ends, firsts, lasts] = [this.#offsets, this.#ends, this.#firsts, this.#lasts];
    let offset = 0;
    for (let i = 0; i < this.#count; i++) {
      if (firsts[i]! > last || first > lasts[i]!) continue;
      if (offset + bytes <= offsets[i]!) break;
      offset = Math.max(offset, ends[i]!);
    }
    const at = this.#behind(offset);
    for (const array of [offsets, ends, firsts, lasts]) array.copyWithin(at + 1, at, this.#count);
    offsets[at] = offset;
    ends[at] = offset + bytes;
    firsts[at] = first;
    lasts[at] = last;
    this.#count += 1;
    return offset;
  }

  /** The index of the first one with a larger offset. */
  #behind(offset: number): number {
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#offsets[middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function intervalsOf(program: LaunchProgram, sizes: Sizes): Interval[] {
  const first = new Map<number, number>();
  const last = new Map<number, number>();
  for (const [at, { args }] of program.launches.entries()) {
    const isInside = (each: Together): boolean => at >= each.first && at < each.first + each.count;
    const blocks = program.blocks?.find(isInside);
    const together = program.together?.find(isInside);
    for (const buffer of args) {
      // What holds all rows is needed until the last block is done, what launches that may run at once have as long as all of them.
      const span = together ?? (program.buffers[buffer]!.block === undefined ? blocks : undefined);
      const [from, to] = span === undefined ? [at, at] : [span.first, span.first + span.count - 1];
      first.set(buffer, Math.min(first.get(buffer) ?? Infinity, from));
      last.set(buffer, Math.max(last.get(buffer) ?? 0, to));
    }
  }
  return program.buffers.flatMap((spec, buffer) => {
    const from = first.get(buffer);
    if (spec.kind !== "temp" || from === undefined) return [];
    const bytes = Math.ceil((elementsOf(spec, sizes) * STORAGE_BYTES[spec.dtype]) / ALIGNMENT) * ALIGNMENT;
    return [{ buffer, bytes, first: from, last: last.get(buffer)! }];
  });
}

/** The bytes of temps that are alive at each launch. */
export function liveBytes(program: LaunchProgram, sizes: Sizes): number[] {
  return liveOf(intervalsOf(program, sizes), program.launches.length);
}

function liveOf(intervals: readonly Interval[], launches: number): number[] {
  const change = Array.from({ length: launches + 1 }, () => 0);
  for (const { bytes, first, last } of intervals) {
    change[first]! += bytes;
    change[last + 1]! -= bytes;
  }
  let now = 0;
  return change.slice(0, launches).map((by) => (now += by));
}

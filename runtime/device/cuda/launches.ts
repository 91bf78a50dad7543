/** The launches of a call as the addon takes them (runtime/native/cuda.ts). */
import type { NativeCudaEntry, NativeTensorMap } from "../../native/cuda.ts";
import {
  type Entry,
  type Grid,
  productOf,
  type SimtKernel,
  type TensorMap,
  type Work,
  workOf,
} from "../../program/grids.ts";
import {
  boundExtents,
  elementsOf,
  type Launch,
  type LaunchProgram,
  launchTitle,
  type Sizes,
  STORAGE_BYTES,
  type StorageType,
} from "../../program/launch.ts";
import { firstElement, stepsOf } from "../../program/steps.ts";
import type { Layout } from "../layout.ts";
import { DeviceError } from "../session.ts";

/** Memories, as the addon numbers them. */
export const ARENA = 0;
export const STORES = 1;
export const CACHES = 2;

/** A place in a memory, in bytes. */
export interface Place {
  readonly space: number;
  readonly offset: number;
}

/** A kernel's entry points by their name in the table, as numbers of the addon. */
export type EntryNumbers = ReadonlyMap<string, number>;

/** The entry points of kernels; `numbers` has them by kernel, `files` are the modules that they are in. */
export interface Entries {
  readonly list: readonly NativeCudaEntry[];
  readonly files: readonly string[];
  readonly numbers: ReadonlyMap<string, EntryNumbers>;
}

/** Types of tensor maps, and patterns of shared memory: CUtensorMapDataType and CUtensorMapSwizzle of the driver API. */
const MAP_TYPES: Readonly<Partial<Record<StorageType, number>>> = {
  f64: 8,
  f32: 7,
  bf16: 9,
  f16: 6,
  f8e4m3: 0,
  i32: 3,
  bool: 0,
  i8: 0,
};
const SWIZZLES = { 0: 0, 32: 1, 64: 2, 128: 3 } as const;

/** @throws Error for a kernel whose tensor maps the driver does not know */
export function entriesOf(kernels: readonly SimtKernel[]): Entries {
  const list: NativeCudaEntry[] = [];
  const numbers = new Map<string, EntryNumbers>();
  const files: string[] = [];
  const moduleOf = (file: string): number => {
    if (!files.includes(file)) files.push(file);
    return files.indexOf(file);
  };
  for (const kernel of kernels) {
    const grids = gridsOf(kernel);
    const own = new Map<string, number>();
    for (const grid of grids) {
      if (own.has(grid.name)) continue;
      own.set(grid.name, list.length);
      list.push({
        module: moduleOf(grid.file ?? kernel.name),
        symbol: `${kernel.name}_${grid.name}`,
        threads: grid.workgroupSize,
        shared: grid.sharedBytes ?? 0,
        ints: 2 * (kernel.parts?.length ?? 1) + kernel.extents.length,
        pointers: kernel.args.length + kernel.scratch.length,
        maps: (grid.maps ?? []).map((map) => nativeMap(kernel, map)),
      });
    }
    numbers.set(kernel.name, own);
  }
  return { list, files, numbers };
}

function gridsOf({ entries, parts = [] }: SimtKernel): Grid[] {
  return [...entries, ...parts.flat()].flatMap((entry): Grid[] =>
    entry.before === undefined ? [entry] : [entry, entry.before],
  );
}

/** The kernel with those entry points that an architecture has. */
export function entriesFor(kernel: SimtKernel, architectures: readonly string[]): SimtKernel {
  const there = (entries: readonly Entry[]): Entry[] =>
    entries.filter(({ only }) => only === undefined || architectures.includes(only));
  return {
    ...kernel,
    entries: there(kernel.entries),
    ...(kernel.parts === undefined ? {} : { parts: kernel.parts.map(there) }),
  };
}

function nativeMap(kernel: SimtKernel, { arg, dtype, box, swizzle }: TensorMap): NativeTensorMap {
  const scratch = /^scratch(\d+)$/.exec(arg)?.[1];
  const pointer = scratch === undefined ? kernel.args.indexOf(arg) : kernel.args.length + Number(scratch);
  const type = MAP_TYPES[dtype];
  if (pointer < 0 || pointer >= kernel.args.length + kernel.scratch.length)
    throw new Error(`the kernel ${kernel.name} has a tensor map of ${arg}, which is none of its arguments`);
  if (type === undefined) throw new Error(`the kernel ${kernel.name} has a tensor map of ${dtype}`);
  return { pointer, type, swizzle: SWIZZLES[swizzle], box };
}

/** The largest `int` of a kernel: what it counts is no more. */
const MOST = 2 ** 31 - 1;
/** Elements of a list that one launch has; a kernel may count a block of them further. */
const MOST_ELEMENTS = 2 ** 30;

/** What a call is made of: the numbers for the addon, and how many items each launch of the program has. */
export interface Launches {
  readonly numbers: number[];
  /** By launch; summed over blocks. */
  readonly items: Float64Array;
  /** Bytes of the arena: no less than the layout says. */
  readonly bytes: number;
}

/**
 * A list of more elements than a kernel counts (the experts of a layer in one parameter) is several launches.
 *
 * @param kernels of each launch of the program
 * @param kept where each buffer lies that is kept between calls; undefined for others
 * @throws DeviceError where anything else is more than a kernel counts
 */
export function launchesOf(
  program: LaunchProgram,
  kernels: readonly SimtKernel[],
  entries: Entries["numbers"],
  kept: readonly (Place | undefined)[],
  layout: Layout,
  sizes: Sizes,
): Launches {
  const numbers: number[] = [];
  const items = new Float64Array(program.launches.length);
  let { bytes } = layout;
  for (const step of stepsOf(program, sizes)) {
    const launch = program.launches[step.launch]!;
    const kernel = kernels[step.launch]!;
    const whole = boundExtents(launch, kernel, step.sizes);
    for (const { first, bound } of piecesOf(launch, kernel, whole)) {
      const work = workOf(kernel, bound);
      checkCounts(launch, bound, work);
      const ints = [...work.items, ...kernel.extents.map((name) => bound[name]!)];
      const pointers: number[] = [];
      for (const buffer of launch.args) {
        const spec = program.buffers[buffer]!;
        const { space, offset } = kept[buffer] ?? { space: ARENA, offset: layout.offsets[buffer]! };
        const begin = firstElement(spec, step) + (elementsOf(spec, step.sizes) === 1 ? 0 : first);
        pointers.push(space, offset + begin * STORAGE_BYTES[spec.dtype]);
      }
      const scratch = layout.scratch(kernel, bound, work);
      for (const offset of scratch.places) pointers.push(ARENA, offset);
      // The entry for these sizes may need more than the one for those that the layout was planned for.
      bytes = Math.max(bytes, scratch.end);
      for (const { grids } of work.runs) {
        for (const { grid, groups } of grids) {
          if (groups === 0) continue;
          const cluster = grid.cluster ?? 1;
          const blocks = Math.ceil(groups / cluster) * cluster;
          numbers.push(step.launch, entries.get(kernel.name)!.get(grid.name)!, blocks, ...ints, ...pointers);
          for (const map of grid.maps ?? []) numbers.push(...dimsOf(map, bound));
        }
      }
      items[step.launch]! += work.items.filter((_, i) => i % 2 === 0).reduce((a, b) => a + b, 0);
    }
  }
  return { numbers, items, bytes };
}

interface Piece {
  /** Its first element. */
  readonly first: number;
  /** The kernel's extents there. */
  readonly bound: Sizes;
}

/** A kernel of lists of elements has their length as its only extent, and the launch knows it (compiler/lower/flatten.ts). */
function piecesOf({ extents }: Launch, kernel: SimtKernel, whole: Sizes): Piece[] {
  const [name] = kernel.extents;
  const [elements] = extents;
  if (kernel.extents.length !== 1 || typeof elements !== "number" || elements <= MOST_ELEMENTS)
    return [{ first: 0, bound: whole }];
  return Array.from({ length: Math.ceil(elements / MOST_ELEMENTS) }, (_, i) => {
    const first = i * MOST_ELEMENTS;
    return { first, bound: { [name!]: Math.min(MOST_ELEMENTS, elements - first) } };
  });
}

/** Blocks that take turns (`most`) count with more bits; others find the index of a row or a column in 32. */
function checkCounts(launch: Launch, bound: Sizes, { items, runs }: Work): void {
  const refuse = (what: string, size: number): never => {
    const [has, most] = [size, MOST].map((n) => n.toLocaleString("en-US"));
    throw new DeviceError(
      `kernel ${launchTitle(launch)}: ${what} is ${has}, and kernels count to ${most}: make shorter calls`,
    );
  };
  for (const [name, size] of Object.entries(bound)) if (size > MOST) refuse(name, size);
  for (const { grid } of runs.flatMap(({ grids }) => grids)) {
    if (grid.most !== undefined) continue;
    for (const { of } of grid.workgroups) {
      const size = productOf(of, bound);
      if (size > MOST) refuse(of.join(" * "), size);
    }
  }
  for (const size of items) if (size > MOST) refuse("the number of its blocks", size);
}

/** The sizes of a tensor map's dims, and the strides of all but the innermost in bytes. */
function dimsOf({ dims, strides, dtype }: TensorMap, bound: Sizes): number[] {
  const bytes = STORAGE_BYTES[dtype];
  return [...dims.map((dim) => productOf(dim, bound)), ...strides.map((stride) => productOf(stride, bound) * bytes)];
}

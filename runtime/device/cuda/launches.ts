/** The launches of a call as the addon takes them (runtime/native/cuda.ts). */
import type { NativeCudaEntry, NativeTensorMap } from "../../native/cuda.ts";
import {
  type Entry,
  type Grid,
  inOrder,
  productOf,
  type SimtKernel,
  type TensorMap,
  type Work,
  workOf,
} from "../../program/grids.ts";
import {
  boundExtents,
  type Launch,
  type LaunchProgram,
  launchTitle,
  type Sizes,
  sizeOf,
  STORAGE_BYTES,
  type StorageType,
} from "../../program/launch.ts";
import { firstElement, stepsOf } from "../../program/steps.ts";
import type { Layout } from "../layout.ts";
import { DeviceError } from "../session.ts";
import { type List, MOST_ELEMENTS, tableLaunches } from "./tables.ts";

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
      const { lists } = kernel;
      const isOfTables = lists !== undefined && [lists.entry, lists.entry.before].includes(grid);
      list.push({
        module: moduleOf(grid.file ?? kernel.name),
        symbol: `${kernel.name}_${grid.name}`,
        threads: grid.workgroupSize,
        shared: grid.sharedBytes ?? 0,
        ints: 2 * (kernel.parts?.length ?? 1) + (isOfTables ? 0 : kernel.extents.length),
        pointers: kernel.args.length + kernel.scratch.length - (isOfTables ? lists.args.length : 0),
        ...(isOfTables ? { lists: { most: lists.most, args: lists.args.length } } : {}),
        maps: (grid.maps ?? []).map((map) => nativeMap(kernel, map)),
      });
    }
    numbers.set(kernel.name, own);
  }
  return { list, files, numbers };
}

function gridsOf({ entries, parts = [], lists }: SimtKernel): Grid[] {
  return [...entries, ...parts.flat(), ...(lists === undefined ? [] : [lists.entry])].flatMap(inOrder);
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

/** What a call is made of: the numbers for the addon, and how many items each launch of the program has. */
export interface Launches {
  readonly numbers: number[];
  /** By launch; summed over blocks. */
  readonly items: Float64Array;
  /** Bytes of the arena: no less than the layout says. */
  readonly bytes: number;
}

/**
 * Launches that may run at once are tables of lists, and so is one of more elements than a kernel counts (the experts of a layer in
 * one parameter).
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
  const scratchOf = (kernel: SimtKernel, bound: Sizes, work: Work): number[] => {
    const { places, end } = layout.scratch(kernel, bound, work);
    // The entry for these sizes may need more than the one for those that the layout was planned for.
    bytes = Math.max(bytes, end);
    return places.flatMap((offset) => [ARENA, offset]);
  };
  const placeOf = (buffer: number): Place => kept[buffer] ?? { space: ARENA, offset: layout.offsets[buffer]! };
  const numberOf = (kernel: SimtKernel, grid: Grid): number => entries.get(kernel.name)!.get(grid.name)!;
  const steps = stepsOf(program, sizes);
  for (let at = 0; at < steps.length; at++) {
    const step = steps[at]!;
    const launch = program.launches[step.launch]!;
    const kernel = kernels[step.launch]!;
    const bound = boundExtents(launch, kernel, step.sizes);
    const count = program.together?.find(({ first }) => first === step.launch)?.count ?? 1;
    if (kernel.lists !== undefined && (count > 1 || bound[kernel.extents[0]!]! > MOST_ELEMENTS)) {
      const { common, lists } = listsOf(program, step.launch, count, kernel, placeOf);
      for (const { work, runs } of tableLaunches(kernel.lists, lists)) {
        const pointers = [...common.flatMap(({ space, offset }) => [space, offset]), ...scratchOf(kernel, {}, work)];
        for (const { grid, blocks, table } of runs)
          numbers.push(step.launch, numberOf(kernel, grid), blocks, ...work.items, ...pointers, ...table);
        items[step.launch]! += work.items[0]!;
      }
      at += count - 1;
      continue;
    }
    const work = workOf(kernel, bound);
    checkCounts(launch, bound, work);
    const ints = [...work.items, ...kernel.extents.map((name) => bound[name]!)];
    const pointers = launch.args.flatMap((buffer) => {
      const spec = program.buffers[buffer]!;
      const { space, offset } = placeOf(buffer);
      return [space, offset + firstElement(spec, step) * STORAGE_BYTES[spec.dtype]];
    });
    pointers.push(...scratchOf(kernel, bound, work));
    for (const { grids } of work.runs) {
      for (const { grid, groups } of grids) {
        if (groups === 0) continue;
        const cluster = grid.cluster ?? 1;
        const blocks = Math.ceil(groups / cluster) * cluster;
        numbers.push(step.launch, numberOf(kernel, grid), blocks, ...ints, ...pointers);
        for (const map of grid.maps ?? []) numbers.push(...dimsOf(map, bound));
      }
    }
    items[step.launch]! += work.items.filter((_, i) => i % 2 === 0).reduce((a, b) => a + b, 0);
  }
  return { numbers, items, bytes };
}

/** The lists of launches that may run at once, and what they have in common. */
function listsOf(
  { launches, buffers }: LaunchProgram,
  first: number,
  count: number,
  kernel: SimtKernel,
  placeOf: (buffer: number) => Place,
): { readonly common: readonly Place[]; readonly lists: readonly List[] } {
  const isOwn = kernel.args.map((name) => kernel.lists!.args.includes(name));
  const lists = launches.slice(first, first + count).map(({ args, extents }): List => {
    const elements = sizeOf(extents[0]!, {});
    const places = args.flatMap((buffer, i) => {
      const spec = buffers[buffer]!;
      const stride = spec.shape.length === 0 ? 0 : STORAGE_BYTES[spec.dtype];
      return isOwn[i] ? [{ ...placeOf(buffer), stride }] : [];
    });
    return { elements, places };
  });
  return { common: launches[first]!.args.filter((_, i) => !isOwn[i]).map(placeOf), lists };
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
function dimsOf({ dims, plus = 0, strides, dtype }: TensorMap, bound: Sizes): number[] {
  const bytes = STORAGE_BYTES[dtype];
  const sizes = dims.map((dim, i) => productOf(dim, bound) + (i === 1 ? plus : 0));
  return [...sizes, ...strides.map((stride) => productOf(stride, bound) * bytes)];
}

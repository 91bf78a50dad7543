/**
 * What a runtime has to know about kernels for workgroups of threads (blocks, in CUDA's words): `kernels/webgpu.json` and
 * `kernels/cuda/cuda.json` of a package.
 */
import { type Extent, type Sizes, sizeOf, type StorageType } from "./launch.ts";

/** The product of extents, divided by a number, rounded up, and a number. */
export interface Count {
  readonly of: readonly Extent[];
  readonly by?: number;
  readonly plus?: number;
}

/** Workgroups that run an entry point. */
export interface Grid {
  readonly name: string;
  readonly workgroupSize: number;
  /** Their product is the number of items, each of which is a workgroup. */
  readonly workgroups: readonly Count[];
  /** At most so many workgroups run, each over several items. */
  readonly most?: number;
  /** CUDA: the file that it is in, without `.cu`; the kernel's name when it is not there. */
  readonly file?: string;
  /** CUDA: memory of a block whose size a launch gives, in bytes; none when it is not there. */
  readonly sharedBytes?: number;
  /** CUDA: blocks of a cluster. */
  readonly cluster?: number;
  /** CUDA: what the entry point reads or writes by tensor maps, its last parameters. */
  readonly maps?: readonly TensorMap[];
  /** The entry that runs before. */
  readonly before?: Grid;
}

/** A tensor map of the Tensor Memory Accelerator (CUDA driver API, cuTensorMapEncodeTiled). */
export interface TensorMap {
  /** The argument or scratch array in whose memory it lies. */
  readonly arg: string;
  readonly dtype: StorageType;
  /** Innermost first, products of extents. */
  readonly dims: readonly (readonly Extent[])[];
  /** What the second dim has beside that. */
  readonly plus?: number;
  /** In elements, of all dims but the innermost. */
  readonly strides: readonly (readonly Extent[])[];
  /** Elements of a copy in each dim. */
  readonly box: readonly number[];
  /** Bytes of the pattern in which shared memory is permuted. */
  readonly swizzle: 0 | 32 | 64 | 128;
}

/** An entry point of a kernel's file. */
export interface Entry extends Grid {
  /** The entry is taken where this product is at most so large; without, in all other cases. */
  readonly upTo?: { readonly product: readonly Extent[]; readonly most: number };
  /** CUDA: the only architecture that has it (`sm_90a`). */
  readonly only?: string;
}

export interface Scratch {
  readonly shape: readonly Extent[];
  /** Elements beside those of the shape. */
  readonly plus?: number;
  /** Whether each workgroup has one. */
  readonly each: boolean;
  /** The entry point whose workgroups have them, where others need none. */
  readonly of?: string;
  readonly part?: number;
  /** Of its elements; words of 4 bytes when it is not there. */
  readonly dtype?: StorageType;
}

export interface SimtKernel {
  readonly name: string;
  /** WebGPU: their places follow the extents in the launch's uniform. CUDA: pointers that follow the extents. */
  readonly args: readonly string[];
  /** Those of them that it writes. */
  readonly writes: readonly string[];
  readonly extents: readonly string[];
  /** WebGPU: memory that the threads of a workgroup share. */
  readonly workgroupBytes?: number;
  /** Arrays in the arena: of the launch, or one for each workgroup (of a part). */
  readonly scratch: readonly Scratch[];
  /** In the order in which they are looked at. Of a kernel of parts: the one that runs all of them, if there is one. */
  readonly entries: readonly Entry[];
  /** The entry points of each part. All of them run at once where each would take its first one. */
  readonly parts?: readonly (readonly Entry[])[];
  /** CUDA: how a kernel of lists runs for many of them at once (`LaunchProgram.together`). */
  readonly lists?: ListsEntry;
}

/**
 * An entry point whose workgroups, or those of the one before it, are shared out among lists: each has as many as it would have alone.
 * Its last parameter is a table of lists, by value: the first workgroup of each, how many elements it has, and its arguments.
 */
export interface ListsEntry {
  /** With `before`, it has one workgroup for each list. */
  readonly entry: Entry;
  /** Lists that a table has room for. */
  readonly most: number;
  /** The arguments that each list has for itself; the others are parameters as usual. */
  readonly args: readonly string[];
}

export interface SimtKernels {
  readonly format: 1;
  readonly kernels: readonly SimtKernel[];
}

/** How many items an entry point has in a launch. */
export function itemsOf(entry: Grid, sizes: Sizes): number {
  return entry.workgroups.reduce((n, { of, by = 1, plus = 0 }) => n * (Math.ceil(productOf(of, sizes) / by) + plus), 1);
}

/** What a launch is for the sizes that it has. */
export interface Work {
  /** What a launch gives first, for each part: the items of its entry point, and of the one that runs before. */
  readonly items: readonly number[];
  readonly runs: readonly Run[];
}

/** Entry points that run one after the other, with so many workgroups. */
export interface Run {
  readonly grids: readonly { readonly grid: Grid; readonly groups: number }[];
  /** The most workgroups of one of them. */
  readonly groups: number;
  /** The parts of the kernel that it runs. */
  readonly parts: readonly number[];
}

export function workOf(kernel: SimtKernel, sizes: Sizes): Work {
  const chosen = (kernel.parts ?? [kernel.entries]).map((entries) => entryFor(kernel.name, entries, sizes));
  const own = chosen.map((entry) => itemsOf(entry, sizes));
  const items = chosen.flatMap(({ before }, i) => [own[i]!, before === undefined ? 0 : itemsOf(before, sizes)]);
  const [all] = kernel.parts === undefined ? [] : kernel.entries;
  if (all !== undefined && chosen.every((entry, i) => entry === kernel.parts![i]![0])) {
    const groups = own.reduce((a, b) => a + b, 0);
    return { items, runs: groups === 0 ? [] : [{ grids: [{ grid: all, groups }], groups, parts: [...own.keys()] }] };
  }
  const runs = chosen.flatMap((entry, part): Run[] => {
    if (own[part] === 0) return [];
    const grids = inOrder(entry).map((grid) => ({
      grid,
      groups: Math.min(itemsOf(grid, sizes), grid.most ?? Infinity),
    }));
    return [{ grids, groups: Math.max(...grids.map(({ groups }) => groups)), parts: [part] }];
  });
  return { items, runs };
}

/** An entry point behind all that run before it. */
export function inOrder(entry: Grid): Grid[] {
  return entry.before === undefined ? [entry] : [...inOrder(entry.before), entry];
}

/** The entry point for the sizes of a launch. */
function entryFor(kernel: string, entries: readonly Entry[], sizes: Sizes): Entry {
  // No tensor map has a dim of 0: a sum of no terms goes to an entry point without one.
  const isEmpty = (one: Entry): boolean =>
    inOrder(one).some(({ maps = [] }) => maps.some(({ dims }) => dims.some((dim) => productOf(dim, sizes) === 0)));
  const entry = entries.find(
    (one) => (one.upTo === undefined || productOf(one.upTo.product, sizes) <= one.upTo.most) && !isEmpty(one),
  );
  if (entry === undefined) throw new Error(`the kernel ${kernel} has no entry point for ${JSON.stringify(sizes)}`);
  return entry;
}

export function productOf(extents: readonly Extent[], sizes: Sizes): number {
  return extents.reduce<number>((n, extent) => n * sizeOf(extent, sizes), 1);
}

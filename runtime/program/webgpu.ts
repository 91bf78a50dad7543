/** What a runtime has to know about WGSL kernels: `kernels/webgpu.json` of a package. */
import { type Extent, type Sizes, sizeOf } from "./launch.ts";

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
}

/** An entry point of a kernel's file. */
export interface Entry extends Grid {
  /** The entry is taken where this product is at most so large; without, in all other cases. */
  readonly upTo?: { readonly product: readonly Extent[]; readonly most: number };
  /** The entry that runs before. */
  readonly before?: Grid;
}

export interface WebGpuKernel {
  readonly name: string;
  /** Their places follow the extents in the launch's uniform. */
  readonly args: readonly string[];
  /** Those of them that it writes. */
  readonly writes: readonly string[];
  readonly extents: readonly string[];
  /** Arrays in the arena: of the launch, or one for each workgroup. */
  readonly scratch: readonly { readonly shape: readonly Extent[]; readonly each: boolean }[];
  /** In the order in which they are looked at. */
  readonly entries: readonly Entry[];
}

export interface WebGpuKernels {
  readonly format: 1;
  readonly kernels: readonly WebGpuKernel[];
}

/** How many items an entry point has in a launch. */
export function itemsOf(entry: Grid, sizes: Sizes): number {
  return entry.workgroups.reduce((n, { of, by = 1, plus = 0 }) => n * (Math.ceil(productOf(of, sizes) / by) + plus), 1);
}

/** How many workgroups run at once, at most. */
export function workgroupsOf(entry: Grid, sizes: Sizes): number {
  return Math.min(itemsOf(entry, sizes), entry.most ?? Infinity);
}

/** The entry point for the sizes of a launch. */
export function entryFor(kernel: WebGpuKernel, sizes: Sizes): Entry {
  const entry = kernel.entries.find(({ upTo }) => upTo === undefined || productOf(upTo.product, sizes) <= upTo.most);
  if (entry === undefined) throw new Error(`the kernel ${kernel.name} has no entry point for ${JSON.stringify(sizes)}`);
  return entry;
}

export function productOf(extents: readonly Extent[], sizes: Sizes): number {
  return extents.reduce<number>((n, extent) => n * sizeOf(extent, sizes), 1);
}

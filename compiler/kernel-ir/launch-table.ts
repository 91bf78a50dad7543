/** What each launch of a program is and costs, and which layer of the model it belongs to. */
import { liveBytes } from "../../runtime/program/arena.ts";
import { boundExtents, type LaunchProgram, type Sizes, sizeOf } from "../../runtime/program/launch.ts";
import { type CostOptions, type KernelCost, programCost } from "./cost.ts";
import type { Axis, Kernel } from "./types.ts";

export interface LaunchRow extends KernelCost {
  readonly kernel: string;
  readonly family: Kernel["family"];
  /** Work items: rows, results of a product, columns, rows of planes; 1 for `serial`; those of all parts. */
  readonly items: number;
  /** Bytes of temps that are alive while it runs. */
  readonly arena: number;
  /** The layer of a stack, by its path: `trunk.3`. Absent before, between and behind stacks. */
  readonly layer?: string;
  readonly note?: string;
}

/** The launches in their order. */
export function launchRows(
  program: LaunchProgram,
  kernels: readonly Kernel[],
  sizes: Sizes,
  options: CostOptions = {},
): LaunchRow[] {
  const byName = new Map(kernels.map((kernel) => [kernel.name, kernel]));
  const costs = programCost(program, kernels, sizes, options);
  const arena = liveBytes(program, sizes);
  const layers = layersOf(program, byName);
  return program.launches.map((launch, i) => {
    const { kernel: name, note } = launch;
    const kernel = byName.get(name)!;
    const layer = layers[i];
    return {
      kernel: name,
      family: kernel.family,
      // Of all blocks together: their dim has the size that it has in the call.
      items: itemsOf(kernel, boundExtents(launch, kernel, sizes)),
      ...costs[i]!,
      arena: arena[i]!,
      ...(layer === undefined ? {} : { layer }),
      ...(note === undefined ? {} : { note }),
    };
  });
}

function itemsOf(kernel: Kernel, sizes: Sizes): number {
  const volume = (axes: readonly Axis[]): number => axes.reduce((n, { extent }) => n * sizeOf(extent, sizes), 1);
  switch (kernel.family) {
    case "rows":
      return volume(kernel.rows);
    case "gemm":
      return volume([...kernel.batch, ...kernel.m, ...kernel.n]);
    case "columns":
      return volume(kernel.columns);
    case "plane":
      return volume([...kernel.batch, ...kernel.rows]);
    case "serial":
      return 1;
    case "parts":
      return kernel.parts.reduce((sum, part) => sum + itemsOf(part, sizes), 0);
  }
}

/**
 * A launch belongs to the layer whose params, states or caches it touches, the last one where there are several (the norm of the
 * next layer is in one kernel with the end of this one); with none of them, to that of what it reads.
 */
function layersOf({ buffers, launches }: LaunchProgram, kernels: ReadonlyMap<string, Kernel>): (string | undefined)[] {
  const rank = new Map<string, number>();
  const madeIn = new Map<number, string>();
  const last = (found: readonly string[]): string | undefined =>
    found.reduce<string | undefined>((a, b) => (a === undefined || rank.get(b)! > rank.get(a)! ? b : a), undefined);
  return launches.map(({ kernel, args }) => {
    const kept = args.filter((arg) => ["param", "state", "cache"].includes(buffers[arg]!.kind));
    const named = kept.flatMap((arg) => /^(?:[^.]+\.)*?\d+(?=\.)/.exec(buffers[arg]!.name) ?? []);
    for (const layer of named) if (!rank.has(layer)) rank.set(layer, rank.size);
    const read = args.flatMap((arg) => madeIn.get(arg) ?? []);
    const layer = named.length > 0 ? last(named) : kept.length > 0 ? undefined : last(read);
    for (const [i, arg] of args.entries()) {
      if (kernels.get(kernel)!.args[i]!.access === "read") continue;
      if (layer === undefined) madeIn.delete(arg);
      else madeIn.set(arg, layer);
    }
    return layer;
  });
}

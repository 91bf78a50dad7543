import { type BufferSpec, type LaunchProgram, type Sizes, sizeOf } from "./launch.ts";

/** A launch as it runs: those in blocks once for each block of rows. */
export interface Step {
  /** The index of the launch. */
  readonly launch: number;
  /** The run-time dims, the one of the block with the size that it has there. */
  readonly sizes: Sizes;
  readonly block?: { readonly dim: string; readonly first: number };
}

/** Every launch of a call, in order. */
export function stepsOf({ launches, blocks = [] }: LaunchProgram, sizes: Sizes): Step[] {
  const steps: Step[] = [];
  for (let launch = 0; launch < launches.length; launch++) {
    const inside = blocks.find(({ first }) => first === launch);
    if (inside === undefined) {
      steps.push({ launch, sizes });
      continue;
    }
    const { dim, rows, count } = inside;
    const all = sizeOf(dim, sizes);
    for (let first = 0; first < all; first += rows) {
      const own = { ...sizes, [dim]: Math.min(rows, all - first) };
      for (let i = launch; i < launch + count; i++) steps.push({ launch: i, sizes: own, block: { dim, first } });
    }
    launch += count - 1;
  }
  return steps;
}

/** The element of a buffer that a step begins at: the block's first row where the buffer holds all rows. */
export function firstElement({ shape, block: own }: BufferSpec, { block, sizes }: Step): number {
  if (block === undefined || own !== undefined || shape[0] !== block.dim) return 0;
  return shape.slice(1).reduce<number>((n, extent) => n * sizeOf(extent, sizes), block.first);
}

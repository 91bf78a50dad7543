/** Where everything of a call lies in the arena of a device whose launches have scratch arrays there. */
import { ALIGNMENT, planArena } from "../program/arena.ts";
import { productOf, type Scratch, type SimtKernel, type Work, workOf } from "../program/grids.ts";
import {
  boundExtents,
  elementsOf,
  type LaunchProgram,
  type Sizes,
  STORAGE_BYTES,
  type StorageType,
} from "../program/launch.ts";
import { stepsOf } from "../program/steps.ts";

/** In bytes. */
export interface Layout {
  /** Inputs, outputs and temps by the index of the buffer; -1 for others. */
  readonly offsets: readonly number[];
  /** Where the scratch arrays of a launch begin, and the last one ends: all launches use the same place. */
  readonly scratch: (
    kernel: SimtKernel,
    bound: Sizes,
    work: Work,
  ) => { readonly places: number[]; readonly end: number };
  readonly bytes: number;
}

/**
 * Inputs and outputs first, then temps by their lifetimes, then scratch.
 * @param kernels of each launch
 * @param stored what elements of a type are stored as
 */
export function planLayout(
  program: LaunchProgram,
  sizes: Sizes,
  kernels: readonly SimtKernel[],
  stored: (dtype: StorageType) => StorageType = (dtype) => dtype,
): Layout {
  let bytes = 0;
  const buffers = program.buffers.map((spec) => ({ ...spec, dtype: stored(spec.dtype) }));
  const offsets = buffers.map((spec) => {
    if (spec.kind !== "input" && spec.kind !== "output") return -1;
    const at = bytes;
    bytes += aligned(elementsOf(spec, sizes) * STORAGE_BYTES[spec.dtype]);
    return at;
  });
  const plan = planArena({ ...program, buffers }, sizes);
  for (const [buffer, offset] of plan.offsets.entries()) if (offset >= 0) offsets[buffer] = bytes + offset;
  const begin = bytes + plan.bytes;
  let scratch = 0;
  for (const step of stepsOf(program, sizes)) {
    const kernel = kernels[step.launch]!;
    if (kernel.scratch.length === 0) continue;
    const bound = boundExtents(program.launches[step.launch]!, kernel, step.sizes);
    const own = scratchBytes(kernel, bound, workOf(kernel, bound));
    scratch = Math.max(
      scratch,
      own.reduce((a, b) => a + b, 0),
    );
  }
  return {
    offsets,
    scratch: (kernel, bound, work) => {
      let at = begin;
      const places = scratchBytes(kernel, bound, work).map((size) => (at += size) - size);
      return { places, end: at };
    },
    bytes: begin + scratch,
  };
}

/** Of each scratch array, for all workgroups that run and have one. */
function scratchBytes(kernel: SimtKernel, bound: Sizes, { runs }: Work): number[] {
  const groups = ({ part, of }: Scratch): number => {
    const own = runs.filter((run) => part === undefined || run.parts.includes(part));
    const grids = own.flatMap((run) => run.grids).filter(({ grid }) => of === undefined || grid.name === of);
    return Math.max(0, ...grids.map((one) => one.groups));
  };
  return kernel.scratch.map((array) => {
    const { shape, plus = 0, each, dtype = "f32" } = array;
    return aligned((productOf(shape, bound) + plus) * STORAGE_BYTES[dtype] * (each ? groups(array) : 1));
  });
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

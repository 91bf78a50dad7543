import { planArena } from "../../program/arena.ts";
import { boundExtents, elementsOf, type LaunchProgram, type Sizes } from "../../program/launch.ts";
import { productOf, type SimtKernel, type Work, workOf } from "../../program/grids.ts";

/** Where everything of a call lies in the arena, in words. */
export interface Layout {
  /** Inputs, outputs and temps by the index of the buffer; -1 for others. */
  readonly offsets: readonly number[];
  /** Where the scratch arrays of a launch begin: all launches use the same place. */
  readonly scratch: (kernel: SimtKernel, bound: Sizes, work: Work) => number[];
  readonly words: number;
}

/** Inputs and outputs first, then temps by their lifetimes, then scratch. */
export function planWords(program: LaunchProgram, sizes: Sizes, kernels: readonly SimtKernel[]): Layout {
  let words = 0;
  const offsets = program.buffers.map((spec) => {
    if (spec.kind !== "input" && spec.kind !== "output") return -1;
    const at = words;
    words += elementsOf(spec, sizes);
    return at;
  });
  // Every element is a word, whatever its type.
  const widened = program.buffers.map((spec) => ({ ...spec, dtype: "f32" as const }));
  const plan = planArena({ ...program, buffers: widened }, sizes);
  for (const [buffer, offset] of plan.offsets.entries()) if (offset >= 0) offsets[buffer] = words + offset / 4;
  const begin = words + plan.bytes / 4;
  let scratch = 0;
  for (const [i, launch] of program.launches.entries()) {
    const kernel = kernels[i]!;
    if (kernel.scratch.length === 0) continue;
    const bound = boundExtents(launch, kernel, sizes);
    scratch = Math.max(
      scratch,
      scratchWords(kernel, bound, workOf(kernel, bound)).reduce((a, b) => a + b, 0),
    );
  }
  return {
    offsets,
    scratch: (kernel, bound, work) => {
      let at = begin;
      return scratchWords(kernel, bound, work).map((size) => (at += size) - size);
    },
    words: begin + scratch,
  };
}

/** Words of each scratch array, for all workgroups that run. */
function scratchWords(kernel: SimtKernel, bound: Sizes, { runs }: Work): number[] {
  const groups = (part: number | undefined): number =>
    Math.max(0, ...runs.filter((run) => part === undefined || run.parts.includes(part)).map((run) => run.groups));
  return kernel.scratch.map(({ shape, each, part }) => productOf(shape, bound) * (each ? groups(part) : 1));
}

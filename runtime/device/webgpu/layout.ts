import type { SimtKernel, Work } from "../../program/grids.ts";
import type { LaunchProgram, Sizes } from "../../program/launch.ts";
import { planLayout } from "../layout.ts";

/** Where everything of a call lies in the arena, in words. */
export interface Layout {
  /** Inputs, outputs and temps by the index of the buffer; -1 for others. */
  readonly offsets: readonly number[];
  /** Where the scratch arrays of a launch begin: all launches use the same place. */
  readonly scratch: (kernel: SimtKernel, bound: Sizes, work: Work) => number[];
  readonly words: number;
}

/** Every element is a word, whatever its type. */
export function planWords(program: LaunchProgram, sizes: Sizes, kernels: readonly SimtKernel[]): Layout {
  const { offsets, scratch, bytes } = planLayout(program, sizes, kernels, () => "f32");
  return {
    offsets: offsets.map((offset) => (offset < 0 ? -1 : offset / 4)),
    scratch: (kernel, bound, work) => scratch(kernel, bound, work).places.map((offset) => offset / 4),
    words: bytes / 4,
  };
}

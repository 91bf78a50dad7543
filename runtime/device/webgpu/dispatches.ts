/** What a program's call asks of the device, in order. */
import { boundExtents, type LaunchProgram, type Sizes } from "../../program/launch.ts";
import { firstElement, stepsOf } from "../../program/steps.ts";
import { type SimtKernel, workOf } from "../../program/grids.ts";
import type { Border } from "../elements.ts";
import type { Plans } from "../plans.ts";
import type { Layout } from "./layout.ts";
import type { Need, Space } from "./pipelines.ts";

/** A program that is loaded. */
export interface Loaded {
  readonly program: LaunchProgram;
  readonly layouts: Plans<Layout>;
  readonly border: Border;
  readonly kernels: readonly SimtKernel[];
  readonly spaces: readonly Space[];
  /** Where each buffer that is kept between calls begins, in words of its space; -1 for others. */
  readonly places: readonly number[];
}

export interface Dispatch {
  /** Of the program; none for what is not part of it. */
  readonly launch?: number;
  /** The entry points that run, one after the other, and their workgroups. */
  readonly grids: readonly { readonly need: Need; readonly groups: number }[];
  /** What the launch's uniform has. */
  readonly words: readonly number[];
}

export function dispatchesOf({ program, kernels, spaces, places }: Loaded, sizes: Sizes, layout: Layout): Dispatch[] {
  return stepsOf(program, sizes).flatMap((step) => {
    const launch = program.launches[step.launch]!;
    const kernel = kernels[step.launch]!;
    const bound = boundExtents(launch, kernel, step.sizes);
    const work = workOf(kernel, bound);
    const own = launch.args.map((buffer) => {
      const start = places[buffer]! >= 0 ? places[buffer]! : layout.offsets[buffer]!;
      return start + firstElement(program.buffers[buffer]!, step);
    });
    const ofKernel = kernel.extents.map((name) => bound[name]!);
    const words = [...work.items, ...ofKernel, ...own, ...layout.scratch(kernel, bound, work)];
    return work.runs.map(({ grids }) => ({
      launch: step.launch,
      grids: grids.map(({ grid, groups }) => ({
        need: { kernel: kernel.name, entry: grid.name, spaces: launch.args.map((b) => spaces[b]!) },
        groups,
      })),
      words,
    }));
  });
}

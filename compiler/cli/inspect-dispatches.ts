/** What the launches of a program are on WebGPU. */
import { planWords } from "../../runtime/device/webgpu/layout.ts";
import { type SimtKernels, workOf } from "../../runtime/program/grids.ts";
import { boundExtents, type LaunchProgram, type Sizes } from "../../runtime/program/launch.ts";
import { stepsOf } from "../../runtime/program/steps.ts";
import type { Kernel } from "../kernel-ir/types.ts";
import { printWebGpu } from "../targets/webgpu/print.ts";

export interface Dispatches {
  /** Entry points that run, in their order: `sort`, `few`. */
  readonly entries: readonly string[];
  /** How often one is dispatched: a launch in blocks is many. */
  readonly dispatches: number;
  /** Of all of them. */
  readonly workgroups: number;
}

/** Of each launch, in their order, and the bytes of the arena: every element takes a word there. */
export function onWebGpu(
  program: LaunchProgram,
  kernels: readonly Kernel[],
  sizes: Sizes,
): { readonly launches: readonly Dispatches[]; readonly arenaBytes: number } {
  const table = JSON.parse(printWebGpu(kernels).get("webgpu.json")!) as SimtKernels;
  const named = new Map(table.kernels.map((kernel) => [kernel.name, kernel]));
  const own = program.launches.map(({ kernel }) => named.get(kernel)!);
  const launches = program.launches.map(() => ({ entries: [] as string[], dispatches: 0, workgroups: 0 }));
  for (const step of stepsOf(program, sizes)) {
    const found = launches[step.launch]!;
    const kernel = own[step.launch]!;
    const { runs } = workOf(kernel, boundExtents(program.launches[step.launch]!, kernel, step.sizes));
    for (const { grid, groups } of runs.flatMap(({ grids }) => grids)) {
      if (!found.entries.includes(grid.name)) found.entries.push(grid.name);
      found.dispatches++;
      found.workgroups += groups;
    }
  }
  return { launches, arenaBytes: planWords(program, sizes, own).words * 4 };
}

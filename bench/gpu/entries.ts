/** The entry points that a program runs, and only those: nothing else has to be compiled. */
import { entriesFor } from "../../runtime/device/cuda/launches.ts";
import { type Entry, type SimtKernel, workOf } from "../../runtime/program/grids.ts";
import { boundExtents, type LaunchProgram, type Sizes } from "../../runtime/program/launch.ts";
import { stepsOf } from "../../runtime/program/steps.ts";

export interface Used {
  readonly kernels: readonly SimtKernel[];
  /** Files that hold them, without `.cu`. */
  readonly files: ReadonlySet<string>;
  /** Their symbols, in the order in which they run. */
  readonly symbols: readonly string[];
}

/**
 * What a call of these sizes runs on a GPU of these architectures. Kernels of parts stay whole.
 * @param others kernels that stay as they are
 */
export function usedEntries(
  all: readonly SimtKernel[],
  program: LaunchProgram,
  { sizes, architectures, others }: UsedOptions,
): Used {
  const there = new Map(all.map((kernel) => [kernel.name, entriesFor(kernel, architectures)]));
  const symbols = new Set<string>();
  for (const step of stepsOf(program, sizes)) {
    const launch = program.launches[step.launch]!;
    const kernel = there.get(launch.kernel)!;
    const { runs } = workOf(kernel, boundExtents(launch, kernel, step.sizes));
    for (const { grids } of runs) for (const { grid } of grids) symbols.add(`${kernel.name}_${grid.name}`);
  }
  const named = new Set([...program.launches.map(({ kernel }) => kernel), ...others]);
  const kernels = [...there.values()].flatMap((kernel): SimtKernel[] => {
    if (!named.has(kernel.name)) return [];
    if (kernel.parts !== undefined || others.has(kernel.name)) return [kernel];
    return [{ ...kernel, entries: kernel.entries.filter(({ name }) => symbols.has(`${kernel.name}_${name}`)) }];
  });
  const files = kernels.flatMap(({ name, entries, parts = [] }) =>
    [...entries, ...parts.flat()].flatMap((entry: Entry) => [
      entry.file ?? name,
      ...(entry.before === undefined ? [] : [entry.before.file ?? name]),
    ]),
  );
  return { kernels, files: new Set(files), symbols: [...symbols] };
}

export interface UsedOptions {
  readonly sizes: Sizes;
  readonly architectures: readonly string[];
  readonly others: ReadonlySet<string>;
}

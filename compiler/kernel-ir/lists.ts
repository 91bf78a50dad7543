/**
 * Kernels of lists of elements (compiler/lower/flatten.ts): optimizers, casts, sums of squares. Shapes do not matter to them, so
 * launches for lists of all lengths are of one kernel, and a device may run neighboring ones at once (`LaunchProgram.together`).
 */
import type { Arg, Axis, Kernel, SoloKernel } from "./types.ts";

/** The axis of a list; its extent is the only one that such a kernel has. */
export const ELEMENT: Axis = { name: "element", extent: "elements" };

export function isOfLists(kernel: Pick<Kernel, "family" | "extents">): boolean {
  const { family, extents } = kernel;
  return (family === "rows" || family === "columns") && extents.length === 1 && extents[0] === ELEMENT.extent;
}

/** What each list has for itself: its elements, and single values that are made of them. The others are the same for all lists. */
export function isOfOneList({ access, shape }: Arg): boolean {
  return shape.length > 0 || access !== "read";
}

/** The arguments that lists of one launch have for themselves, and those that they share. */
export function listArgs({ args }: Pick<SoloKernel, "args">): { readonly own: Arg[]; readonly common: Arg[] } {
  return { own: args.filter(isOfOneList), common: args.filter((arg) => !isOfOneList(arg)) };
}

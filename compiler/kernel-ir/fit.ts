/** What of a lowered program a target can't run, and why. */
import { planArena } from "../../runtime/program/arena.ts";
import {
  type BufferSpec,
  elementsOf,
  type Extent,
  runTimeDim,
  type Sizes,
  STORAGE_BYTES,
  type StorageType,
} from "../../runtime/program/launch.ts";
import type { Capability } from "./capability.ts";
import type { Expr, Kernel, KernelModule, Local } from "./types.ts";

/**
 * A line for each kernel and buffer that does not fit; empty when the target runs all of it.
 * @param sizes run-time dims of the calls, for the bytes of buffers; without them only params and states are looked at
 */
export function misfits({ kernels, programs }: KernelModule, target: Capability, sizes: Sizes = {}): string[] {
  const large = new Map<string, string>();
  const crowded = new Map<string, number>();
  for (const launched of programs) {
    const { name: program, buffers, launches, dims } = launched;
    for (const { kernel, args } of launches)
      crowded.set(kernel, Math.max(crowded.get(kernel) ?? 0, bindingsOf(args, buffers, target)));
    if (target.arenaIsOne && dims.every((dim) => sizes[dim] !== undefined)) {
      const { bytes } = planArena(launched, sizes);
      if (bytes > target.largestBinding)
        large.set(`${program} arena`, `@${program}: the arena has ${bytes} bytes, and ${seen(target)}`);
    }
    for (const buffer of buffers) {
      const { kind, name, dtype, shape } = buffer;
      if (!shape.every((extent) => typeof extent === "number" || sizes[runTimeDim(extent).dim] !== undefined)) continue;
      const bytes = elementsOf(buffer, sizes) * STORAGE_BYTES[dtype];
      if (bytes <= target.largestBinding) continue;
      const what = kind === "param" || kind === "state" ? `${kind} ${name}` : `@${program}: ${kind} ${name}`;
      large.set(what, `${what} has ${bytes} bytes, and ${seen(target)}`);
    }
  }
  return [
    ...[...crowded].flatMap(([kernel, count]) =>
      count > target.bindings ? [`@${kernel}: ${count} buffers, and ${target.bindings} can be bound`] : [],
    ),
    ...kernels.flatMap((kernel) => kernelMisfits(kernel, target).map((why) => `@${kernel.name}: ${why}`)),
    ...large.values(),
  ];
}

/** How many buffers a launch binds. */
export function bindingsOf(args: readonly number[], buffers: readonly BufferSpec[], target: Capability): number {
  const given = [...new Set(args)];
  const temps = given.filter((buffer) => buffers[buffer]!.kind === "temp").length;
  return target.arenaIsOne && temps > 0 ? given.length - temps + 1 : given.length;
}

function seen({ target, largestBinding }: Capability): string {
  return `a kernel of ${target} sees ${largestBinding}`;
}

/** Why a target can't run a kernel, whatever it is launched with. */
function kernelMisfits(kernel: Kernel, target: Capability): string[] {
  const { args, family } = kernel;
  const why: string[] = [];
  if (!target.families.includes(family)) why.push(`there is no family ${family}`);
  if (kernel.family === "parts") return [...why, ...kernel.parts.flatMap((part) => kernelMisfits(part, target))];
  for (const { name, dtype, access } of args) {
    if (access !== "read" && !target.stored.includes(dtype)) why.push(`${name} is written as ${dtype}`);
  }
  for (const dtype of computedDtypes(kernel)) {
    if (!target.computed.includes(dtype)) why.push(`computes in ${dtype}`);
  }
  const locals = localsOf(kernel);
  if (!target.runTimeLocals) {
    for (const { name, shape } of locals) if (!isStatic(shape)) why.push(`the local ${name} has a size of the call`);
  }
  const bytes = localBytes(locals.filter(({ shape }) => isStatic(shape)));
  if (bytes > target.itemBytes) why.push(`locals of ${bytes} bytes, and an item has ${target.itemBytes}`);
  return why;
}

/** Locals that have to lie somewhere: a plane's values along its columns do not, and what is no array is in registers. */
export function localsOf(kernel: Kernel): readonly Local[] {
  if (!("locals" in kernel)) return [];
  const along = kernel.family === "plane" ? kernel.column.extent : undefined;
  return kernel.locals.filter(({ shape }) => shape.length > 0 && !shape.some((extent) => extent === along));
}

/** Bytes of locals of known sizes. */
export function localBytes(locals: readonly Local[]): number {
  return locals.reduce(
    (sum, { dtype, shape }) =>
      sum + (dtype === "index" ? 4 : STORAGE_BYTES[dtype]) * shape.reduce<number>((n, size) => n * Number(size), 1),
    0,
  );
}

export function isStatic(shape: readonly Extent[]): boolean {
  return shape.every((extent) => typeof extent === "number");
}

/** Narrow floats and codes compute in f32, and so do operators that only name what is stored. */
const IN_F32: readonly (StorageType | "index")[] = ["bf16", "f16", "f8e4m3", "i8", "i4"];

function computedDtypes(kernel: Kernel): Set<Local["dtype"]> {
  const found = new Set<Local["dtype"]>();
  const visit = (part: unknown): void => {
    if (part === null || typeof part !== "object") return;
    const { kind, dtype } = part as Expr & { dtype?: Local["dtype"] };
    if ((kind === "op" || kind === "load" || kind === "const") && dtype !== undefined)
      found.add(IN_F32.includes(dtype) ? "f32" : dtype);
    for (const inner of Object.values(part)) visit(inner);
  };
  visit(kernel);
  return found;
}

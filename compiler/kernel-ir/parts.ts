/** Kernels of several parts. */
import { renamed } from "./rename.ts";
import type { Arg, PartsKernel, SoloKernel } from "./types.ts";

export function partName(index: number): string {
  return `part_${index + 1}`;
}

/** The kernel of parts that agree about names already, without its name. */
export function together(parts: readonly SoloKernel[]): Pick<PartsKernel, "family" | "args" | "extents" | "parts"> {
  const args = new Map<string, Arg>();
  for (const arg of parts.flatMap((part) => part.args)) if (!args.has(arg.name)) args.set(arg.name, arg);
  const extents = [...new Set(parts.flatMap((part) => part.extents))].toSorted();
  return { family: "parts", args: [...args.values()], extents, parts };
}

/** A kernel without its name, and the buffers that its arguments are. */
export interface Given {
  readonly kernel: Omit<SoloKernel, "name" | "from">;
  readonly buffers: readonly number[];
}

/**
 * Several kernels as one: a buffer has one name in all of them, everything else a name of its own.
 * @returns the kernel, and the buffers of its arguments
 */
export function joined(given: readonly Given[]): {
  readonly kernel: Omit<PartsKernel, "name" | "from">;
  readonly buffers: readonly number[];
} {
  const nameOf = new Map<number, string>();
  const taken = new Set<string>();
  const fresh = (hint: string): string => {
    const base = hint.replace(/_\d+$/, "");
    let name = hint;
    for (let i = 2; taken.has(name); i++) name = `${base}_${i}`;
    taken.add(name);
    return name;
  };
  const parts = given.map(({ kernel, buffers }, i) => {
    const own = new Map<string, string>();
    for (const [at, { name }] of kernel.args.entries()) {
      const buffer = buffers[at]!;
      if (!nameOf.has(buffer)) nameOf.set(buffer, fresh(name));
      own.set(name, nameOf.get(buffer)!);
    }
    for (const name of insideNames(kernel as SoloKernel)) own.set(name, fresh(name));
    const solo = renamed(kernel, { store: (name) => own.get(name)! });
    return { ...solo, name: partName(i), from: [] } as unknown as SoloKernel;
  });
  return { kernel: together(parts), buffers: [...nameOf.keys()] };
}

/** The names of what a kernel has for itself. */
export function insideNames(kernel: SoloKernel): string[] {
  return [
    ...("locals" in kernel ? kernel.locals : []),
    ...(kernel.family === "gemm" ? [...(kernel.prologue?.locals ?? []), ...kernel.products] : []),
  ].map(({ name }) => name);
}

/** Kernels with other names for what they read and write. */
import type { Kernel } from "./types.ts";

export interface Renaming {
  /** Of an argument, a local or a product. */
  readonly store: (name: string) => string;
  readonly axis?: (name: string) => string;
}

/** A kernel without its own name, or a part of one. */
export function renamed<K extends Partial<Kernel>>(kernel: K, { store, axis = (name) => name }: Renaming): K {
  const copied = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(copied);
    if (typeof value !== "object" || value === null) return value;
    // An axis has a name and an extent, everything else with a name is a store.
    const isAxis = "extent" in value && "name" in value;
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => {
        if (typeof inner !== "string") return [key, copied(inner)];
        if (key === "axis" || (key === "name" && isAxis)) return [key, axis(inner)];
        return [key, key === "name" || key === "from" || key === "to" || key === "local" ? store(inner) : inner];
      }),
    );
  };
  return copied(kernel) as K;
}

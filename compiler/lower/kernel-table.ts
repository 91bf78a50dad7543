import type { BufferSpec } from "../../runtime/program/launch.ts";
import { renamed } from "../kernel-ir/rename.ts";
import type { Kernel } from "../kernel-ir/types.ts";
import type { Op } from "../tensor-ir/types.ts";
import { nameFor } from "./kernel-names.ts";
import { functionsOf } from "./provenance.ts";

/** Kernels of a module: two that differ only in names, and in where they came from, are one. */
export class KernelTable {
  readonly kernels: Kernel[] = [];
  readonly #byKey = new Map<string, { readonly name: string; readonly from: string[] }>();
  readonly #byName = new Map<string, Kernel>();
  readonly #names = new Map<string, number>();

  /**
   * @param ops what it computes
   * @param buffers what its arguments are in this launch
   * @returns its name
   */
  add(kernel: Omit<Kernel, "name" | "from">, ops: readonly Op[], buffers: readonly BufferSpec[]): string {
    const key = keyOf(kernel);
    let known = this.#byKey.get(key);
    if (known === undefined) {
      known = { name: this.#fresh(nameFor(kernel, ops, buffers)), from: [] };
      this.#byKey.set(key, known);
      const named = { ...kernel, ...known } as unknown as Kernel;
      this.kernels.push(named);
      this.#byName.set(known.name, named);
    }
    const { name, from } = known;
    from.push(...functionsOf(ops).filter((one) => !from.includes(one)));
    return name;
  }

  kernel(name: string): Kernel {
    return this.#byName.get(name)!;
  }

  /** The name, numbered where it is taken. */
  #fresh(name: string): string {
    const count = (this.#names.get(name) ?? 0) + 1;
    this.#names.set(name, count);
    return count === 1 ? name : `${name}_${count}`;
  }
}

/** The same for kernels that do the same, whatever the model calls what they read and write. */
function keyOf(kernel: Omit<Kernel, "name" | "from">): string {
  const numbered = (prefix: string): ((name: string) => string) => {
    const names = new Map<string, string>();
    return (name) => {
      const own = names.get(name) ?? `${prefix}${names.size}`;
      names.set(name, own);
      return own;
    };
  };
  return JSON.stringify(renamed(kernel, { store: numbered("x"), axis: numbered("i") }));
}

import { renamed } from "../kernel-ir/rename.ts";
import type { Kernel } from "../kernel-ir/types.ts";
import type { Op } from "../tensor-ir/types.ts";

/** Kernels of a module: two that differ only in names, and in where they came from, are one. */
export class KernelTable {
  readonly kernels: Kernel[] = [];
  readonly #byKey = new Map<string, string>();
  readonly #names = new Map<string, number>();

  /**
   * @param ops what it computes
   * @returns its name
   */
  add(kernel: Omit<Kernel, "name" | "from">, ops: readonly Op[]): string {
    const key = keyOf(kernel);
    let name = this.#byKey.get(key);
    if (name === undefined) {
      name = this.#fresh(kernel, ops);
      this.#byKey.set(key, name);
      this.kernels.push({ ...kernel, name, from: [] } as unknown as Kernel);
    }
    return name;
  }

  /** `rows_q_r_2`: the family and the last named value, numbered where it is taken. */
  #fresh({ family }: Pick<Kernel, "family">, ops: readonly Op[]): string {
    const named = ops.flatMap(({ results }) => results.flatMap(({ name }) => (name === undefined ? [] : [name])));
    const what = named.at(-1) ?? ops.at(-1)!.name.replace(/^.*\./, "");
    const base = `${family}_${what.replaceAll(/[^A-Za-z0-9]+/g, "_")}`;
    const count = (this.#names.get(base) ?? 0) + 1;
    this.#names.set(base, count);
    return count === 1 ? base : `${base}_${count}`;
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

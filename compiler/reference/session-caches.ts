import type { DimLabel, DType, Program } from "../tensor-ir/types.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import { isFloat } from "../tensor-ir/types.ts";
import { readInto } from "./ops/moves.ts";
import { product, type Tensor } from "./tensor.ts";

interface PhysicalCache {
  readonly dtype: DType;
  /** Of one row, in memory order. */
  readonly dims: readonly DimLabel[];
  readonly shape: readonly number[];
  /** The label of the rows: `S`. */
  readonly at: DimLabel;
  readonly data: Float32Array | Int32Array;
}

/** The caches of some programs as physical rows, which calls name by number. Floats of every dtype are held as f32. */
export class SessionCaches {
  readonly rows: number;
  readonly #caches = new Map<string, PhysicalCache>();

  constructor(programs: readonly Program[], rows: number) {
    this.rows = rows;
    for (const { ops, dims } of programs) {
      for (const { name, attrs, results } of ops) {
        if (name !== "cache.append") continue;
        const [cache, at] = [stringAttr(attrs, "cache"), stringAttr(attrs, "at")];
        const { dtype, dims: all } = results[0]!.type;
        const row = all.filter((label) => label !== at);
        const shape = row.map((label) => dims.get(label)!);
        const size = rows * product(shape);
        const data = isFloat(dtype) ? new Float32Array(size) : new Int32Array(size);
        this.#caches.set(cache, { dtype, dims: row, shape, at, data });
      }
    }
  }

  get rowBytes(): number {
    return [...this.#caches.values()].reduce((sum, { shape }) => sum + 4 * product(shape), 0);
  }

  /** The rows of every cache in this order, as the interpreter takes them. */
  gather(slots: readonly number[]): Map<string, Tensor> {
    const gathered = new Map<string, Tensor>();
    for (const [name, { dtype, dims, shape, at, data }] of this.#caches) {
      const width = product(shape);
      const rows = isFloat(dtype) ? new Float64Array(slots.length * width) : new Int32Array(slots.length * width);
      for (const [i, slot] of slots.entries()) rows.set(data.subarray(slot * width, (slot + 1) * width), i * width);
      gathered.set(name, { dtype, dims: [at, ...dims], shape: [slots.length, ...shape], data: rows });
    }
    return gathered;
  }

  /** Writes the last rows of what the interpreter kept to these physical rows. */
  scatter(kept: ReadonlyMap<string, Tensor>, slots: readonly number[]): void {
    for (const [name, rows] of kept) {
      const { dims, shape, at, data } = this.#caches.get(name)!;
      const width = product(shape);
      const count = rows.shape[rows.dims.indexOf(at)]!;
      const sizes = new Map([[at, count], ...dims.map((label, i) => [label, shape[i]!] as const)]);
      const ordered = { ...rows, dims: [at, ...dims], data: new Float64Array(count * width) };
      readInto(ordered, rows, sizes);
      const first = count - slots.length;
      for (const [i, slot] of slots.entries())
        data.set(ordered.data.subarray((first + i) * width, (first + i + 1) * width), slot * width);
    }
  }
}

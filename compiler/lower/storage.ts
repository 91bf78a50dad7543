import type { BufferKind, BufferSpec, Extent } from "../../runtime/program/launch.ts";
import type { Capability } from "../kernel-ir/capability.ts";
import { widened } from "../kernel-ir/expr.ts";
import { type DimLabel, isFloat, type Program, type TensorType, type Value } from "../tensor-ir/types.ts";
import type { CacheForm, StoredWeights } from "./stored-weights.ts";

/** Where a value lies: a buffer with the value's dims in memory order. */
export interface Stored {
  readonly buffer: number;
  readonly dims: readonly DimLabel[];
  /** Kept rows of a cache: the value's row s is the cache's row `slots[s]`. */
  readonly slots?: { readonly dim: DimLabel; readonly buffer: number };
}

/** What is not stored as the program declares it. */
export interface StoredForms {
  readonly weights: StoredWeights;
  /** What floats of the caches are stored in. */
  readonly caches: CacheForm | undefined;
}

/** The buffers of a launch program, and which value lies in which. */
export class Storage {
  readonly buffers: BufferSpec[] = [];
  readonly #program: Program;
  #bool: "bool" | "i32";
  readonly #forms: StoredForms;
  readonly #values = new Map<number, Stored>();
  readonly #named = new Map<string, number>();

  /**
   * @param target what temps are stored for: where it can't write a truth value alone, that is a number
   * @param forms params and caches that are not stored as the program declares them
   */
  constructor(program: Program, target: Capability | undefined, forms: StoredForms) {
    this.#program = program;
    this.#bool = target === undefined || target.stored.includes("bool") ? "bool" : "i32";
    this.#forms = forms;
  }

  /** The same buffers and places, for a trial. */
  copy(): Storage {
    const copy = new Storage(this.#program, undefined, this.#forms);
    copy.#bool = this.#bool;
    copy.buffers.push(...this.buffers);
    for (const [id, stored] of this.#values) copy.#values.set(id, stored);
    for (const [key, buffer] of this.#named) copy.#named.set(key, buffer);
    return copy;
  }

  of(value: Value): Stored | undefined {
    return this.#values.get(value.id);
  }

  extent(label: DimLabel): Extent {
    const size = this.#program.dims.get(label);
    if (size === undefined) throw new Error(`there is no dim ${label}`);
    return size ?? label;
  }

  shape({ dims }: TensorType): Extent[] {
    return dims.map((label) => this.extent(label));
  }

  /** A buffer by kind and name; the same one each time. */
  named(kind: Exclude<BufferKind, "temp">, name: string, type: TensorType): number {
    const key = `${kind} ${name}`;
    const known = this.#named.get(key);
    if (known !== undefined) return known;
    const buffer =
      kind === "param"
        ? this.#param(name, type)
        : kind === "cache"
          ? this.#cache(name, type)
          : this.#add(kind, name, type);
    this.#named.set(key, buffer);
    return buffer;
  }

  /** The buffer with the scales of a quantized param. */
  scalesOf(buffer: number): number {
    return this.#named.get(`param ${this.buffers[buffer]!.quantized!.scales}`)!;
  }

  /** The buffer of a param or a state that the program has read before. */
  kept(name: string): number {
    const buffer = this.#named.get(`param ${name}`) ?? this.#named.get(`state ${name}`);
    if (buffer === undefined) throw new Error(`the program does not read ${name}`);
    return buffer;
  }

  put(value: Value, buffer: number): void {
    this.#values.set(value.id, { buffer, dims: value.type.dims });
  }

  /** Kept rows: row `s` of the value is row `slots[s]` of the cache. */
  putCached(value: Value, buffer: number, dim: DimLabel, slots: number): void {
    const rest = value.type.dims.filter((label) => label !== dim);
    this.#values.set(value.id, { buffer, dims: [dim, ...rest], slots: { dim, buffer: slots } });
  }

  /**
   * @param block the rows of a block when it holds no more than one
   * @param isWide whether it is stored as the local that it would be inside of a kernel: not rounded
   */
  temp(value: Value, block?: number, isWide = false): void {
    const { dtype, dims } = value.type;
    const stored = isWide ? widened(dtype) : dtype === "bool" ? this.#bool : dtype;
    this.put(value, this.#add("temp", `${value.name ?? "value"}.${value.id}`, { dtype: stored, dims }, block));
  }

  /** A param as it is stored: codes bring their scales with them. */
  #param(name: string, type: TensorType): number {
    const stored = this.#forms.weights.get(name);
    if (stored === undefined) return this.#add("param", name, type);
    if (!("group" in stored)) return this.#add("param", name, { ...type, dtype: stored.dtype });
    const { dtype, dim, group } = stored;
    const shape = this.shape(type);
    // A block that has the param has no use of its name, so nothing else is called like this.
    const scales = `${name}.scale`;
    const groups = Math.ceil(Number(shape[dim]) / group);
    this.#named.set(
      `param ${scales}`,
      this.buffers.push({ kind: "param", name: scales, dtype: "bf16", shape: shape.with(dim, groups) }) - 1,
    );
    return this.buffers.push({ kind: "param", name, dtype, shape, quantized: { scales, dim, group } }) - 1;
  }

  #cache(name: string, { dtype, dims }: TensorType): number {
    return this.#add("cache", name, { dtype: isFloat(dtype) ? (this.#forms.caches ?? dtype) : dtype, dims });
  }

  #add(kind: BufferKind, name: string, type: TensorType, block?: number): number {
    const rows = block === undefined ? {} : { block };
    return this.buffers.push({ kind, name, dtype: type.dtype, shape: this.shape(type), ...rows }) - 1;
  }
}

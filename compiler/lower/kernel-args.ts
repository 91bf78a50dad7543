import type { Extent, StorageType } from "../../runtime/program/launch.ts";
import type { Arg, Axis, Expr, Local, Target } from "../kernel-ir/types.ts";
import type { DimLabel, Value } from "../tensor-ir/types.ts";
import { axis, div, extent, index, load, op, type Ranges, toIndex, widened } from "../kernel-ir/expr.ts";
import type { Point } from "./reader.ts";
import type { Storage } from "./storage.ts";

/** What a kernel under construction touches: arguments, locals, symbolic extents, axes. */
export class KernelArgs {
  readonly #storage: Storage;
  readonly #args = new Map<
    number,
    { name: string; dtype: StorageType; shape: readonly Extent[]; read: boolean; written: boolean }
  >();
  readonly #locals = new Map<number, Local & { readonly dims: readonly DimLabel[] }>();
  readonly #taken = new Set<string>();
  readonly #extents = new Set<string>();
  readonly #ranges = new Map<string, number>();

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  extent(label: DimLabel): Extent {
    return this.#storage.extent(label);
  }

  size(label: DimLabel): Expr {
    return extent(this.#noted(this.extent(label)));
  }

  /** Symbolic extents that expressions and loops use have to be given with a launch. */
  #noted(size: Extent): Extent {
    if (typeof size === "string") this.#extents.add(size);
    return size;
  }

  readonly ranges: Ranges = (name) => this.#ranges.get(name);

  /** The axis that runs over a dim. */
  axis(label: DimLabel): Axis {
    const size = this.#noted(this.extent(label));
    if (typeof size === "number") this.#ranges.set(label, size);
    return { name: label, extent: size };
  }

  /** Axes over dims, and the point that they stand for. */
  point(labels: readonly DimLabel[]): Map<DimLabel, Expr> {
    return new Map(labels.map((label) => [label, this.extent(label) === 1 ? index(0) : axis(this.axis(label).name)]));
  }

  load(value: Value, point: Point): Expr {
    const local = this.#locals.get(value.id);
    if (local !== undefined) return load(local.name, indices(local.dims, point), local.dtype);
    const stored = this.#storage.of(value);
    if (stored === undefined) throw new Error(`%${value.id} is in no buffer`);
    const { kind, dtype, quantized } = this.#storage.buffers[stored.buffer]!;
    const arg = this.#arg(stored.buffer, value, "read");
    const at = this.#address(value, point);
    const element = load(arg, at, dtype);
    const isWide = kind === "temp" && dtype === inLocal(value.type.dtype);
    if (isWide || dtype === value.type.dtype) return element;
    if (quantized === undefined) return op("cast", [element], value.type.dtype);
    const { dim, group } = quantized;
    const scales = this.#arg(this.#storage.scalesOf(stored.buffer), undefined, "read");
    const scale = load(scales, at.with(dim, div(at[dim]!, index(group), this.ranges)), "bf16");
    return op("mul", [op("cast", [element], "f32"), op("cast", [scale], "f32")], value.type.dtype);
  }

  /** An element of a program input that no op of the program reads. */
  input(name: string, dtype: "i32" | "f32", at?: Expr): Expr {
    const buffer = this.#storage.named("input", name, { dtype, dims: at === undefined ? [] : ["T"] });
    return load(this.#arg(buffer, undefined, "read"), at === undefined ? [] : [at], dtype);
  }

  /** Where a value's element goes. */
  target(value: Value, point: Point): Target {
    const local = this.#locals.get(value.id);
    if (local !== undefined) return { to: local.name, at: indices(local.dims, point) };
    const stored = this.#storage.of(value)!;
    return { to: this.#arg(stored.buffer, value, "write"), at: this.#address(value, point) };
  }

  /** Where a row of this call goes in a cache: `rows` is the input with the physical row of each token. */
  cacheTarget(buffer: number, value: Value, token: Expr, rest: readonly Expr[]): Target {
    return { to: this.#arg(buffer, value, "write"), at: [toIndex(this.input("cache.row", "i32", token)), ...rest] };
  }

  local(value: Value, dims: readonly DimLabel[]): void {
    const name = this.fresh(value.name ?? "x");
    const dtype = inLocal(value.type.dtype);
    this.#locals.set(value.id, { name, dtype, shape: dims.map((label) => this.extent(label)), dims });
  }

  hasLocal(value: Value): boolean {
    return this.#locals.has(value.id);
  }

  localName(value: Value): string {
    return this.#locals.get(value.id)!.name;
  }

  /** The value takes the place of another one that nobody reads any more. */
  alias(value: Value, other: Value): void {
    this.#locals.set(value.id, this.#locals.get(other.id)!);
  }

  scratch(name: string, dtype: Local["dtype"], dims: readonly DimLabel[]): Local {
    const local = { name: this.fresh(name), dtype, shape: dims.map((label) => this.extent(label)), dims };
    this.#locals.set(-1 - this.#locals.size, local);
    return local;
  }

  /** Ids of the values that lie in locals, by the names of these; scratch is of no value. */
  localValues(): Map<string, number> {
    return new Map([...this.#locals].flatMap(([id, { name }]) => (id < 0 ? [] : [[name, id] as const])));
  }

  locals(): Local[] {
    return [...new Set(this.#locals.values())].map(({ name, dtype, shape }) => ({ name, dtype, shape }));
  }

  /** The symbolic extents that the kernel needs to know: those of its loops, arguments and locals. */
  extents(): string[] {
    const shapes = [...this.#args.values(), ...this.#locals.values()].map(({ shape }) => shape);
    const all = new Set([...this.#extents, ...shapes.flat()]);
    return [...all].filter((size): size is string => typeof size === "string" && size !== "cache").toSorted();
  }

  args(): Arg[] {
    return [...this.#args.values()].map(({ name, dtype, shape, read, written }) => ({
      name,
      dtype,
      shape,
      access: written ? (read ? "update" : "write") : "read",
    }));
  }

  buffers(): number[] {
    return [...this.#args.keys()];
  }

  #address(value: Value, point: Point): Expr[] {
    const stored = this.#storage.of(value)!;
    const { slots } = stored;
    return stored.dims.map((label) => {
      const at = point.get(label);
      if (at === undefined) throw new Error(`%${value.id} is read without an index for ${label}`);
      if (slots === undefined || slots.dim !== label) return at;
      return toIndex(load(this.#arg(slots.buffer, undefined, "read"), [at], "i32"));
    });
  }

  #arg(buffer: number, value: Value | undefined, access: "read" | "write"): string {
    const spec = this.#storage.buffers[buffer]!;
    let arg = this.#args.get(buffer);
    if (arg === undefined) {
      const hint = spec.kind === "temp" ? (value?.name ?? "x") : spec.name;
      const shape = spec.kind === "cache" ? ["cache", ...spec.shape] : spec.shape;
      arg = { name: this.fresh(hint), dtype: spec.dtype, shape, read: false, written: false };
      this.#args.set(buffer, arg);
    }
    arg[access === "read" ? "read" : "written"] = true;
    return arg.name;
  }

  /** A name that no argument or local has: the last part of a path, numbered where it is taken. */
  fresh(hint: string): string {
    const last = /^\d*$/.test(hint.slice(hint.lastIndexOf(".") + 1)) ? hint : hint.slice(hint.lastIndexOf(".") + 1);
    const base = last.replaceAll(/[^A-Za-z0-9]/g, "_").replace(/^(\d)/, "_$1");
    let name = base;
    for (let i = 2; this.#taken.has(name); i++) name = `${base}_${i}`;
    this.#taken.add(name);
    return name;
  }
}

/** What lives in a row is never stored: there is no reason to round it. */
export function inLocal(dtype: StorageType): StorageType {
  return widened(dtype);
}

function indices(dims: readonly DimLabel[], point: Point): Expr[] {
  return dims.map((label) => point.get(label)!);
}

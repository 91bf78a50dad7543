/** Scalar expressions in the language of a target: what is used twice gets a name. */
import { dtypeOf, INFIX, known, mergedIndices } from "../kernel-ir/expr.ts";
import type { Arg, Expr, Local, Reduction, ScalarType } from "../kernel-ir/types.ts";
import type { Lines } from "../emit/lines.ts";
import type { Extent } from "../../runtime/program/launch.ts";

/** What differs between the languages that kernels are printed in. */
export interface Language {
  literal(value: number | boolean, dtype: ScalarType): string;
  /** The element of an argument or of an array of locals at an offset. */
  load(store: Arg | Local, offset: string): string;
  /** An operator that is not infix. */
  op(expr: Expr & { kind: "op" }, operands: readonly string[]): string;
  /** An infix operator, where the language does not write it like all others. */
  infix?(expr: Expr & { kind: "op" }, symbol: string, operands: readonly string[]): string | undefined;
  /** @param operands element, seed and step */
  random(expr: Expr & { kind: "random" }, operands: readonly string[]): string;
  /** A statement that gives a value a name. */
  named(name: string, dtype: ScalarType, text: string): string;
}

/** What a reduction of nothing is. */
export function startOf({ literal }: Language, reduction: Reduction, dtype: ScalarType): string {
  return literal(reduction === "sum" ? 0 : reduction === "max" ? -Infinity : Infinity, dtype);
}

/** Names in generated code of what a kernel has. Extents are upper case as in the text, axes lower case. */
export class Names {
  readonly #axes = new Map<string, string>();
  readonly #stores = new Map<string, Arg | Local>();
  readonly #scaled: Scaled;

  /** @param scaled an index times a stride */
  constructor(stores: readonly (Arg | Local)[], scaled: Scaled = (index, stride) => `${index} * ${stride}`) {
    this.#scaled = scaled;
    this.declare(stores);
  }

  /** The same names of axes, and other stores in the place of some. */
  redeclared(stores: readonly (Arg | Local)[]): Names {
    const names = new Names([...this.#stores.values(), ...stores], this.#scaled);
    for (const [axis, name] of this.#axes) names.#axes.set(axis, name);
    return names;
  }

  declare(stores: readonly (Arg | Local)[]): void {
    for (const store of stores) this.#stores.set(store.name, store);
  }

  axis(name: string): string {
    const known = this.#axes.get(name);
    if (known !== undefined) return known;
    const base = `i_${name.replaceAll(/[^A-Za-z0-9]/g, "_")}`;
    const taken = new Set(this.#axes.values());
    let fresh = base;
    for (let i = 2; taken.has(fresh); i++) fresh = `${base}_${i}`;
    this.#axes.set(name, fresh);
    return fresh;
  }

  /** Gives an axis a name. */
  call(axis: string, name: string): void {
    this.#axes.set(axis, name);
  }

  /** A name for a variable of the printer that no argument or local has. */
  local(hint: string): string {
    let name = hint;
    while (this.#stores.has(name)) name += "_";
    return name;
  }

  extent(size: Extent): string {
    return String(size);
  }

  store(name: string): Arg | Local {
    const store = this.#stores.get(name);
    if (store === undefined) throw new Error(`the kernel has no argument or local ${name}`);
    return store;
  }

  /** The place of an element in memory, row-major. */
  offset(name: string, at: readonly Expr[], print: (expr: Expr) => string): string {
    const { shape } = this.store(name);
    const merged = mergedIndices(at, shape);
    const parts = merged.flatMap((x, i) => {
      if (known(x) === 0) return [];
      const text = print(x);
      const strides = shape.slice(i + 1);
      const fixed = strides.reduce<number>((n, s) => (typeof s === "number" ? n * s : n), 1);
      const symbolic = strides.filter((s) => typeof s === "string");
      const factors = [...(fixed === 1 ? [] : [String(fixed)]), ...symbolic];
      if (factors.length === 0) return [text];
      // An index that stands for several dims runs as far as all of them.
      let first = i;
      while (first > 0 && known(merged[first - 1]!) === 0 && known(at[first - 1]!) !== 0) first--;
      const end = sizeOf(shape.slice(first));
      return [this.#scaled(parenthesized(text), factors.join(" * "), end)];
    });
    return parts.length === 0 ? "0" : parts.join(" + ");
  }
}

/** @param end what the product is smaller than, where that is known */
type Scaled = (index: string, stride: string, end: number | undefined) => string;

function sizeOf(shape: readonly Extent[]): number | undefined {
  return shape.reduce<number | undefined>(
    (n, size) => (n === undefined || typeof size === "string" ? undefined : n * size),
    1,
  );
}

function parenthesized(text: string): string {
  return /^[A-Za-z0-9_]+$/.test(text) ? text : `(${text})`;
}

/** Prints expressions into lines: names go above, in the innermost loop that they are needed in. */
export class Scalars {
  readonly #names: Names;
  readonly #ids = new Map<string, number>();
  /** Of expressions that were seen: each is asked for by everything around it. */
  readonly #seen = new WeakMap<Expr, number>();
  readonly #uses = new Map<number, number>();
  readonly #printed = new Map<number, string>();
  readonly #lines: Lines;
  readonly #fresh: () => string;
  readonly #language: Language;

  constructor(language: Language, names: Names, lines: Lines, fresh: () => string) {
    this.#language = language;
    this.#names = names;
    this.#lines = lines;
    this.#fresh = fresh;
  }

  /** Counts the uses of everything in the expressions; then each may be printed. */
  prepare(...exprs: readonly Expr[]): void {
    for (const expr of exprs) this.#count(expr);
  }

  print(expr: Expr): string {
    const id = this.#id(expr);
    const done = this.#printed.get(id);
    if (done !== undefined) return done;
    const text = this.#text(expr);
    if ((this.#uses.get(id) ?? 0) < 2 || expr.kind === "const" || expr.kind === "axis" || expr.kind === "extent")
      return text;
    const name = this.#fresh();
    this.#lines.add(this.#language.named(name, dtypeOf(expr), text));
    this.#printed.set(id, name);
    return name;
  }

  #count(expr: Expr): void {
    const id = this.#id(expr);
    const uses = (this.#uses.get(id) ?? 0) + 1;
    this.#uses.set(id, uses);
    if (uses > 1) return;
    for (const part of parts(expr)) this.#count(part);
  }

  #id(expr: Expr): number {
    const seen = this.#seen.get(expr);
    if (seen !== undefined) return seen;
    const inner = parts(expr).map((part) => this.#id(part));
    const own = { ...expr, operands: 0, at: 0, element: 0, seed: 0, step: 0 };
    const key = `${JSON.stringify(own, (_, value: unknown) => (typeof value === "number" && !Number.isFinite(value) ? String(value) : value))} ${inner.join()}`;
    const id = this.#ids.get(key) ?? this.#ids.size;
    this.#ids.set(key, id);
    this.#seen.set(expr, id);
    return id;
  }

  #text(expr: Expr): string {
    switch (expr.kind) {
      case "const":
        return this.#language.literal(expr.value, expr.dtype);
      case "axis":
        return this.#names.axis(expr.axis);
      case "extent":
        return this.#names.extent(expr.extent);
      case "load": {
        const store = this.#names.store(expr.from);
        if (store.shape.length === 0 && !("access" in store)) return expr.from;
        return this.#language.load(
          store,
          this.#names.offset(expr.from, expr.at, (x) => this.print(x)),
        );
      }
      case "random":
        return this.#language.random(
          expr,
          [expr.element, expr.seed, expr.step].map((x) => this.print(x)),
        );
      case "op": {
        const operands = expr.operands.map((operand) => this.print(operand));
        const symbol = INFIX[expr.op];
        if (symbol === undefined) return this.#language.op(expr, operands);
        return this.#language.infix?.(expr, symbol, operands) ?? `(${operands[0]} ${symbol} ${operands[1]})`;
      }
    }
  }
}

function parts(expr: Expr): readonly Expr[] {
  switch (expr.kind) {
    case "load":
      return expr.at;
    case "op":
      return expr.operands;
    case "random":
      return [expr.element, expr.seed, expr.step];
    default:
      return [];
  }
}

export function isFloatType(dtype: ScalarType): boolean {
  return !["i32", "index", "bool", "i8", "i4"].includes(dtype);
}

/** The shortest decimal that is this f32 again. */
export function shortest(value: number): string {
  for (let digits = 1; digits < 10; digits++) {
    const text = String(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === value) return text;
  }
  return String(value);
}

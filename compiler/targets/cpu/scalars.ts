/** Scalar expressions as C++: what is used twice gets a name. */
import { dtypeOf, INFIX, known, mergedIndices } from "../../kernel-ir/expr.ts";
import type { Arg, Expr, Local, Reduction, ScalarType } from "../../kernel-ir/types.ts";
import type { Lines } from "../../emit/lines.ts";
import type { Extent } from "../../../runtime/program/launch.ts";

/** The C++ type that a value has while it is computed with. */
export function valueType(dtype: ScalarType): string {
  switch (dtype) {
    case "f64":
      return "double";
    case "i32":
    case "i8":
    case "i4":
      return "int32_t";
    case "index":
      return "int64_t";
    case "bool":
      return "bool";
    default:
      return "float";
  }
}

/** The C++ type that it has in memory. */
export function storageType(dtype: ScalarType): string {
  switch (dtype) {
    case "bool":
      return "uint8_t";
    case "i8":
      return "int8_t";
    case "i4":
    case "bf16":
    case "f16":
    case "f8e4m3":
      return dtype;
    default:
      return valueType(dtype);
  }
}

/** Names in C++ of what a kernel has. Extents are upper case as in the text, axes lower case. */
export class Names {
  readonly #axes = new Map<string, string>();
  readonly #stores = new Map<string, Arg | Local>();

  constructor(stores: readonly (Arg | Local)[]) {
    this.declare(stores);
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
    const parts = mergedIndices(at, shape).flatMap((x, i) => {
      if (known(x) === 0) return [];
      const text = print(x);
      const strides = shape.slice(i + 1);
      const fixed = strides.reduce<number>((n, s) => (typeof s === "number" ? n * s : n), 1);
      const symbolic = strides.filter((s) => typeof s === "string");
      const factors = [...(fixed === 1 ? [] : [String(fixed)]), ...symbolic];
      return [factors.length === 0 ? text : `${parenthesized(text)} * ${factors.join(" * ")}`];
    });
    return parts.length === 0 ? "0" : parts.join(" + ");
  }
}

function parenthesized(text: string): string {
  return /^[A-Za-z0-9_]+$/.test(text) ? text : `(${text})`;
}

/** Prints expressions into lines: names go above, in the innermost loop that they are needed in. */
export class Scalars {
  readonly #names: Names;
  readonly #ids = new Map<string, number>();
  readonly #uses = new Map<number, number>();
  readonly #printed = new Map<number, string>();
  readonly #lines: Lines;
  readonly #fresh: () => string;

  constructor(names: Names, lines: Lines, fresh: () => string) {
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
    this.#lines.add(`const ${valueType(dtypeOf(expr))} ${name} = ${text};`);
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
    const inner = parts(expr).map((part) => this.#id(part));
    const own = { ...expr, operands: 0, at: 0, element: 0, seed: 0, step: 0 };
    const key = `${JSON.stringify(own, (_, value: unknown) => (typeof value === "number" && !Number.isFinite(value) ? String(value) : value))} ${inner.join()}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    this.#ids.set(key, this.#ids.size);
    return this.#ids.size - 1;
  }

  #text(expr: Expr): string {
    switch (expr.kind) {
      case "const":
        return literal(expr.value, expr.dtype);
      case "axis":
        return this.#names.axis(expr.axis);
      case "extent":
        return this.#names.extent(expr.extent);
      case "load": {
        const { shape } = this.#names.store(expr.from);
        if (shape.length === 0 && !("access" in this.#names.store(expr.from))) return expr.from;
        const place = this.#names.offset(expr.from, expr.at, (x) => this.print(x));
        return expr.dtype === "i4" ? `dsk_get(${expr.from}, ${place})` : `dsk_get(${expr.from}[${place}])`;
      }
      case "random":
        return `dsk_${expr.draw}(${this.print(expr.element)}, ${expr.stream}u, ${this.print(expr.seed)}, ${this.print(expr.step)})`;
      case "op":
        return this.#op(expr);
    }
  }

  #op(expr: Expr & { kind: "op" }): string {
    const x = expr.operands.map((operand) => this.print(operand));
    const type = valueType(expr.dtype);
    const from = dtypeOf(expr.operands[0]!);
    const symbol = INFIX[expr.op];
    if (symbol !== undefined) return `(${x[0]} ${symbol} ${x[1]})`;
    switch (expr.op) {
      case "select":
        return `(${x[0]} ? ${x[1]} : ${x[2]})`;
      case "cast":
        if (expr.dtype === "i32" && isFloatType(from)) return `dsk_to_i32(${x[0]})`;
        if (expr.dtype === "bool") return `(${x[0]} != 0)`;
        return `${type}(${x[0]})`;
      case "neg":
        return `(-${x[0]})`;
      case "not":
        return `(!${x[0]})`;
      case "square":
        return `(${x[0]} * ${x[0]})`;
      case "recip":
        return `(${type}(1) / ${x[0]})`;
      case "rsqrt":
        return `(${type}(1) / dsk_sqrt(${x[0]}))`;
      case "relu":
        return `(${x[0]} > 0 ? ${x[0]} : ${type}(0))`;
      case "abs":
        return `dsk_fabs(${x[0]})`;
      case "max":
      case "min":
        return `dsk_${expr.op}<${type}>(${x.join(", ")})`;
      default:
        return `dsk_${expr.op}(${x.join(", ")})`;
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

function isFloatType(dtype: ScalarType): boolean {
  return !["i32", "index", "bool", "i8", "i4"].includes(dtype);
}

/** What a reduction of nothing is, as C++. */
export function startOf(reduction: Reduction, dtype: ScalarType): string {
  return literal(reduction === "sum" ? 0 : reduction === "max" ? -Infinity : Infinity, dtype);
}

/** A statement that takes one more term into a reduction. */
export function foldInto(place: string, reduction: Reduction, type: string, term: string): string {
  return reduction === "sum" ? `${place} += ${term};` : `${place} = dsk_${reduction}<${type}>(${place}, ${term});`;
}

/** A number as C++ writes it, with its type. */
export function literal(value: number | boolean, dtype: ScalarType): string {
  if (typeof value === "boolean") return String(value);
  if (!isFloatType(dtype) && !Number.isFinite(value)) return value < 0 ? "INT32_MIN" : "INT32_MAX";
  if (!isFloatType(dtype)) return value < 0 ? `(${value})` : String(value);
  const type = valueType(dtype);
  if (Number.isNaN(value)) return `${type}(DSK_NAN)`;
  if (!Number.isFinite(value)) return `${type}(${value < 0 ? "-" : ""}DSK_INF)`;
  const exact = type === "float" ? shortest(Math.fround(value)) : String(value);
  const text = /[.e]/.test(exact) ? exact : `${exact}.0`;
  const typed = type === "float" ? `${text}f` : text;
  return value < 0 ? `(${typed})` : typed;
}

/** The shortest decimal that is this f32 again. */
function shortest(value: number): string {
  for (let digits = 1; digits < 10; digits++) {
    const text = String(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === value) return text;
  }
  return String(value);
}

/**
 * Values of neighbors that a thread moves together, up to 16 bytes at a time: loads and stores of `Vector` (templates/cuda/dsk.cuh).
 * The first neighbor's index along an axis is a multiple of the width; arrays begin at multiples of 64 bytes, so what is left to
 * prove is that the rest of an address is a multiple of the width, too.
 */
import { add, axis, known, load } from "../../../kernel-ir/expr.ts";
import type { Arg, Expr, Local, ScalarType } from "../../../kernel-ir/types.ts";
import type { Frame } from "../../simt/frame.ts";
import { Statements } from "../../simt/statements.ts";
import { NEIGHBOR, valueType } from "../language.ts";

/** How a place moves along the axis of neighbors: as they do, not at all, or in some other way. */
type Motion = "neighbors" | "not" | "other";

export class Vectors {
  readonly #frame: Frame;
  readonly width: number;
  readonly axis: string;
  /** Vectors that hold what is at a place, and values that all neighbors have in common, by the key of the place. */
  readonly held = new Map<string, string>();
  /** Arrays that were read from memory. */
  readonly read = new Set<string>();

  /** @param along the last axis of what is computed */
  constructor(frame: Frame, width: number, along: string) {
    this.#frame = frame;
    this.width = width;
    this.axis = along;
    frame.names.call(NEIGHBOR, "j");
  }

  motion(name: string, at: readonly Expr[]): Motion {
    const { dtype, shape } = this.#frame.names.store(name);
    if (!at.some((x) => uses(x, this.axis))) return "not";
    const [last, ...outer] = at.toReversed();
    if (dtype === "i4" || outer.some((x) => uses(x, this.axis)) || !this.#isFirst(last!)) return "other";
    const row = shape.at(-1)!;
    const rowsFit = typeof row === "number" && row % this.width === 0;
    return rowsFit || outer.every((x) => known(x) === 0) ? "neighbors" : "other";
  }

  /** The axis, or the axis and a multiple of the width. */
  #isFirst(x: Expr): boolean {
    if (x.kind === "axis") return x.axis === this.axis;
    if (x.kind !== "op" || x.op !== "add") return false;
    const [a, b] = x.operands as readonly [Expr, Expr];
    return (this.#isFirst(a) && this.#isMultiple(b)) || (this.#isMultiple(a) && this.#isFirst(b));
  }

  #isMultiple(x: Expr): boolean {
    const value = known(x);
    if (value !== undefined) return value % this.width === 0;
    if (x.kind !== "op") return false;
    const [a, b] = x.operands as readonly [Expr, Expr];
    if (x.op === "add") return this.#isMultiple(a) && this.#isMultiple(b);
    return x.op === "mul" && (this.#isMultiple(a) || this.#isMultiple(b));
  }

  /**
   * The value of neighbor `j`. What it takes from memory is loaded above, and held.
   * @param declare how a vector is declared that is loaded; `const auto NAME` without this
   */
  ofNeighbor(expr: Expr, declare?: (name: string, dtype: ScalarType) => string): Expr {
    const inner = (x: Expr): Expr => this.ofNeighbor(x, declare);
    switch (expr.kind) {
      case "const":
      case "extent":
        return expr;
      case "axis":
        return expr.axis === this.axis ? add(expr, axis(NEIGHBOR)) : expr;
      case "random":
        return { ...expr, element: inner(expr.element), seed: inner(expr.seed), step: inner(expr.step) };
      case "op":
        return { ...expr, operands: expr.operands.map(inner) };
      case "load": {
        const store = this.#frame.names.store(expr.from);
        if (isScalar(store)) return expr;
        const key = placeKey(expr.from, expr.at);
        const held = this.held.get(key);
        const motion = this.motion(expr.from, expr.at);
        if (held !== undefined) return this.#named(motion === "not" ? held : `${held}[j]`, expr.dtype);
        this.read.add(expr.from);
        if (motion === "other") return { ...expr, at: expr.at.map(inner) };
        const name = this.#frame.temp(`${baseOf(expr.from)}_`);
        const offset = this.offset(expr.from, expr.at);
        const { lines, language } = this.#frame;
        this.held.set(key, name);
        if (motion === "not") {
          lines.add(language.named(name, expr.dtype, language.load(store, offset)));
          return this.#named(name, expr.dtype);
        }
        const left = declare?.(name, expr.dtype) ?? `const auto ${name}`;
        const own = left.replace(/^const auto /, "");
        this.held.set(key, own);
        lines.add(`${left} = vector_at<${this.width}>(${expr.from}, ${offset});`);
        return this.#named(`${own}[j]`, expr.dtype);
      }
    }
  }

  #named(name: string, dtype: ScalarType): Expr {
    this.#frame.names.declare([{ name, dtype, shape: [] }]);
    return value(name, dtype);
  }

  /** Where the first neighbor lies. */
  offset(name: string, at: readonly Expr[]): string {
    const scalars = new Statements(this.#frame, 1).scalars(...at);
    return this.#frame.names.offset(name, at, (x) => scalars.print(x));
  }

  /** The declaration of a vector of computed values. */
  declaration(name: string, dtype: ScalarType): string {
    return `Vector<${valueType(dtype)}, ${this.width}> ${name};`;
  }

  /** Runs a body for each neighbor `j`. */
  each(body: () => void): void {
    const { lines } = this.#frame;
    lines.add("#pragma unroll");
    lines.block(`for (int j = 0; j < ${this.width}; j++)`, body);
  }

  /** Forgets what is held of arrays that change. */
  forget(written: Iterable<string>): void {
    const names = [...written].map((name) => JSON.stringify(name));
    for (const key of this.held.keys()) if (names.some((name) => key.includes(name))) this.held.delete(key);
  }
}

/** A value by its name. */
function value(name: string, dtype: ScalarType): Expr {
  return load(name, [], dtype);
}

export function placeKey(name: string, at: readonly Expr[]): string {
  return JSON.stringify([name, at]);
}

/** A name of the same without what makes it unique. */
function baseOf(name: string): string {
  return name.replace(/_+$/, "");
}

export function isScalar(store: Arg | Local): boolean {
  return store.shape.length === 0 && !("access" in store);
}

export function uses(expr: Expr, name: string): boolean {
  return JSON.stringify(expr).includes(`{"kind":"axis","axis":${JSON.stringify(name)}}`);
}

/** What is rounded when it is stored. */
export function isSmallFloat(dtype: ScalarType): boolean {
  return dtype === "bf16" || dtype === "f16" || dtype === "f8e4m3";
}

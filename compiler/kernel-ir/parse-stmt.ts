import { type Extent, STORAGE_BYTES, type StorageType } from "../../runtime/program/launch.ts";
import type { TextCursor } from "../tensor-ir/text-cursor.ts";
import { arityOf, axis, constant, extent, INFIX, load, op as scalar, usualDtype } from "./expr.ts";
import {
  type Arg,
  type Axis,
  type ColumnsKernel,
  type Expr,
  type Groups,
  type Local,
  type PlaneKernel,
  type PlaneStmt,
  type Product,
  type Reduction,
  SCALAR_OPS,
  type ScalarOp,
  type ScalarType,
  type Stmt,
  type Target,
  type Terms,
} from "./types.ts";

export const STORAGE_TYPES = Object.keys(STORAGE_BYTES) as StorageType[];
const SCALAR_TYPES: readonly ScalarType[] = [...STORAGE_TYPES, "index"];
const REDUCTIONS = ["sum", "max", "min"] as const satisfies readonly Reduction[];
/** Longer ones first: `<=` begins with `<`. */
const SYMBOLS = (Object.entries(INFIX) as [ScalarOp, string][]).toSorted(([, a], [, b]) => b.length - a.length);

/** Statements and expressions of one kernel. A load has the dtype of what it loads from, so that comes first. */
export class StmtParser {
  readonly #dtypes = new Map<string, ScalarType>();

  /** `x: f32[T, 96]` */
  argument(cursor: TextCursor): Omit<Arg, "access"> {
    const name = this.#declared(cursor);
    const store = { name, ...storageOf(cursor) };
    this.#dtypes.set(name, store.dtype);
    return store;
  }

  local(cursor: TextCursor): Local {
    const name = this.#declared(cursor);
    const dtype = cursor.oneOf(SCALAR_TYPES, "a dtype");
    cursor.expect("[");
    this.#dtypes.set(name, dtype);
    return { name, dtype, shape: extentsOf(cursor) };
  }

  /** `(T, D < 64)` */
  axes(cursor: TextCursor): Axis[] {
    cursor.expect("(");
    return cursor.list(")", () => {
      const name = cursor.word("an axis");
      return { name, extent: cursor.take("<") ? extentOf(cursor) : name };
    });
  }

  axis(cursor: TextCursor): Axis {
    const start = cursor.last;
    const [only, ...others] = this.axes(cursor);
    return only !== undefined && others.length === 0 ? only : cursor.fail("one axis stands here", start);
  }

  /** `product p: f32 = sum (D < 64) x[T, D] @ w[D, F]`, behind the first word. */
  product(cursor: TextCursor): Product {
    const name = this.#declared(cursor);
    const dtype = cursor.oneOf(SCALAR_TYPES, "a dtype");
    cursor.expect("=");
    this.#dtypes.set(name, dtype);
    return { name, dtype, ...this.#terms(cursor) };
  }

  /** `group (E < 8) over m of chosen[T]`, behind the first word. */
  groups(cursor: TextCursor): Groups {
    const group = this.axis(cursor);
    cursor.expect("over");
    const over = cursor.oneOf(["m", "k"], "an axis of a product");
    cursor.expect("of");
    return { over, group, of: this.expr(cursor) };
  }

  /** `span from[T] to to[T]`, behind the first word. */
  span(cursor: TextCursor): NonNullable<PlaneKernel["span"]> {
    const from = this.expr(cursor);
    cursor.expect("to");
    return { from, to: this.expr(cursor) };
  }

  /** `x[D] = sum y[T, D]` of a columns kernel. */
  sum(cursor: TextCursor): ColumnsKernel["sums"][number] {
    const target = this.#target(cursor);
    cursor.expect("=");
    const reduction = cursor.oneOf(REDUCTIONS, "a reduction");
    return { reduction, value: this.expr(cursor), ...target };
  }

  planeStmt(cursor: TextCursor): PlaneStmt {
    if (cursor.take("enter ")) {
      const local = cursor.word("a local");
      cursor.expect("=");
      const products: Terms[] = [];
      do products.push(this.#terms(cursor));
      while (cursor.take("+"));
      return { kind: "enter", local, products };
    }
    if (!cursor.take("leave ")) return { kind: "row", stmt: this.stmt(cursor) };
    const n = this.axes(cursor);
    const target = this.#target(cursor);
    cursor.expect("= sum over");
    const over = cursor.oneOf(["columns", "rows"], "a side of a plane");
    const local = cursor.word("a local");
    cursor.expect("@");
    const other = this.expr(cursor);
    return over === "columns"
      ? { kind: "leave_rows", local, n, b: other, ...target }
      : { kind: "leave_columns", local, n, x: other, ...target };
  }

  stmt(cursor: TextCursor): Stmt {
    if (cursor.take("zero ")) {
      const zeroed = this.axes(cursor);
      const { to, at: zeroedAt } = this.#target(cursor);
      cursor.expect(";");
      const axes = this.#loops(cursor);
      const target = this.#target(cursor);
      if (target.to !== to) cursor.fail(`${to} is zeroed, and ${target.to} is added to`);
      cursor.expect("+=");
      const value = this.expr(cursor);
      cursor.expect("when");
      return { kind: "scatter", zeroed, zeroedAt, axes, value, when: this.expr(cursor), ...target };
    }
    const axes = this.#loops(cursor);
    const target = this.#target(cursor);
    cursor.expect("=");
    const reduction = REDUCTIONS.find((word) => cursor.take(`${word} over `));
    if (reduction !== undefined) {
      const over = this.axes(cursor);
      return { kind: "reduce", reduction, axes, over, value: this.expr(cursor), ...target };
    }
    if (cursor.take("top_k ")) {
      const counter = this.axis(cursor);
      cursor.expect("over");
      const over = this.axis(cursor);
      return { kind: "top_k", axes, over, counter, value: this.expr(cursor), ...target };
    }
    if (cursor.take("rank over ")) {
      const over = this.axis(cursor);
      return { kind: "rank", axes, over, value: this.expr(cursor), ...target };
    }
    if (cursor.take("sort into ")) {
      const groups = cursor.number("the number of groups");
      cursor.expect("over");
      const over = this.axes(cursor);
      const [tiles, place, another] = axes;
      if (tiles === undefined || place === undefined || another !== undefined)
        return cursor.fail("rows are sorted into tiles and places of a tile");
      return { kind: "sort", axes: [tiles, place], over, groups, value: this.expr(cursor), ...target };
    }
    if (cursor.take("scan ")) {
      const [exclusive, reverse] = [cursor.take("exclusive "), cursor.take("reverse ")];
      cursor.expect("over");
      const over = this.axis(cursor);
      return { kind: "scan", axes, over, exclusive, reverse, value: this.expr(cursor), ...target };
    }
    return { kind: "assign", axes, value: this.expr(cursor), ...target };
  }

  expr(cursor: TextCursor): Expr {
    if (cursor.take("(")) return this.#infix(cursor);
    const word = cursor.word("an expression");
    const start = cursor.last;
    if (cursor.take("[")) {
      const dtype = this.#dtypes.get(word) ?? cursor.fail(`there is no ${word}`, start);
      return load(word, this.#indices(cursor), dtype);
    }
    if (cursor.take("(")) return this.#call(word, start, cursor);
    if (/^-?\d+$/.test(word)) return constant(Number(word), "index");
    const dtype = SCALAR_TYPES.find((known) => known === word);
    if (dtype === undefined || dtype === "index") return axis(word);
    if (dtype !== "bool") return constant(cursor.number("a number"), dtype);
    return constant(cursor.oneOf(["true", "false"], "a truth value") === "true", dtype);
  }

  /** `a + b)` or `a + b: bf16)` */
  #infix(cursor: TextCursor): Expr {
    const a = this.expr(cursor);
    const [name] = SYMBOLS.find(([, symbol]) => cursor.take(symbol)) ?? [];
    if (name === undefined) {
      cursor.word("an operator");
      return cursor.fail("expected an operator");
    }
    const operands = [a, this.expr(cursor)];
    const dtype = this.#dtype(cursor) ?? usualDtype(name, operands);
    cursor.expect(")");
    return scalar(name, operands, dtype);
  }

  /** The operands of `exp(`, `f32(`, `size(` or `random.normal(`. */
  #call(word: string, start: number, cursor: TextCursor): Expr {
    if (word === "size") {
      const of = cursor.word("an extent");
      cursor.expect(")");
      return extent(of);
    }
    const cast = SCALAR_TYPES.find((known) => known === word);
    const name = cast === undefined ? SCALAR_OPS.find((known) => known === word && known !== "cast") : "cast";
    const draw = (["normal", "uniform"] as const).find((known) => word === `random.${known}`);
    if (name === undefined && draw === undefined) return cursor.fail(`there is no operator ${word}`, start);
    const stream = draw === undefined ? 0 : cursor.number("a stream");
    if (draw !== undefined) cursor.expect(",");
    const operands: Expr[] = [];
    do operands.push(this.expr(cursor));
    while (cursor.take(","));
    const dtype = cast ?? this.#dtype(cursor);
    const wanted = name === undefined ? 3 : arityOf(name);
    if (operands.length !== wanted) cursor.fail(`${word} has ${operands.length} operands, not ${wanted}`, start);
    cursor.expect(")");
    if (name !== undefined) return scalar(name, operands, dtype ?? usualDtype(name, operands));
    const [element, seed, step] = operands as [Expr, Expr, Expr];
    return { kind: "random", draw: draw!, stream, element, seed, step, dtype: dtype ?? "f32" };
  }

  #dtype(cursor: TextCursor): ScalarType | undefined {
    return cursor.take(":") ? cursor.oneOf(SCALAR_TYPES, "a dtype") : undefined;
  }

  #declared(cursor: TextCursor): string {
    const name = cursor.word("a name");
    if (this.#dtypes.has(name)) cursor.fail(`${name} is taken twice`);
    cursor.expect(":");
    return name;
  }

  #loops(cursor: TextCursor): Axis[] {
    return cursor.take("for ") ? this.axes(cursor) : [];
  }

  #terms(cursor: TextCursor): Terms {
    cursor.expect("sum");
    const k = this.axes(cursor);
    const a = this.expr(cursor);
    cursor.expect("@");
    return { k, a, b: this.expr(cursor) };
  }

  #target(cursor: TextCursor): Target {
    const to = cursor.word("a target");
    if (!this.#dtypes.has(to)) cursor.fail(`there is no ${to}`);
    cursor.expect("[");
    return { to, at: this.#indices(cursor) };
  }

  #indices(cursor: TextCursor): Expr[] {
    return cursor.list("]", () => this.expr(cursor));
  }
}

/** `f32[T, 96]` of an argument or a buffer. */
function storageOf(cursor: TextCursor): { dtype: StorageType; shape: Extent[] } {
  const dtype = cursor.oneOf(STORAGE_TYPES, "a dtype");
  cursor.expect("[");
  return { dtype, shape: extentsOf(cursor) };
}

/** Extents up to the closing bracket. */
export function extentsOf(cursor: TextCursor): Extent[] {
  return cursor.list("]", () => extentOf(cursor));
}

export function extentOf(cursor: TextCursor): Extent {
  const word = cursor.word("an extent");
  return /^\d+$/.test(word) ? Number(word) : word;
}

/**
 * Statements inside of rows: loops over columns, the sixteen rows of a strip in vectors. What depends on the row alone is
 * computed before the loop, what depends on the column alone once for all rows.
 */
import { axis, dtypeOf, load, loadedBy, walk, widened } from "../../kernel-ir/expr.ts";
import type { Expr, Local, ScalarType, Stmt } from "../../kernel-ir/types.ts";
import { isPlane, memoryType, type PlaneBlock } from "./plane-block.ts";
import { Scalars, startOf } from "../scalars.ts";
import { CPP, storageType } from "./cpp.ts";

/** The axis of the rows of a strip. */
const LANE = "lane";

type ColumnStmt = Stmt & { readonly kind: "assign" | "reduce" };

/** A value with a name, computed outside of the innermost loop. */
interface Hoisted {
  readonly name: string;
  readonly expr: Expr;
}

export class PlaneRows {
  readonly #block: PlaneBlock;
  readonly #lane: string;

  constructor(block: PlaneBlock) {
    this.#block = block;
    const { kernel, frame } = block;
    this.#lane = frame.names.axis(LANE);
    // Inside of a strip, what a row has and what it has in one column are elements of sixteen.
    frame.names.declare(kernel.locals.map((local) => ({ ...local, shape: ["DSK_STRIP"] })));
  }

  /** Statements one after the other. */
  print(run: readonly Stmt[]): void {
    const { frame, kernel, id } = this.#block;
    const used = kernel.locals.filter(({ name }) =>
      run.some((stmt) => stmt.to === name || loadedBy(stmt.value).includes(name)),
    );
    frame.body.block(`for (int64_t ${id.strip} = 0; ${id.strip} < ${id.block}.strips; ${id.strip}++)`, () => {
      for (const local of used) if (!isPlane(local)) this.#pointer(local, `${id.strip} * DSK_STRIP`);
      for (const group of this.#groups(run)) {
        if (isRowValue(group[0]!)) for (const stmt of group) this.#rowValue(stmt.to, stmt.at, stmt.value);
        else this.#columns(group as ColumnStmt[], used);
      }
    });
  }

  #pointer(local: Local, offset: string): void {
    const { name } = local;
    this.#block.frame.body.add(`${memoryType(local)}* __restrict ${name} = ${this.#block.store(local)} + ${offset};`);
  }

  /** Statements that can share a loop over columns: none needs what another one sums up. */
  #groups(run: readonly Stmt[]): Stmt[][] {
    const groups: Stmt[][] = [];
    let made = new Set<string>();
    let rowValues = false;
    for (const stmt of run) {
      const own = isRowValue(stmt);
      const waits = own !== rowValues || [...made].some((name) => loadedBy(stmt.value).includes(name));
      if (waits || groups.length === 0) {
        groups.push([]);
        made = new Set();
      }
      rowValues = own;
      if (!own && stmt.kind === "reduce") made.add(stmt.to);
      groups.at(-1)!.push(stmt);
    }
    return groups;
  }

  #columns(group: readonly ColumnStmt[], used: readonly Local[]): void {
    const { frame, kernel, id } = this.#block;
    const lines = frame.body;
    const split = new Split(this.#block);
    const values = group.map(({ value }) => split.inside(value));
    const masked = kernel.span !== undefined && group.some(({ kind }) => kind === "reduce");
    const results = group.map((stmt) => (stmt.kind === "reduce" ? this.#block.fresh("result") : ""));
    lines.block("", () => {
      const bounds = masked ? ["from_of", "to_of"].map((name) => this.#bound(name)) : [];
      for (const { name, expr } of split.rows) lines.add(`${rowType(expr)} ${name}[DSK_STRIP];`);
      if (split.rows.length > 0) this.#lanes(() => this.#hoist(split.rows, (name) => `${name}[${this.#lane}]`));
      const pieces: string[] = [];
      for (const [i, stmt] of group.entries()) {
        if (stmt.kind !== "reduce") continue;
        const type = rowType(stmt.value);
        const own = results[i]!;
        lines.add(`dsk_strip<${type}> ${own};`);
        lines.add(`${own}.start(${startOf(CPP, stmt.reduction, dtypeOf(stmt.value))});`);
        if (stmt.reduction !== "sum") continue;
        lines.add(`${type} ${own}_so_far[DSK_STRIP] = {};`);
        pieces.push(own);
      }
      const s = frame.names.axis(kernel.column.name);
      const loop = (from: string, to: string): void =>
        lines.block(`for (int64_t ${s} = ${from}; ${s} < ${to}; ${s}++)`, () => {
          const place = `(${id.strip} * ${kernel.column.extent} + ${s} - ${id.block}.from) * DSK_STRIP`;
          for (const local of used) if (isPlane(local) && touches(group, local.name)) this.#pointer(local, place);
          const column = this.#block.fresh("column");
          if (masked) lines.add(`const int32_t ${column} = int32_t(${s});`);
          this.#hoistColumns(split.columns);
          for (const [i, stmt] of group.entries())
            if (stmt.kind === "reduce") lines.add(`${rowType(stmt.value)} ${results[i]}_term[DSK_STRIP];`);
          lines.add("#pragma omp simd");
          lines.block(`for (int64_t ${this.#lane} = 0; ${this.#lane} < DSK_STRIP; ${this.#lane}++)`, () => {
            const own = this.#block.fresh("own");
            if (masked)
              lines.add(
                `const bool ${own} = (${bounds[0]}[${this.#lane}] <= ${column}) & (${column} < ${bounds[1]}[${this.#lane}]);`,
              );
            for (const [i, stmt] of group.entries())
              this.#element(stmt, values[i]!, results[i]!, masked ? own : undefined);
          });
          for (const [i, stmt] of group.entries()) {
            if (stmt.kind !== "reduce") continue;
            lines.add(`${results[i]}.${stmt.reduction === "sum" ? "add" : stmt.reduction}(${results[i]}_term);`);
          }
        });
      const [first, end] = [this.#block.fresh("first"), this.#block.fresh("end")];
      lines.add(
        `const int64_t ${first} = ${id.block}.strip_from[${id.strip}], ${end} = ${id.block}.strip_to[${id.strip}];`,
      );
      if (pieces.length === 0) loop(first, end);
      else {
        lines.block(`for (int64_t piece = ${first}; piece < ${end};)`, () => {
          lines.add(`const int64_t next_end = dsk_piece_end(${id.block}, piece);`);
          lines.add(`const int64_t piece_end = next_end < ${end} ? next_end : ${end};`);
          loop("piece", "piece_end");
          for (const sum of pieces)
            lines.add(`dsk_end_piece(${id.block}, ${id.strip}, piece_end, ${sum}_so_far, ${sum});`);
          lines.add("piece = piece_end;");
        });
      }
      for (const [i, stmt] of group.entries()) {
        if (stmt.kind !== "reduce") continue;
        const own = `${results[i]}[${this.#lane}]`;
        this.#store(stmt.to, stmt.at, stmt.reduction === "sum" ? `${results[i]}_so_far[${this.#lane}] + ${own}` : own);
      }
    });
  }

  /** Bounds of the strip's rows; int32_t as the columns they are compared with. */
  #bound(member: string): string {
    const { frame, id } = this.#block;
    const name = this.#block.fresh(member);
    frame.body.add(`const int32_t* const ${name} = ${id.block}.${member} + ${id.strip} * DSK_STRIP;`);
    return name;
  }

  #element(stmt: ColumnStmt, value: Expr, result: string, own: string | undefined): void {
    const { frame } = this.#block;
    const text = this.#block.value(value);
    if (stmt.kind === "assign") {
      frame.body.add(`dsk_put(${stmt.to}[${this.#lane}], ${text});`);
      return;
    }
    const dtype = dtypeOf(value);
    const term = own === undefined ? text : `(${own} ? ${text} : ${startOf(CPP, stmt.reduction, dtype)})`;
    frame.body.add(`${result}_term[${this.#lane}] = ${term};`);
  }

  #rowValue(to: string, at: readonly Expr[], value: Expr): void {
    this.#lanes(() => this.#write(to, at, this.#block.value(new Split(this.#block).row(value))));
  }

  #store(to: string, at: readonly Expr[], text: string): void {
    if (this.#block.local(to) === undefined) this.#lanes(() => this.#write(to, at, text));
    else this.#block.frame.body.block(this.#loop, () => this.#write(to, at, text));
  }

  #write(to: string, at: readonly Expr[], text: string): void {
    const { frame, id } = this.#block;
    if (this.#block.local(to) !== undefined) frame.body.add(`${to}[${this.#lane}] = ${text};`);
    else {
      frame.body.block(`if (${id.strip} * DSK_STRIP + ${this.#lane} < ${id.block}.rows)`, () =>
        frame.body.add(`dsk_put(${this.#block.place(to, at)}, ${text});`),
      );
    }
  }

  get #loop(): string {
    return `for (int64_t ${this.#lane} = 0; ${this.#lane} < DSK_STRIP; ${this.#lane}++)`;
  }

  /** A loop over the rows of the strip, with their indices. */
  #lanes(body: () => void): void {
    const { frame, id } = this.#block;
    frame.body.block(this.#loop, () => {
      this.#block.indices(`${id.strip} * DSK_STRIP + ${this.#lane}`);
      body();
    });
  }

  #hoist(values: readonly Hoisted[], place: (name: string) => string): void {
    const scalars = this.#block.scalars(...values.map(({ expr }) => expr));
    for (const { name, expr } of values) this.#block.frame.body.add(`${place(name)} = ${scalars.print(expr)};`);
  }

  #hoistColumns(values: readonly Hoisted[]): void {
    const scalars: Scalars = this.#block.scalars(...values.map(({ expr }) => expr));
    for (const { name, expr } of values)
      this.#block.frame.body.add(`const ${rowType(expr)} ${name} = ${scalars.print(expr)};`);
  }
}

/** Takes expressions apart: what belongs to a row, to a column, to both. */
class Split {
  readonly rows: Hoisted[] = [];
  readonly columns: Hoisted[] = [];
  readonly #block: PlaneBlock;
  readonly #known = new Map<string, Expr>();

  constructor(block: PlaneBlock) {
    this.#block = block;
  }

  /** The expression inside of the loop over rows: everything else has got a name. */
  inside(expr: Expr): Expr {
    const { kernel } = this.#block;
    const inColumn = this.#depends(expr, [kernel.column.name], isPlane);
    const inRow = this.#depends(
      expr,
      kernel.rows.map(({ name }) => name),
      () => true,
    );
    if (!inRow) return isPlain(expr) ? expr : this.#named(expr, this.columns, "of_column", []);
    if (!inColumn) {
      const own = this.row(expr);
      return isOfLane(own) ? own : this.#named(own, this.rows, "of_row", [axis(LANE)]);
    }
    return this.#inner(expr, (x) => this.inside(x));
  }

  /** An expression of one row: locals are elements of the strip. */
  row(expr: Expr): Expr {
    return this.#inner(expr, (x) => this.row(x));
  }

  #inner(expr: Expr, inner: (x: Expr) => Expr): Expr {
    switch (expr.kind) {
      case "load":
        if (this.#block.local(expr.from) !== undefined) return load(expr.from, [axis(LANE)], expr.dtype);
        return { ...expr, at: expr.at.map(inner) };
      case "op":
        return { ...expr, operands: expr.operands.map(inner) };
      case "random":
        return { ...expr, element: inner(expr.element), seed: inner(expr.seed), step: inner(expr.step) };
      default:
        return expr;
    }
  }

  #depends(expr: Expr, axes: readonly string[], locals: (local: Local) => boolean): boolean {
    let found = false;
    walk(expr, (part) => {
      if (part.kind === "axis") found ||= axes.includes(part.axis);
      const local = part.kind === "load" ? this.#block.local(part.from) : undefined;
      found ||= local !== undefined && locals(local);
    });
    return found;
  }

  #named(expr: Expr, list: Hoisted[], hint: string, at: readonly Expr[]): Expr {
    const key = JSON.stringify([hint, expr], (_, x: unknown) =>
      typeof x === "number" && !Number.isFinite(x) ? String(x) : x,
    );
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const name = this.#block.fresh(hint);
    const dtype = dtypeOf(expr);
    this.#block.frame.names.declare([{ name, dtype: wide(dtype), shape: at.map(() => "DSK_STRIP") }]);
    list.push({ name, expr });
    const made = load(name, at, wide(dtype));
    this.#known.set(key, made);
    return made;
  }
}

function isPlain({ kind }: Expr): boolean {
  return kind === "const" || kind === "axis" || kind === "extent";
}

/** An element of the strip already. */
function isOfLane(expr: Expr): boolean {
  if (expr.kind !== "load" || expr.at.length !== 1) return false;
  const [at] = expr.at;
  return at!.kind === "axis" && at!.axis === LANE;
}

/** What named values are kept in. Conditions are as wide as what they choose from: compilers make vectors of that. */
function wide(dtype: ScalarType): ScalarType {
  return dtype === "bool" ? "i32" : widened(dtype);
}

function rowType(expr: Expr): string {
  return storageType(wide(dtypeOf(expr)));
}

/** One value for each row. */
function isRowValue(stmt: Stmt): boolean {
  return stmt.kind === "assign" && stmt.axes.length === 0;
}

function touches(group: readonly Stmt[], name: string): boolean {
  return group.some((stmt) => stmt.to === name || loadedBy(stmt.value).includes(name));
}

/** Products that lead into a plane and out of it: what they read is addressed or computed here, plane.cc does the rest. */
import { add } from "../../kernel-ir/expr.ts";
import type { Axis, Expr, PlaneStmt } from "../../kernel-ir/types.ts";
import { linear, operandOf } from "../operands.ts";
import { type PlaneBlock, sizeOf } from "./plane-block.ts";

/** Floats of the columns' side that are computed at once: they stay in the second-level cache. */
const COMPUTED = 32_768;
/** DSK_COLUMNS of plane.h. */
const COLUMNS = 288;
/** All tiles divide it. */
const TILE = 48;

type ProductStmt = Exclude<PlaneStmt, { kind: "row" }>;
type LeaveColumns = PlaneStmt & { kind: "leave_columns" };

/** Elements in f32 that lie next to each other along the inner axes: the place of the first of them. */
interface Direct {
  readonly arg: string;
  readonly at: readonly Expr[];
}

/** Memory, and an array of the addresses in it of rows or columns. */
interface Addressed {
  readonly base: string;
  readonly at: string;
}

export class PlaneProducts {
  readonly #block: PlaneBlock;
  /** Planes that are 0 already in columns outside of a row's own. */
  readonly #cleared = new Set<string>();
  readonly #addresses = new Map<string, string>();
  /** Sums over rows that are not made where they are stored: until all rows are in them, they are floats of the item's own. */
  readonly #sums = new Map<PlaneStmt, string>();

  constructor(block: PlaneBlock) {
    this.#block = block;
  }

  /** A plane has new values. */
  changed(local: string): void {
    this.#cleared.delete(local);
  }

  print(stmt: ProductStmt): void {
    switch (stmt.kind) {
      case "enter":
        this.changed(stmt.local);
        for (const [i, { k, a, b }] of stmt.products.entries()) this.#enter(stmt.local, k, a, b, i > 0);
        return;
      case "leave_rows":
        this.#clear(stmt.local);
        return this.#leaveRows(stmt);
      case "leave_columns":
        this.#clear(stmt.local);
        return this.#leaveColumns(stmt);
    }
  }

  /** Before the first block: sums over rows start from 0, in the columns from `first` to `end` - 1. */
  zero(stmt: LeaveColumns, first: string, end: string): void {
    const { frame, kernel } = this.#block;
    if (this.#target(stmt) === undefined)
      this.#sums.set(stmt, frame.array("sums", "float", `${kernel.column.extent} * ${sizeOf(stmt.n)}`));
    this.#results(stmt, first, end, (place, sum) => `dsk_put(${sum ?? place()}, 0.0f);`);
  }

  /** Behind the last block. */
  finish(stmt: LeaveColumns, first: string, end: string): void {
    if (this.#sums.has(stmt)) this.#results(stmt, first, end, (place, sum) => `dsk_put(${place()}, ${sum});`);
  }

  /** A statement for each result of a sum over rows: its place, and its sum where that is another one. */
  #results(
    stmt: LeaveColumns,
    first: string,
    end: string,
    text: (place: () => string, sum: string | undefined) => string,
  ): void {
    const block = this.#block;
    const { names, body } = block.frame;
    const column = names.axis(block.kernel.column.name);
    const sums = this.#sums.get(stmt);
    body.block(`for (int64_t ${column} = ${first}; ${column} < ${end}; ${column}++)`, () =>
      block.loops(stmt.n, true, (i) => {
        const sum = sums === undefined ? undefined : `${sums}[${column} * ${sizeOf(stmt.n)} + ${i}]`;
        body.add(text(() => block.place(stmt.to, stmt.at), sum));
      }),
    );
  }

  /** Where sums over rows are made at once. */
  #target({ n, to, at }: LeaveColumns): Direct | undefined {
    const { args, column } = this.#block.kernel;
    const { dtype } = args.find(({ name }) => name === to)!;
    return this.#direct([column], n, { kind: "load", from: to, at, dtype });
  }

  #enter(local: string, k: readonly Axis[], a: Expr, b: Expr, adds: boolean): void {
    const block = this.#block;
    const { frame, id } = block;
    const size = sizeOf(k);
    const left = frame.array("left", "float", `DSK_ROWS * ${size}`);
    const direct = this.#direct(block.kernel.rows, k, a);
    if (direct === undefined) {
      this.#rows(true, () => {
        frame.body.add(`float* const own = ${left} + r / DSK_STRIP * DSK_STRIP * ${size} + r % DSK_STRIP;`);
        block.loops(k, false, (i) => frame.body.add(`own[${i} * DSK_STRIP] = ${block.value(a)};`));
      });
    } else {
      const at = this.#addressesOf("rows");
      this.#rows(true, () => frame.body.add(`${at}[r] = ${this.#offset(direct)};`));
      frame.body.add(`dsk_pack(${id.block}, ${left}, ${size}, ${direct.arg}, ${at});`);
    }
    this.#columns(k, b, (right) =>
      this.#call(
        "dsk_enter",
        ...this.#part(local),
        id.first,
        id.columns,
        String(adds),
        left,
        size,
        right.base,
        right.at,
      ),
    );
  }

  #leaveRows({ local, n, b, to, at }: PlaneStmt & { kind: "leave_rows" }): void {
    const block = this.#block;
    const { frame, id } = block;
    const size = sizeOf(n);
    const out = frame.array("out", "float", `2 * DSK_ROWS * ${size}`);
    this.#call("dsk_leave_rows_begin", out, size);
    this.#columns(n, b, (right) =>
      this.#call("dsk_leave_rows", out, size, ...this.#part(local), id.first, id.columns, right.base, right.at),
    );
    this.#call("dsk_leave_rows_end", out, size);
    this.#rows(false, () =>
      block.loops(n, true, (i) => frame.body.add(`dsk_put(${block.place(to, at)}, ${out}[r * ${size} + ${i}]);`)),
    );
  }

  #leaveColumns(stmt: LeaveColumns): void {
    const { local, n, x } = stmt;
    const { id } = this.#block;
    const size = sizeOf(n);
    const rows = this.#rowOperand(n, x);
    const direct = this.#target(stmt);
    this.#chunks(COLUMNS, (each) => {
      const target =
        direct === undefined
          ? this.#ownAddresses(this.#sums.get(stmt)!, size, each, `(${id.first} + c)`)
          : this.#columnAddresses(direct, each);
      const plane = [...this.#part(local), id.first, id.columns];
      this.#call("dsk_leave_columns", ...plane, rows.base, rows.at, size, target.base, target.at);
    });
  }

  /** A call of plane.cc, which has the block as its first argument. */
  #call(name: string, ...args: readonly string[]): void {
    this.#block.frame.body.add(`${name}(${[this.#block.id.block, ...args].join(", ")});`);
  }

  /** The plane from the first column of the loop on, and the elements between strips of it. */
  #part(local: string): [plane: string, stride: string] {
    const { id } = this.#block;
    const plane = this.#block.store(this.#block.local(local)!);
    return [`${plane} + (${id.first} - ${id.block}.from) * DSK_STRIP`, this.#block.stride];
  }

  /** A loop over the rows of the block, or of whole strips, with their indices. */
  #rows(whole: boolean, body: () => void): void {
    const { frame, id } = this.#block;
    const count = whole ? `${id.block}.strips * DSK_STRIP` : `${id.block}.rows`;
    frame.body.block(`for (int64_t r = 0; r < ${count}; r++)`, () => {
      this.#block.indices("r");
      body();
    });
  }

  /** What rows have: where it lies, or computed for the whole block. */
  #rowOperand(inner: readonly Axis[], value: Expr): Addressed {
    const { frame, kernel } = this.#block;
    const at = this.#addressesOf("rows");
    const direct = this.#direct(kernel.rows, inner, value);
    if (direct !== undefined) {
      this.#rows(false, () => frame.body.add(`${at}[r] = ${this.#offset(direct)};`));
      return { base: direct.arg, at };
    }
    const size = sizeOf(inner);
    const values = frame.array("values", "float", `DSK_ROWS * ${size}`);
    this.#rows(false, () => {
      frame.body.add(`${at}[r] = r * ${size};`);
      this.#block.loops(inner, true, (i) =>
        frame.body.add(`${values}[r * ${size} + ${i}] = ${this.#block.value(value)};`),
      );
    });
    return { base: values, at };
  }

  /** A loop over chunks of columns, with what columns have: where it lies, or computed for the chunk. */
  #columns(inner: readonly Axis[], value: Expr, body: (operand: Addressed) => void): void {
    const { frame, kernel } = this.#block;
    const direct = this.#direct([kernel.column], inner, value);
    if (direct !== undefined) {
      this.#chunks(COLUMNS, (each) => body(this.#columnAddresses(direct, each)));
      return;
    }
    const size = sizeOf(inner);
    const fits = Math.floor(COMPUTED / Number(size) / TILE) * TILE;
    const count = Number.isNaN(fits) ? TILE : Math.min(COLUMNS, Math.max(TILE, fits));
    const values = frame.array("values", "float", `${count} * ${size}`);
    this.#chunks(count, (each) => {
      each(() =>
        this.#block.loops(inner, true, (i) =>
          frame.body.add(`${values}[c * ${size} + ${i}] = ${this.#block.value(value)};`),
        ),
      );
      body(this.#ownAddresses(values, size, each));
    });
  }

  /** A loop over chunks; `body` gets what makes a loop over the columns of the chunk. */
  #chunks(count: number, body: (each: (column: () => void) => void) => void): void {
    const { id, frame, kernel } = this.#block;
    const lines = frame.body;
    const size = count === COLUMNS ? "DSK_COLUMNS" : String(count);
    const loop = `${id.first} = ${id.block}.from; ${id.first} < ${id.block}.to; ${id.first} += ${size}`;
    lines.block(`for (int64_t ${loop})`, () => {
      const left = `${id.block}.to - ${id.first}`;
      lines.add(`const int64_t ${id.columns} = ${left} < ${size} ? ${left} : ${size};`);
      body((column) =>
        lines.block(`for (int64_t c = 0; c < ${id.columns}; c++)`, () => {
          lines.add(`const int64_t ${frame.names.axis(kernel.column.name)} = ${id.first} + c;`);
          column();
        }),
      );
    });
  }

  #columnAddresses(direct: Direct, each: (column: () => void) => void): Addressed {
    const at = this.#addressesOf("columns");
    each(() => this.#block.frame.body.add(`${at}[c] = ${this.#offset(direct)};`));
    return { base: direct.arg, at };
  }

  /** An array of the item's own, with a row for each column of the chunk, or for another number that columns have. */
  #ownAddresses(base: string, size: string, each: (column: () => void) => void, number = "c"): Addressed {
    const at = this.#addressesOf("columns");
    each(() => this.#block.frame.body.add(`${at}[c] = ${number} * ${size};`));
    return { base, at };
  }

  #addressesOf(side: "rows" | "columns"): string {
    const { frame } = this.#block;
    const known = this.#addresses.get(side);
    const at = known ?? frame.array(`${side}_at`, "int64_t", side === "rows" ? "DSK_ROWS" : "DSK_COLUMNS");
    this.#addresses.set(side, at);
    return at;
  }

  #direct(outer: readonly Axis[], inner: readonly Axis[], value: Expr): Direct | undefined {
    const { args } = this.#block.kernel;
    const operand = operandOf(value, outer, inner, args);
    if (operand.kind !== "strided") return undefined;
    const { dtype, shape } = args.find(({ name }) => name === operand.arg)!;
    if (dtype !== "f32" || linear(inner, operand.at.k, shape) !== 1) return undefined;
    return { arg: operand.arg, at: operand.at.fixed.map((x, i) => add(x, operand.at.outer[i]!)) };
  }

  #offset({ arg, at }: Direct): string {
    const scalars = this.#block.scalars(...at);
    return this.#block.frame.names.offset(arg, at, (x) => scalars.print(x));
  }

  /** Rows do not count where they do not see a column. */
  #clear(local: string): void {
    const { kernel, stride } = this.#block;
    if (kernel.span === undefined || this.#cleared.has(local)) return;
    this.#cleared.add(local);
    this.#call("dsk_clear", this.#block.store(this.#block.local(local)!), stride);
  }
}

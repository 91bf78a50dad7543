import type { Axis, Expr, Local, PlaneKernel, PlaneStmt } from "../../kernel-ir/types.ts";
import { Frame, product } from "./frame.ts";
import { Scalars, storageType, valueType } from "./scalars.ts";

/** Rows of a block: what is packed of the columns' side is used by so many. */
const ROWS = 60;
/** Columns that are packed at a time: they stay in the second-level cache. */
const COLUMNS = 256;

/** Blocks of rows, one after the other; a block's planes are scratch memory, as long as all columns. */
export function printPlane(kernel: PlaneKernel): string {
  return new PlanePrinter(kernel).print();
}

class PlanePrinter {
  readonly #kernel: PlaneKernel;
  readonly #frame: Frame;
  readonly #inner: string;
  readonly #columns: string;
  /** Planes whose columns outside of the rows' spans are 0 already. */
  readonly #cleared = new Set<string>();
  #temps = 0;

  constructor(kernel: PlaneKernel) {
    this.#kernel = kernel;
    this.#frame = new Frame(kernel, [], "plane.h");
    this.#frame.names.declare(kernel.locals);
    for (const local of kernel.locals) this.#reserve(local);
    this.#inner = product(kernel.rows.slice(1).map(({ extent }) => String(extent)));
    this.#columns = String(kernel.column.extent);
  }

  print(): string {
    const { batch, rows, body, span } = this.#kernel;
    const frame = this.#frame;
    const lines = frame.body;
    const tokens = rows[0]!;
    const t = frame.names.axis(tokens.name);
    const sumsColumns = body.some(({ kind }) => kind === "leave_columns");
    // Sums over tokens belong to one item; otherwise blocks of tokens are independent.
    const chunks = sumsColumns ? "1" : `((${tokens.extent} + chunk - 1) / chunk)`;
    const chunk = sumsColumns ? `const int64_t chunk = ${tokens.extent};` : chunkOf(String(tokens.extent));
    frame.prelude(chunk);
    lines.block("for (int64_t item = begin; item < end; item++)", () => {
      frame.unpack([...batch, { name: "chunk index", extent: chunks }], "item");
      const first = `${frame.names.axis("chunk index")} * chunk`;
      for (const stmt of body) if (stmt.kind === "leave_columns") this.#zero(stmt);
      lines.add(`const int64_t limit = ${first} + chunk < ${tokens.extent} ? ${first} + chunk : ${tokens.extent};`);
      this.#bound("from", span?.from, "0");
      this.#bound("to", span?.to, this.#columns);
      const most = this.#inner === "1" ? String(ROWS) : `(${ROWS} / ${this.#inner} > 1 ? ${ROWS} / ${this.#inner} : 1)`;
      lines.block(`for (int64_t token = ${first}; token < limit;)`, () => {
        lines.add(`const dsk_block block = dsk_next_block(token, limit, ${most}, from, to);`);
        lines.add(`const int64_t all = ${product(["(block.end - token)", this.#inner])};`);
        lines.block(`for (int64_t row = 0; row < all; row += ${ROWS})`, () => {
          lines.add(`const int64_t rows = all - row < ${ROWS} ? all - row : ${ROWS};`);
          this.#body(t);
        });
        lines.add("token = block.end;");
      });
    });
    return frame.file(product([...batch.map(({ extent }) => String(extent)), chunks]));
  }

  get #tokenOfRow(): string {
    return this.#inner === "1" ? "token + row + r" : `token + (row + r) / ${this.#inner}`;
  }

  #reserve(local: Local): void {
    const { name, dtype, shape } = local;
    const count = shape.length === 0 ? String(ROWS) : `${ROWS} * ${shape.map(String).join(" * ")}`;
    this.#frame.reserve(`${name}_rows`, shape.length === 0 ? valueOf(dtype) : storageType(dtype), count);
  }

  /** `from(token)`: a row's first column, or the end. */
  #bound(name: string, expr: Expr | undefined, otherwise: string): void {
    const lines = this.#frame.body;
    const t = this.#frame.names.axis(this.#kernel.rows[0]!.name);
    const text = expr === undefined ? otherwise : this.#scalars(expr).print(expr);
    lines.add(`const auto ${name} = [&](int64_t ${t}) { return int64_t(${text}); };`);
  }

  #scalars(...exprs: readonly Expr[]): Scalars {
    const scalars = new Scalars(this.#frame.names, this.#frame.body, () => `p${this.#temps++}`);
    scalars.prepare(...exprs);
    return scalars;
  }

  #body(t: string): void {
    const { body } = this.#kernel;
    for (let i = 0; i < body.length;) {
      const stmt = body[i]!;
      if (stmt.kind !== "row") {
        this.#product(stmt);
        i++;
        continue;
      }
      // Statements of rows that follow each other share the loop.
      const end = body.findIndex((other, at) => at > i && other.kind !== "row");
      const run = body.slice(i, end < 0 ? body.length : end);
      this.#rows(t, () => {
        this.#locals();
        for (const each of run) {
          if (each.kind !== "row") continue;
          this.#frame.statements.print(each.stmt);
          this.#cleared.delete(each.stmt.to);
        }
      });
      i += run.length;
    }
  }

  /** A loop over the rows of the block, with their axes. */
  #rows(t: string, inside: () => void): void {
    const frame = this.#frame;
    const { rows, column } = this.#kernel;
    frame.body.block("for (int64_t r = 0; r < rows; r++)", () => {
      frame.body.add(`const int64_t ${t} = ${this.#tokenOfRow};`);
      const inner = rows.slice(1);
      if (inner.length > 0) {
        frame.body.add(`const int64_t place = (row + r) % ${this.#inner};`);
        frame.unpack(inner, "place");
      }
      frame.body.add(`[[maybe_unused]] const int64_t own_from = from(${t}), own_to = to(${t});`);
      frame.statements.limit(column.name, "own_from", "own_to");
      inside();
    });
  }

  #locals(): void {
    for (const { name, dtype, shape } of this.#kernel.locals) {
      this.#frame.body.add(
        shape.length === 0
          ? `${valueOf(dtype)}& ${name} = ${name}_rows[r];`
          : `${storageType(dtype)}* __restrict ${name} = ${name}_rows + r * ${this.#columns};`,
      );
    }
  }

  #product(stmt: Exclude<PlaneStmt, { kind: "row" }>): void {
    switch (stmt.kind) {
      case "enter":
        for (const [i, { k, a, b }] of stmt.products.entries()) this.#enter(stmt.local, k, a, b, i > 0);
        return;
      case "leave_rows":
        return this.#leaveRows(stmt);
      case "leave_columns":
        return this.#leaveColumns(stmt);
    }
  }

  /** Loops over axes with a counter of their elements. */
  #counted(axes: readonly Axis[], counter: string, body: () => void): void {
    const lines = this.#frame.body;
    lines.add(`int64_t ${counter} = 0;`);
    const loop = (rest: readonly Axis[]): void => {
      const [first, ...others] = rest;
      if (first === undefined) {
        body();
        lines.add(`${counter}++;`);
        return;
      }
      const i = this.#frame.names.axis(first.name);
      lines.block(`for (int64_t ${i} = 0; ${i} < ${first.extent}; ${i}++)`, () => loop(others));
    };
    loop(axes);
  }

  #value(expr: Expr): string {
    return this.#scalars(expr).print(expr);
  }

  #enter(local: string, k: readonly Axis[], a: Expr, b: Expr, adds: boolean): void {
    this.#cleared.delete(local);
    const { names, body: lines } = this.#frame;
    const size = product(k.map(({ extent }) => String(extent)));
    const left = this.#frame.array("left", "float", `${ROWS} * ${size}`);
    const right = this.#frame.array("right", "float", `${COLUMNS} * ${size}`);
    const t = names.axis(this.#kernel.rows[0]!.name);
    this.#rows(t, () => this.#counted(k, "i", () => lines.add(`${left}[r * ${size} + i] = ${this.#value(a)};`)));
    this.#chunks(() => {
      const s = names.axis(this.#kernel.column.name);
      lines.block(`for (int64_t c = 0; c < columns; c++)`, () => {
        lines.add(`const int64_t ${s} = first + c;`);
        lines.add(`float* to = ${right} + c / DSK_LANES * DSK_LANES * ${size} + c % DSK_LANES;`);
        this.#counted(k, "i", () => lines.add(`to[i * DSK_LANES] = ${this.#value(b)};`));
      });
      lines.add(
        `dsk_enter(${local}_rows + first, ${this.#columns}, rows, columns, ${left}, ${size}, ${right}, ${adds});`,
      );
    });
  }

  #chunks(body: () => void): void {
    this.#frame.body.block(`for (int64_t first = block.from; first < block.to; first += ${COLUMNS})`, () => {
      this.#frame.body.add(`const int64_t columns = block.to - first < ${COLUMNS} ? block.to - first : ${COLUMNS};`);
      body();
    });
  }

  /** The row's columns that the block has and its own span has not. */
  #clear(local: string): void {
    const lines = this.#frame.body;
    if (this.#kernel.span === undefined || this.#cleared.has(local)) return;
    this.#cleared.add(local);
    const t = this.#frame.names.axis(this.#kernel.rows[0]!.name);
    lines.block("for (int64_t r = 0; r < rows; r++)", () => {
      lines.add(`const int64_t ${t} = ${this.#tokenOfRow};`);
      lines.add(`float* plane = ${local}_rows + r * ${this.#columns};`);
      lines.add(`for (int64_t c = block.from; c < from(${t}) && c < block.to; c++) plane[c] = 0;`);
      lines.add(`for (int64_t c = to(${t}) > block.from ? to(${t}) : block.from; c < block.to; c++) plane[c] = 0;`);
    });
  }

  #leaveRows({ local, n, b, to, at }: PlaneStmt & { kind: "leave_rows" }): void {
    const { names, body: lines } = this.#frame;
    const size = product(n.map(({ extent }) => String(extent)));
    const padded = padding(size);
    const out = this.#frame.array("out", "float", `${ROWS} * ${padded}`);
    const right = this.#frame.array("right", "float", `${COLUMNS} * ${padded}`);
    this.#clear(local);
    lines.add(`for (int64_t i = 0; i < rows * ${padded}; i++) ${out}[i] = 0;`);
    this.#chunks(() => {
      this.#packRows(right, padded, n, b);
      lines.add(`dsk_leave_rows(${out}, ${padded}, rows, columns, ${local}_rows + first, ${this.#columns}, ${right});`);
    });
    const t = names.axis(this.#kernel.rows[0]!.name);
    this.#rows(t, () =>
      this.#counted(n, "i", () => {
        const scalars = this.#scalars(...at);
        lines.add(`dsk_put(${to}[${names.offset(to, at, (x) => scalars.print(x))}], ${out}[r * ${padded} + i]);`);
      }),
    );
  }

  /** Columns of the other side, each as a row of n elements and zeros. */
  #packRows(right: string, padded: string, n: readonly Axis[], value: Expr): void {
    const { names, body: lines } = this.#frame;
    const s = names.axis(this.#kernel.column.name);
    lines.block(`for (int64_t c = 0; c < columns; c++)`, () => {
      lines.add(`const int64_t ${s} = first + c;`);
      this.#counted(n, "i", () => lines.add(`${right}[c * ${padded} + i] = ${this.#value(value)};`));
      lines.add(`for (; i < ${padded}; i++) ${right}[c * ${padded} + i] = 0;`);
    });
  }

  #leaveColumns({ local, n, x, to, at }: PlaneStmt & { kind: "leave_columns" }): void {
    const { names, body: lines } = this.#frame;
    const size = product(n.map(({ extent }) => String(extent)));
    const padded = padding(size);
    const left = this.#frame.array("left", "float", `${ROWS} * ${padded}`);
    const out = this.#frame.array("out", "float", `${COLUMNS} * ${padded}`);
    const t = names.axis(this.#kernel.rows[0]!.name);
    this.#clear(local);
    this.#rows(t, () => {
      this.#counted(n, "i", () => lines.add(`${left}[r * ${padded} + i] = ${this.#value(x)};`));
      lines.add(`for (; i < ${padded}; i++) ${left}[r * ${padded} + i] = 0;`);
    });
    this.#chunks(() => {
      lines.add(
        `dsk_leave_columns(${out}, ${padded}, rows, columns, ${local}_rows + first, ${this.#columns}, ${left});`,
      );
      const s = names.axis(this.#kernel.column.name);
      lines.block(`for (int64_t c = 0; c < columns; c++)`, () => {
        lines.add(`const int64_t ${s} = first + c;`);
        this.#counted(n, "i", () => {
          const scalars = this.#scalars(...at);
          const place = `${to}[${names.offset(to, at, (y) => scalars.print(y))}]`;
          lines.add(`dsk_put(${place}, dsk_get(${place}) + ${out}[c * ${padded} + i]);`);
        });
      });
    });
  }

  #zero({ n, to, at }: PlaneStmt & { kind: "leave_columns" }): void {
    const { names, body: lines } = this.#frame;
    const s = names.axis(this.#kernel.column.name);
    lines.block(`for (int64_t ${s} = 0; ${s} < ${this.#columns}; ${s}++)`, () =>
      this.#counted(n, "i", () => {
        const scalars = this.#scalars(...at);
        lines.add(`dsk_put(${to}[${names.offset(to, at, (y) => scalars.print(y))}], 0.0f);`);
      }),
    );
  }
}

/** Rows are shared out in chunks: long ones to use what is packed again, short ones where there are few tokens. */
function chunkOf(tokens: string): string {
  return `const int64_t chunk = ${tokens} >= 2048 ? 256 : ${tokens} >= 8 ? (${tokens} + 7) / 8 : 1;`;
}

function padding(size: string): string {
  return /^\d+$/.test(size) ? String(Math.ceil(Number(size) / 16) * 16) : `dsk_padded(${size})`;
}

function valueOf(dtype: Local["dtype"]): string {
  return dtype === "bool" ? "uint8_t" : valueType(dtype);
}

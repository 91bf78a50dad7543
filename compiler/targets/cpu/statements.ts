/** Statements of the kernel IR as C++ loops. */
import { constant, dtypeOf, index, isOp, known, type Ranges, substitute, walk, widened } from "../../kernel-ir/expr.ts";
import type { Axis, Expr, Stmt } from "../../kernel-ir/types.ts";
import type { Lines } from "../../emit/lines.ts";
import { type Names, Scalars, startOf } from "../scalars.ts";
import { CPP, foldInto, literal, storageType, valueType } from "./cpp.ts";

/** An innermost loop of so few iterations is written out. */
const UNROLLED = 4;
/** A sum of so few terms is written out inside of the loop over its results. */
const SHORT_SUM = 16;

export class StatementPrinter {
  readonly #names: Names;
  readonly #lines: Lines;
  readonly #scratch: (hint: string, dtype: string, count: string) => string;
  readonly #extents = new Map<string, number>();
  readonly #limits = new Map<string, readonly [from: string, to: string]>();
  #temps = 0;

  /** @param scratch gives the name of a fresh array of the item's scratch memory */
  constructor(names: Names, lines: Lines, scratch: (hint: string, dtype: string, count: string) => string) {
    this.#names = names;
    this.#lines = lines;
    this.#scratch = scratch;
  }

  print(stmt: Stmt): void {
    switch (stmt.kind) {
      case "assign":
        return this.#assign(stmt);
      case "reduce":
        return this.#reduce(stmt);
      case "top_k":
      case "rank":
        return this.#order(stmt);
      case "scan":
        return this.#scan(stmt);
      case "sort":
        return this.#sort(stmt);
      case "scatter":
        return this.#scatter(stmt);
    }
  }

  /** Stores at one point, none of which reads what another one wrote: what their values have in common is computed once. */
  printTogether(stmts: readonly Stmt[]): void {
    const stores = stmts.filter((stmt) => stmt.kind === "assign" && stmt.axes.length === 0);
    const scalars = this.#scalars(...stores.flatMap(({ value, at }) => [value, ...at]));
    for (const { value, to, at } of stores) {
      const text = scalars.print(value);
      this.#lines.add(this.#write(this.#place(to, at, scalars), to, text));
    }
    for (const stmt of stmts) if (!stores.includes(stmt)) this.print(stmt);
  }

  #bind(axes: readonly Axis[]): void {
    for (const { name, extent } of axes) if (typeof extent === "number") this.#extents.set(name, extent);
  }

  readonly #ranges: Ranges = (name) => this.#extents.get(name);

  /** From now on, loops over the axis run from `from` to `to` only. */
  limit(axis: string, from: string, to: string): void {
    this.#limits.set(axis, [from, to]);
  }

  /** Nested loops; the last axis gets a pragma when its iterations are independent. */
  #loops(axes: readonly Axis[], simd: string | undefined, body: () => void): void {
    const [first, ...rest] = axes;
    if (first === undefined) return body();
    const i = this.#names.axis(first.name);
    if (rest.length === 0 && simd !== undefined) this.#lines.add(simd);
    const [from, to] = this.#limits.get(first.name) ?? ["0", this.#names.extent(first.extent)];
    this.#lines.block(`for (int64_t ${i} = ${from}; ${i} < ${to}; ${i}++)`, () => this.#loops(rest, simd, body));
  }

  #scalars(...exprs: readonly Expr[]): Scalars {
    const scalars = new Scalars(CPP, this.#names, this.#lines, () => `v${this.#temps++}`);
    scalars.prepare(...exprs);
    return scalars;
  }

  #place(to: string, at: readonly Expr[], scalars: Scalars): string {
    const store = this.#names.store(to);
    if (store.shape.length === 0 && !("access" in store)) return to;
    return `${to}[${this.#names.offset(to, at, (x) => scalars.print(x))}]`;
  }

  #store(to: string, at: readonly Expr[], value: Expr): void {
    const scalars = this.#scalars(value, ...at);
    const text = scalars.print(value);
    this.#lines.add(this.#write(this.#place(to, at, scalars), to, text));
  }

  #write(place: string, to: string, text: string): string {
    const store = this.#names.store(to);
    return store.shape.length === 0 && !("access" in store) ? `${place} = ${text};` : `dsk_put(${place}, ${text});`;
  }

  #assign({ axes, to, at, value }: Stmt & { kind: "assign" }): void {
    this.#bind(axes);
    const { outer, unrolled } = split(axes);
    const last = outer.at(-1);
    const bounds = last === undefined || typeof last.extent !== "number" ? [] : breaks(value, last.name, last.extent);
    if (bounds.length === 0) {
      this.#loops(outer, SIMD, () => this.#each(unrolled, new Map(), (fixed) => this.#storeAt(to, at, value, fixed)));
      return;
    }
    // Pieces of a loop in each of which the conditions on its axis are known: no branch inside.
    const ends = [...bounds, last!.extent as number];
    this.#loops(outer.slice(0, -1), undefined, () => {
      let from = 0;
      for (const end of ends) {
        const i = this.#names.axis(last!.name);
        const inside = within(value, last!.name, from, end);
        this.#lines.add(SIMD);
        this.#lines.block(`for (int64_t ${i} = ${from}; ${i} < ${end}; ${i}++)`, () =>
          this.#each(unrolled, new Map(), (fixed) => this.#storeAt(to, at, inside, fixed)),
        );
        from = end;
      }
    });
  }

  #storeAt(to: string, at: readonly Expr[], value: Expr, fixed: ReadonlyMap<string, Expr>): void {
    const bind = (x: Expr): Expr => (fixed.size === 0 ? x : substitute(x, fixed, this.#ranges));
    this.#store(to, at.map(bind), bind(value));
  }

  #each(
    axes: readonly Axis[],
    fixed: ReadonlyMap<string, Expr>,
    body: (fixed: ReadonlyMap<string, Expr>) => void,
  ): void {
    const [first, ...rest] = axes;
    if (first === undefined) return body(fixed);
    for (let i = 0; i < (first.extent as number); i++)
      this.#each(rest, new Map([...fixed, [first.name, index(i)]]), body);
  }

  #reduce(stmt: Stmt & { kind: "reduce" }): void {
    const { axes, over, to, at, value, reduction } = stmt;
    this.#bind([...axes, ...over]);
    const terms = over.reduce<number>((n, { extent }) => (typeof extent === "number" ? n * extent : Infinity), 1);
    if (terms <= SHORT_SUM && axes.length > 0) {
      const all: Expr[] = [];
      this.#each(over, new Map(), (fixed) => all.push(substitute(value, fixed, this.#ranges)));
      const name = reduction === "sum" ? "add" : reduction;
      const dtype = dtypeOf(value);
      const folded = all.reduce((a, b) => ({ kind: "op", op: name, operands: [a, b], dtype }));
      return this.#assign({ kind: "assign", axes, to, at, value: folded });
    }
    const dtype = dtypeOf(value);
    const type = valueType(dtype);
    const start = startOf(CPP, reduction, dtype);
    if (axes.length > 0 && runsAlong(value, axes.at(-1)!.name) && !runsAlong(value, over.at(-1)!.name)) {
      return this.#accumulate(stmt, start);
    }
    this.#loops(axes, undefined, () => {
      const sum = `sum${this.#temps++}`;
      this.#lines.add(`${type} ${sum} = ${start};`);
      const isFloat = type === "float" || type === "double";
      if (reduction === "sum" || !isFloat) {
        const operator = reduction === "sum" ? "+" : reduction;
        const simd = type === "int64_t" ? undefined : `#pragma omp simd reduction(${operator} : ${sum})`;
        this.#loops(over, simd, () => {
          const text = this.#scalars(value).print(value);
          this.#lines.add(foldInto(sum, reduction, type, text));
        });
      } else this.#extreme(sum, type, reduction, over, value);
      const scalars = this.#scalars(...at);
      this.#lines.add(this.#write(this.#place(to, at, scalars), to, sum));
    });
  }

  /** The largest or smallest in vectors: comparisons pass NaN by, so it is looked for apart. */
  #extreme(found: string, type: string, reduction: "max" | "min", over: readonly Axis[], value: Expr): void {
    const nans = `nans${this.#temps++}`;
    this.#lines.add(`int32_t ${nans} = 0;`);
    this.#loops(over, `#pragma omp simd reduction(${reduction} : ${found}) reduction(| : ${nans})`, () => {
      const term = `v${this.#temps++}`;
      this.#lines.add(`const ${type} ${term} = ${this.#scalars(value).print(value)};`);
      this.#lines.add(`${found} = ${term} ${reduction === "max" ? ">" : "<"} ${found} ? ${term} : ${found};`);
      this.#lines.add(`${nans} |= ${term} != ${term};`);
    });
    this.#lines.add(`if (${nans}) ${found} = ${type}(DSK_NAN);`);
  }

  /** The sums of neighboring results together: rows of terms are added one after the other. */
  #accumulate({ axes, over, to, at, value, reduction }: Stmt & { kind: "reduce" }, start: string): void {
    const dtype = dtypeOf(value);
    const last = axes.at(-1)!;
    const sums = this.#scratch("sums", storageType(widened(dtype)), this.#names.extent(last.extent));
    const i = this.#names.axis(last.name);
    this.#loops(axes.slice(0, -1), undefined, () => {
      this.#loops([last], SIMD, () => this.#lines.add(`${sums}[${i}] = ${start};`));
      this.#loops([...over, last], SIMD, () => {
        const text = this.#scalars(value).print(value);
        this.#lines.add(foldInto(`${sums}[${i}]`, reduction, valueType(dtype), text));
      });
      this.#loops([last], SIMD, () => {
        const scalars = this.#scalars(...at);
        this.#lines.add(this.#write(this.#place(to, at, scalars), to, `${sums}[${i}]`));
      });
    });
  }

  #order(stmt: Stmt & { kind: "top_k" | "rank" }): void {
    const { axes, over, to, at, value } = stmt;
    this.#bind([...axes, over]);
    const count = this.#names.extent(over.extent);
    const dtype = dtypeOf(value);
    const values = this.#scratch("values", storageType(widened(dtype)), count);
    const counter = stmt.kind === "top_k" ? stmt.counter : over;
    this.#bind([counter]);
    const order =
      stmt.kind === "top_k" ? this.#scratch("order", "int32_t", this.#names.extent(counter.extent)) : undefined;
    this.#loops(axes, undefined, () => {
      const i = this.#names.axis(over.name);
      this.#loops([over], SIMD, () => this.#lines.add(`${values}[${i}] = ${this.#scalars(value).print(value)};`));
      if (order !== undefined)
        this.#lines.add(`dsk_top_k(${values}, ${count}, ${this.#names.extent(counter.extent)}, ${order});`);
      this.#loops([counter], undefined, () => {
        const c = this.#names.axis(counter.name);
        const scalars = this.#scalars(...at);
        const text = order === undefined ? `dsk_rank(${values}, ${count}, ${c})` : `${order}[${c}]`;
        this.#lines.add(this.#write(this.#place(to, at, scalars), to, text));
      });
    });
  }

  #scan({ axes, over, exclusive, reverse, value, to, at }: Stmt & { kind: "scan" }): void {
    this.#bind([...axes, over]);
    const dtype = dtypeOf(value);
    this.#loops(axes, undefined, () => {
      const sum = `sum${this.#temps++}`;
      const i = this.#names.axis(over.name);
      const size = this.#names.extent(over.extent);
      this.#lines.add(`${valueType(dtype)} ${sum} = ${literal(0, dtype)};`);
      const loop = reverse
        ? `for (int64_t ${i} = ${size} - 1; ${i} >= 0; ${i}--)`
        : `for (int64_t ${i} = 0; ${i} < ${size}; ${i}++)`;
      this.#lines.block(loop, () => {
        const scalars = this.#scalars(value, ...at);
        const text = scalars.print(value);
        const place = this.#place(to, at, scalars);
        if (exclusive) this.#lines.add(this.#write(place, to, sum));
        this.#lines.add(`${sum} += ${text};`);
        if (!exclusive) this.#lines.add(this.#write(place, to, sum));
      });
    });
  }

  /** Two passes over the rows: how many each group has says where it begins. */
  #sort({ axes, over, groups, value, to, at }: Stmt & { kind: "sort" }): void {
    this.#bind([...axes, ...over]);
    const lines = this.#lines;
    const [tile, place] = axes.map(({ name }) => this.#names.axis(name));
    const by = axes[1].extent;
    const next = this.#scratch("next", "int64_t", String(groups));
    const [group, row, begin] = ["group", "row", "begin"].map((hint) => `${hint}${this.#temps++}`);
    const eachGroup = `for (int64_t ${group} = 0; ${group} < ${groups}; ${group}++)`;
    const eachRow = (body: () => void): void =>
      this.#loops(over, undefined, () => {
        lines.add(`const int64_t ${group} = ${this.#scalars(value).print(value)};`);
        lines.block(`if (${group} >= 0 && ${group} < ${groups})`, body);
        lines.add(`${row}++;`);
      });
    lines.add(`int64_t ${row} = 0, ${begin} = 0;`, `${eachGroup} ${next}[${group}] = 0;`);
    eachRow(() => lines.add(`${next}[${group}]++;`));
    lines.block(eachGroup, () => {
      lines.add(`const int64_t rows = ${next}[${group}];`);
      lines.add(`${next}[${group}] = ${begin};`, `${begin} += (rows + ${by} - 1) / ${by} * ${by};`);
    });
    this.#loops(axes, SIMD, () => this.#store(to, at, constant(-1, "i32")));
    lines.add(`${row} = 0;`);
    eachRow(() => {
      lines.add(`const int64_t ${tile} = ${next}[${group}] / ${by}, ${place} = ${next}[${group}]++ % ${by};`);
      this.#lines.add(this.#write(this.#place(to, at, this.#scalars(...at)), to, row!));
    });
  }

  #scatter({ zeroed, zeroedAt, axes, when, value, to, at }: Stmt & { kind: "scatter" }): void {
    this.#bind([...zeroed, ...axes]);
    const { dtype } = this.#names.store(to);
    this.#loops(zeroed, SIMD, () => this.#store(to, zeroedAt, constant(dtype === "bool" ? false : 0, dtype)));
    this.#loops(axes, undefined, () => {
      const scalars = this.#scalars(when, value, ...at);
      this.#lines.block(`if (${scalars.print(when)})`, () => {
        const inner = this.#scalars(value, ...at);
        const place = this.#place(to, at, inner);
        const isValue = this.#names.store(to).shape.length === 0 && !("access" in this.#names.store(to));
        const old = isValue ? place : `dsk_get(${place})`;
        this.#lines.add(this.#write(place, to, `${old} + ${inner.print(value)}`));
      });
    });
  }
}

const SIMD = "#pragma omp simd";

/** The inner axes that are written out. */
function split(axes: readonly Axis[]): { outer: readonly Axis[]; unrolled: readonly Axis[] } {
  let from = axes.length;
  let count = 1;
  while (from > 0) {
    const { extent } = axes[from - 1]!;
    if (typeof extent !== "number" || count * extent > UNROLLED) break;
    count *= extent;
    from--;
  }
  return { outer: axes.slice(0, from), unrolled: axes.slice(from) };
}

/** Where conditions on an axis change within its range: `axis < 32`, `axis >= 64`. */
function breaks(value: Expr, axis: string, extent: number): number[] {
  const found = new Set<number>();
  walk(value, (part) => {
    if (part.kind !== "op" || part.dtype !== "bool" || part.operands.length !== 2) return;
    const [a, b] = part.operands;
    const limit = known(b!);
    if (a!.kind !== "axis" || a!.axis !== axis || limit === undefined) return;
    if (part.op === "lt" || part.op === "ge") found.add(limit);
    if (part.op === "le" || part.op === "gt") found.add(limit + 1);
  });
  return [...found].filter((at) => at > 0 && at < extent).toSorted((a, b) => a - b);
}

/** The expression for from <= axis < to. */
function within(expr: Expr, axis: string, from: number, to: number): Expr {
  const inner = (x: Expr): Expr => within(x, axis, from, to);
  if (expr.kind === "load") return { ...expr, at: expr.at.map(inner) };
  if (expr.kind !== "op") return expr;
  const [a, b] = expr.operands;
  const limit = b === undefined ? undefined : known(b);
  if (a!.kind === "axis" && a!.axis === axis && limit !== undefined && expr.dtype === "bool") {
    const low = compare(expr.op, from, limit);
    if (low !== undefined && low === compare(expr.op, to - 1, limit)) return constant(low, "bool");
  }
  // Bounds of an index that this piece of the loop keeps anyhow.
  if (isOp(expr, "max") || isOp(expr, "min")) {
    const x = inner(a!);
    const [least, most] = [shifted(x, axis, from), shifted(x, axis, to - 1)];
    if (limit !== undefined && least !== undefined && most !== undefined) {
      if (expr.op === "max" && least >= limit) return x;
      if (expr.op === "min" && most <= limit) return x;
    }
    return { ...expr, operands: [x, ...expr.operands.slice(1).map(inner)] };
  }
  return substitute({ ...expr, operands: expr.operands.map(inner) }, new Map(), () => undefined);
}

function compare(op: string, a: number, b: number): boolean | undefined {
  return ({ lt: a < b, le: a <= b, gt: a > b, ge: a >= b } as Record<string, boolean | undefined>)[op];
}

/** The value of axis + c or axis - c at a value of the axis. */
function shifted(expr: Expr, axis: string, at: number): number | undefined {
  if (expr.kind === "axis") return expr.axis === axis ? at : undefined;
  if (expr.kind !== "op" || (expr.op !== "add" && expr.op !== "sub")) return undefined;
  const by = known(expr.operands[1]!);
  const base = shifted(expr.operands[0]!, axis, at);
  if (by === undefined || base === undefined) return undefined;
  return expr.op === "add" ? base + by : base - by;
}

/** Whether most loads lie next to each other along the axis. */
function runsAlong(value: Expr, axis: string): boolean {
  let [along, across] = [0, 0];
  walk(value, (part) => {
    if (part.kind !== "load" || part.at.length === 0) return;
    const uses = (x: Expr): boolean => {
      let found = false;
      walk(x, (inner) => (found ||= inner.kind === "axis" && inner.axis === axis));
      return found;
    };
    if (uses(part.at.at(-1)!)) along++;
    else if (part.at.some(uses)) across++;
  });
  return along > across;
}

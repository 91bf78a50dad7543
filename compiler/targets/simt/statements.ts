/**
 * Statements of the kernel IR, executed by the threads of a workgroup together: loops over results are shared out among them,
 * sums are folded across them, barriers stand where a statement needs what another thread wrote.
 */
import { constant, dtypeOf, loadedBy, walk } from "../../kernel-ir/expr.ts";
import type { Axis, Expr, Reduction, ScalarType, Stmt } from "../../kernel-ir/types.ts";
import { isFloatType, Scalars, startOf } from "../scalars.ts";
import { knownSize } from "./axes.ts";
import type { Dialect } from "./dialect.ts";
import type { Frame } from "./frame.ts";

export class Statements {
  readonly #frame: Frame;
  readonly #dialect: Dialect;
  /** Threads of a workgroup. */
  readonly threads: number;
  readonly #group: number;
  readonly #limits = new Map<string, readonly [from: string, to: string]>();
  /** What was written and read since the last barrier. */
  #written = new Set<string>();
  #read = new Set<string>();

  /**
   * @param threads those that execute a statement together
   * @param group threads of the workgroup, when there are several such teams in it; then `inside` says whether a team has a row
   * of its own, or repeats the last one and must not store
   */
  constructor(frame: Frame, threads: number, group = threads) {
    this.#frame = frame;
    this.#dialect = frame.dialect;
    this.threads = threads;
    this.#group = group;
  }

  /** From now on, loops over the axis run from `from` to `to` only. */
  limit(axis: string, from: string, to: string): void {
    this.#limits.set(axis, [from, to]);
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
      case "scatter":
        return this.#scatter(stmt);
      case "sort":
        throw new Error("rows are sorted by a kernel of its own (sorted-tiles.ts)");
    }
  }

  /** A barrier where what was written or read before would be in the way of this. */
  settle(reads: Iterable<string>, writes: Iterable<string>): void {
    const [read, wrote] = [[...reads], [...writes]];
    if (this.threads > 1) {
      const waits =
        read.some((name) => this.#written.has(name)) ||
        wrote.some((name) => this.#written.has(name) || this.#read.has(name));
      if (waits) this.barrier();
    }
    for (const name of read) this.#read.add(name);
    for (const name of wrote) this.#written.add(name);
  }

  barrier(): void {
    if (this.threads === 1) return;
    const { threads } = this;
    const isTeam = this.#group > threads;
    this.#frame.lines.add(
      ...(isTeam ? this.#dialect.teamBarrier({ threads, group: this.#group }) : this.#dialect.barrier("both")),
    );
    this.#written = new Set();
    this.#read = new Set();
  }

  /** Values, names for what they have in common above. */
  scalars(...exprs: readonly Expr[]): Scalars {
    const { language, names, lines } = this.#frame;
    const scalars = new Scalars(language, names, lines, () => this.#frame.temp("v"));
    scalars.prepare(...exprs);
    return scalars;
  }

  /** Stores at a point that one thread has for itself. */
  store(to: string, at: readonly Expr[], value: Expr): void {
    const scalars = this.scalars(value, ...at);
    const text = scalars.print(value);
    this.write(to, at, scalars, text);
  }

  write(to: string, at: readonly Expr[], scalars: Scalars, text: string): void {
    const { lines, names } = this.#frame;
    const store = names.store(to);
    if (this.#isValue(to)) return lines.add(`${to} = ${text};`);
    const offset = names.offset(to, at, (x) => scalars.print(x));
    const stored = this.#dialect.store(store, offset, text);
    const isArgument = this.#frame.kernel.args.some(({ name }) => name === to);
    if (isArgument && this.#group > this.threads) lines.block("if (inside)", () => lines.add(stored));
    else lines.add(stored);
  }

  #isValue(name: string): boolean {
    const store = this.#frame.names.store(name);
    return store.shape.length === 0 && !("access" in store);
  }

  /** The body for every point of the axes, shared out among the threads; the last axis is that of neighbors. */
  each(axes: readonly Axis[], body: () => void): void {
    const { lines, names } = this.#frame;
    if (axes.length === 0) {
      if (this.threads === 1) return body();
      return lines.block("if (lane == 0)", body);
    }
    const sizes = axes.map((axis) => this.#size(axis));
    const total = sizes.map(({ size }) => wrapped(size)).join(" * ");
    const point = axes.length === 1 ? names.axis(axes[0]!.name) : this.#frame.temp("i");
    const first = axes.length === 1 ? sizes[0]!.from : "0";
    const end = axes.length === 1 ? sizes[0]!.to : total;
    const begin = this.threads === 1 ? first : first === "0" ? "lane" : `${first} + lane`;
    const known = knownSize(axes);
    const isLong = axes.length > 1 && (known === undefined || known >= 2 ** 31);
    const head = isLong ? this.#dialect.longLoop : this.#dialect.loop;
    lines.block(head(point, begin, end, String(this.threads)), () => {
      if (axes.length > 1) {
        let rest = point;
        for (const [i, axis] of [...axes.entries()].toReversed()) {
          const { from, size } = sizes[i]!;
          const plus = from === "0" ? "" : `${from} + `;
          this.#frame.index(names.axis(axis.name), `${plus}${i === 0 ? rest : `${rest} % ${wrapped(size)}`}`);
          rest = i === 1 ? `${rest} / ${wrapped(size)}` : `(${rest} / ${wrapped(size)})`;
        }
      }
      body();
    });
  }

  /** Nested loops that every thread runs for itself. */
  loops(axes: readonly Axis[], body: () => void): void {
    const [axis, ...rest] = axes;
    if (axis === undefined) return body();
    const { from, to } = this.#size(axis);
    const i = this.#frame.names.axis(axis.name);
    this.#frame.lines.block(this.#dialect.loop(i, from, to), () => this.loops(rest, body));
  }

  #size({ name, extent }: Axis): { from: string; to: string; size: string } {
    const limits = this.#limits.get(name);
    if (limits === undefined) return { from: "0", to: String(extent), size: String(extent) };
    const [from, to] = limits;
    return { from, to, size: from === "0" ? to : `${to} - ${from}` };
  }

  #assign({ axes, to, at, value }: Stmt & { kind: "assign" }): void {
    this.settle(this.reads(value, ...at), this.#isValue(to) ? [] : [to]);
    // A value that is no array is each thread's own, and all threads compute the same.
    if (this.#isValue(to)) return this.store(to, at, value);
    this.each(axes, () => this.store(to, at, value));
  }

  #reduce({ axes, over, to, at, value, reduction }: Stmt & { kind: "reduce" }): void {
    const { lines } = this.#frame;
    const dtype = this.#dialect.wide(dtypeOf(value));
    const own = this.#isValue(to);
    this.settle(this.reads(value, ...at), own ? [] : [to]);
    const results = knownSize(axes) ?? Infinity;
    const terms = knownSize(over) ?? Infinity;
    const warp = this.#warpOf({ axes, over, value, reduction });
    if (warp !== undefined && !own)
      return this.#reduceByWarps({ axes, over, to, at, value, reduction }, dtype, [warp, results, terms]);
    // Few results of many terms: threads share the terms of one result. Otherwise each thread has results of its own.
    if (results < this.threads && terms >= this.threads / 4 && results * 4 <= this.threads) {
      this.loops(axes, () => {
        const part = this.#frame.temp("part");
        lines.block("", () => {
          this.#start(part, reduction, dtype);
          this.each(over, () => this.#take(part, reduction, dtype, value));
          const all = this.together(reduction, dtype, part);
          const scalars = this.scalars(...at);
          if (own) return this.write(to, at, scalars, all);
          const total = this.#frame.temp("total");
          lines.add(this.#frame.language.named(total, dtype, all));
          lines.block("if (lane == 0)", () => this.write(to, at, this.scalars(...at), total));
        });
      });
      return;
    }
    const serial = (): void => {
      const sum = this.#frame.temp("sum");
      this.#start(sum, reduction, dtype);
      this.loops(over, () => this.#take(sum, reduction, dtype, value));
      this.write(to, at, this.scalars(...at), sum);
    };
    if (own) lines.block("", serial);
    else this.each(axes, serial);
  }

  /** How many threads share the terms of a result each: those of the largest numbers of tiles, whose terms are neighbors. */
  #warpOf({
    axes,
    over,
    value,
    reduction,
  }: Pick<Stmt & { kind: "reduce" }, "axes" | "over" | "value" | "reduction">): number | undefined {
    const { warp } = this.#dialect;
    const [results, terms] = [knownSize(axes) ?? 0, knownSize(over) ?? 0];
    if (warp === undefined || this.#group > this.threads || this.threads % warp !== 0) return undefined;
    if (results < 2 || terms % warp !== 0 || terms < warp || terms > 32 * warp || this.#limits.size > 0)
      return undefined;
    const inner = over.at(-1)!.name;
    let near = false;
    walk(value, (x) => {
      const last = x.kind === "load" ? x.at.at(-1) : undefined;
      if (last !== undefined) walk(last, (part) => (near ||= part.kind === "axis" && part.axis === inner));
    });
    // Of sums those of neighbors alone, where there are many.
    const isSum = results * 4 > this.threads && readsAlong(value, inner);
    return near && (reduction !== "sum" || isSum) ? warp : undefined;
  }

  #reduceByWarps(
    { axes, over, to, at, value, reduction }: Omit<Stmt & { kind: "reduce" }, "kind">,
    dtype: ScalarType,
    [warp, results, terms]: readonly [number, number, number],
  ): void {
    const { lines, language } = this.#frame;
    const [result, term, part, total] = ["i", "i", "part", "total"].map((hint) => this.#frame.temp(hint)) as [
      string,
      string,
      string,
      string,
    ];
    const { threads } = this;
    lines.block(this.#dialect.loop(result, `lane / ${warp}`, String(results), String(threads / warp)), () => {
      this.#frame.unpack(axes, result);
      this.#start(part, reduction, dtype);
      lines.block(this.#dialect.loop(term, `lane % ${warp}`, String(terms), String(warp)), () => {
        this.#frame.unpack(over, term);
        this.#take(part, reduction, dtype, value);
      });
      const all = this.#dialect.together(this.#frame, reduction, dtype, part, { threads: warp, group: threads });
      lines.add(language.named(total, dtype, all));
      lines.block(`if (lane % ${warp} == 0)`, () => this.write(to, at, this.scalars(...at), total));
    });
  }

  #start(sum: string, reduction: Reduction, dtype: ScalarType): void {
    this.#frame.lines.add(this.#dialect.variable(sum, dtype, startOf(this.#frame.language, reduction, dtype)));
  }

  /** Takes one more term into a sum. */
  #take(sum: string, reduction: Reduction, dtype: ScalarType, value: Expr): void {
    const term = this.scalars(value).print(value);
    this.#frame.lines.add(`${sum} = ${this.#dialect.fold(reduction, dtype, sum, term)};`);
  }

  /** The fold of the values of all threads; every thread gets the result. */
  together(reduction: Reduction, dtype: ScalarType, value: string): string {
    const { threads } = this;
    if (threads === 1) return value;
    return this.#dialect.together(this.#frame, reduction, dtype, value, { threads, group: this.#group });
  }

  /** Whether all threads of the workgroup execute statements together. */
  get isWholeGroup(): boolean {
    return this.#group === this.threads;
  }

  #order(stmt: Stmt & { kind: "top_k" | "rank" }): void {
    if (this.#dialect.order?.(this.#frame, this, stmt) === true) return;
    const { lines, names } = this.#frame;
    const { axes, over, to, at, value } = stmt;
    const wide = this.#dialect.wide(dtypeOf(value));
    const dtype = isFloatType(wide) ? wide : "i32";
    const values = this.#frame.temp("values");
    this.#frame.names.declare([{ name: values, dtype, shape: [over.extent] }]);
    // A thread that has a row for itself has its values for itself, too.
    if (this.threads === 1) lines.add(this.#dialect.array(values, dtype, Number(over.extent)));
    else this.#frame.array(values, dtype, [over.extent]);
    const element = (x: Expr): string => this.scalars(x).print({ kind: "load", from: values, at: [x], dtype });
    const i = names.axis(over.name);
    this.settle(this.reads(value, ...at), [to]);
    this.loops(axes, () => {
      this.barrier();
      this.each([over], () => {
        this.store(values, [{ kind: "axis", axis: over.name }], value);
      });
      this.barrier();
      this.each([over], () => {
        const rank = stmt.kind === "top_k" ? names.axis(stmt.counter.name) : this.#frame.temp("rank");
        const other = names.axis(`${over.name} other`);
        lines.add(this.#dialect.variable(rank, "index", "0"));
        lines.block(this.#dialect.loop(other, "0", String(over.extent)), () => {
          const [x, y] = [`${over.name} other`, over.name].map((name) => element({ kind: "axis", axis: name }));
          const before = this.#dialect.before(dtype, x!, other, y!, i);
          lines.add(this.#dialect.count(rank, `${other} != ${i} && ${before}`));
        });
        if (stmt.kind === "rank") return this.write(to, at, this.scalars(...at), rank);
        lines.block(`if (${rank} < ${stmt.counter.extent})`, () => this.write(to, at, this.scalars(...at), i));
      });
    });
    if (!this.#isValue(to)) this.#written.add(to);
  }

  #scan({ axes, over, exclusive, reverse, value, to, at }: Stmt & { kind: "scan" }): void {
    const { lines, names } = this.#frame;
    this.settle(this.reads(value, ...at), [to]);
    this.each(axes, () => {
      const sum = this.#frame.temp("sum");
      const i = names.axis(over.name);
      const dtype = this.#dialect.wide(dtypeOf(value));
      this.#start(sum, "sum", dtype);
      const size = String(over.extent);
      const loop = reverse ? this.#dialect.loopDown(i, size) : this.#dialect.loop(i, "0", size);
      lines.block(loop, () => {
        const term = this.#frame.temp("term");
        lines.add(this.#frame.language.named(term, dtype, this.scalars(value).print(value)));
        if (exclusive) this.write(to, at, this.scalars(...at), sum);
        lines.add(`${sum} += ${term};`);
        if (!exclusive) this.write(to, at, this.scalars(...at), sum);
      });
    });
  }

  #scatter({ zeroed, zeroedAt, axes, when, value, to, at }: Stmt & { kind: "scatter" }): void {
    const { lines, names } = this.#frame;
    const { dtype } = names.store(to);
    this.settle([], [to]);
    this.each(zeroed, () => this.store(to, zeroedAt, constant(dtype === "bool" ? false : 0, dtype)));
    this.barrier();
    this.settle(this.reads(when, value, ...at), [to]);
    // Axes that are indices of the target keep threads apart; along the others terms are added in order.
    const apart = axes.filter(({ name }) => at.some((x) => x.kind === "axis" && x.axis === name));
    const inOrder = axes.filter((axis) => !apart.includes(axis));
    this.each(apart, () =>
      this.loops(inOrder, () => {
        lines.block(`if (${this.scalars(when).print(when)})`, () => {
          const scalars = this.scalars(value, ...at);
          const offset = names.offset(to, at, (x) => scalars.print(x));
          const old = this.#isValue(to) ? to : this.#frame.language.load(names.store(to), offset);
          this.write(to, at, scalars, `${old} + ${scalars.print(value)}`);
        });
      }),
    );
  }

  /** Arrays that expressions read. */
  reads(...exprs: readonly Expr[]): Set<string> {
    return new Set(exprs.flatMap(loadedBy).filter((name) => !this.#isValue(name)));
  }
}

function wrapped(size: string): string {
  return /^\w+$/.test(size) ? size : `(${size})`;
}

/** Whether all that is loaded has its neighbors along an axis. */
function readsAlong(value: Expr, axis: string): boolean {
  let along = true;
  walk(value, (part) => {
    if (part.kind !== "load") return;
    const last = part.at.at(-1);
    along &&= last?.kind === "axis" && last.axis === axis;
  });
  return along;
}

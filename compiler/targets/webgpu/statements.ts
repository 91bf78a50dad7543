/**
 * Statements of the kernel IR, executed by the threads of a workgroup together: loops over results are shared out among them,
 * sums are folded across them, barriers stand where a statement needs what another thread wrote.
 */
import { constant, dtypeOf, walk, widened } from "../../kernel-ir/expr.ts";
import type { Axis, Expr, ScalarType, Stmt } from "../../kernel-ir/types.ts";
import { Scalars, startOf } from "../scalars.ts";
import { knownSize } from "./axes.ts";
import type { Frame } from "./frame.ts";
import { folded, rounded, valueType, WGSL } from "./wgsl.ts";

export class Statements {
  readonly #frame: Frame;
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
    this.#frame.lines.add("workgroupBarrier();", "storageBarrier();");
    this.#written = new Set();
    this.#read = new Set();
  }

  /** Values, names for what they have in common above. */
  scalars(...exprs: readonly Expr[]): Scalars {
    const scalars = new Scalars(WGSL, this.#frame.names, this.#frame.lines, () => this.#frame.temp("v"));
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
    const isArgument = this.#frame.kernel.args.some(({ name }) => name === to);
    if (isArgument && this.#group > this.threads)
      lines.block("if (inside)", () => lines.add(`store_${to}(${offset}, ${text});`));
    else if ("access" in store) lines.add(`store_${to}(${offset}, ${text});`);
    else lines.add(`${to}[${offset}] = ${rounded(store.dtype, text)};`);
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
    lines.block(`for (var ${point} = ${begin}; ${point} < ${end}; ${point} += ${this.threads})`, () => {
      if (axes.length > 1) {
        let rest = point;
        for (const [i, axis] of [...axes.entries()].toReversed()) {
          const { from, size } = sizes[i]!;
          const plus = from === "0" ? "" : `${from} + `;
          lines.add(`let ${names.axis(axis.name)} = ${plus}${i === 0 ? rest : `${rest} % ${wrapped(size)}`};`);
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
    this.#frame.lines.block(`for (var ${i} = ${from}; ${i} < ${to}; ${i}++)`, () => this.loops(rest, body));
  }

  #size({ name, extent }: Axis): { from: string; to: string; size: string } {
    const limits = this.#limits.get(name);
    if (limits === undefined) return { from: "0", to: String(extent), size: String(extent) };
    const [from, to] = limits;
    return { from, to, size: from === "0" ? to : `${to} - ${from}` };
  }

  #assign({ axes, to, at, value }: Stmt & { kind: "assign" }): void {
    this.settle(this.#reads(value, ...at), this.#isValue(to) ? [] : [to]);
    // A value that is no array is each thread's own, and all threads compute the same.
    if (this.#isValue(to)) return this.store(to, at, value);
    this.each(axes, () => this.store(to, at, value));
  }

  #reduce({ axes, over, to, at, value, reduction }: Stmt & { kind: "reduce" }): void {
    const { lines } = this.#frame;
    const dtype = wide(dtypeOf(value));
    const type = valueType(dtype);
    const own = this.#isValue(to);
    this.settle(this.#reads(value, ...at), own ? [] : [to]);
    const results = knownSize(axes) ?? Infinity;
    const terms = knownSize(over) ?? Infinity;
    // Few results of many terms: threads share the terms of one result. Otherwise each thread has results of its own.
    if (results < this.threads && terms >= this.threads / 4 && results * 4 <= this.threads) {
      this.loops(axes, () => {
        const part = this.#frame.temp("part");
        lines.block("", () => {
          lines.add(`var ${part} = ${startOf(WGSL, reduction, dtype)};`);
          this.each(over, () => {
            const term = this.scalars(value).print(value);
            lines.add(`${part} = ${folded(reduction, type, part, term)};`);
          });
          const all = this.together(reduction, dtype, part);
          const scalars = this.scalars(...at);
          if (own) return this.write(to, at, scalars, all);
          const total = this.#frame.temp("total");
          lines.add(`let ${total} = ${all};`);
          lines.block("if (lane == 0)", () => this.write(to, at, this.scalars(...at), total));
        });
      });
      return;
    }
    const serial = (): void => {
      const sum = this.#frame.temp("sum");
      lines.add(`var ${sum} = ${startOf(WGSL, reduction, dtype)};`);
      this.loops(over, () => {
        const term = this.scalars(value).print(value);
        lines.add(`${sum} = ${folded(reduction, type, sum, term)};`);
      });
      this.write(to, at, this.scalars(...at), sum);
    };
    if (own) lines.block("", serial);
    else this.each(axes, serial);
  }

  /** The call of a function that folds the values of all threads; every thread gets the result. */
  together(reduction: "sum" | "max" | "min", dtype: ScalarType, value: string): string {
    if (this.threads === 1) return value;
    const type = valueType(dtype);
    const teams = this.#group > this.threads;
    const name = `${reduction}_of_${teams ? "team" : "workgroup"}_${type}`;
    // In two steps, with few barriers: threads fold runs, then each folds what they found.
    const run = 2 ** Math.ceil(Math.log2(this.threads) / 2);
    const runs = this.threads / run;
    const lanes = this.#frame.shared(`lanes_${type}`, `array<${type}, ${this.#group}>`);
    const folds = this.#frame.shared(`folds_${type}`, `array<${type}, ${this.#group / run}>`);
    const fold = (term: string): string => folded(reduction, type, "all", term);
    const [lane, firstRun] = teams ? [`at % ${this.threads}`, `at / ${this.threads} * ${runs}`] : ["at", "0"];
    this.#frame.once(
      name,
      `fn ${name}(x: ${type}, at: i32) -> ${type} {
  let lane = ${lane};
  let first = ${firstRun};
  workgroupBarrier();
  ${lanes}[at] = x;
  workgroupBarrier();
  if (lane < ${runs}) {
    var all = ${lanes}[(first + lane) * ${run}];
    for (var i = 1; i < ${run}; i++) {
      all = ${fold(`${lanes}[(first + lane) * ${run} + i]`)};
    }
    ${folds}[first + lane] = all;
  }
  workgroupBarrier();
  var all = ${folds}[first];
  for (var i = 1; i < ${runs}; i++) {
    all = ${fold(`${folds}[first + i]`)};
  }
  return all;
}`,
    );
    return `${name}(${value}, ${teams ? "i32(index)" : "lane"})`;
  }

  #order(stmt: Stmt & { kind: "top_k" | "rank" }): void {
    const { lines, names } = this.#frame;
    const { axes, over, to, at, value } = stmt;
    const dtype = wide(dtypeOf(value));
    const type = valueType(dtype) === "f32" ? "f32" : "i32";
    const values = this.#frame.temp("values");
    this.#frame.names.declare([{ name: values, dtype, shape: [over.extent] }]);
    // A thread that has a row for itself has its values for itself, too.
    if (this.threads === 1) lines.add(`var ${values}: array<${type}, ${over.extent}>;`);
    else this.#frame.array(values, dtype, [over.extent]);
    const element = (x: Expr): string => this.scalars(x).print({ kind: "load", from: values, at: [x], dtype });
    const i = names.axis(over.name);
    this.settle(this.#reads(value, ...at), [to]);
    this.loops(axes, () => {
      this.barrier();
      this.each([over], () => {
        this.store(values, [{ kind: "axis", axis: over.name }], value);
      });
      this.barrier();
      this.each([over], () => {
        const rank = stmt.kind === "top_k" ? names.axis(stmt.counter.name) : this.#frame.temp("rank");
        const other = names.axis(`${over.name} other`);
        lines.add(`var ${rank} = 0;`);
        lines.block(`for (var ${other} = 0; ${other} < ${over.extent}; ${other}++)`, () =>
          lines.add(
            `${rank} += select(0, 1, ${other} != ${i} && before_${type}(${element({ kind: "axis", axis: `${over.name} other` })}, ${other}, ${element({ kind: "axis", axis: over.name })}, ${i}));`,
          ),
        );
        if (stmt.kind === "rank") return this.write(to, at, this.scalars(...at), rank);
        lines.block(`if (${rank} < ${stmt.counter.extent})`, () => this.write(to, at, this.scalars(...at), i));
      });
    });
    if (!this.#isValue(to)) this.#written.add(to);
  }

  #scan({ axes, over, exclusive, reverse, value, to, at }: Stmt & { kind: "scan" }): void {
    const { lines, names } = this.#frame;
    this.settle(this.#reads(value, ...at), [to]);
    this.each(axes, () => {
      const sum = this.#frame.temp("sum");
      const i = names.axis(over.name);
      lines.add(`var ${sum} = ${startOf(WGSL, "sum", wide(dtypeOf(value)))};`);
      const loop = reverse
        ? `for (var ${i} = ${over.extent} - 1; ${i} >= 0; ${i}--)`
        : `for (var ${i} = 0; ${i} < ${over.extent}; ${i}++)`;
      lines.block(loop, () => {
        const term = this.#frame.temp("term");
        lines.add(`let ${term} = ${this.scalars(value).print(value)};`);
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
    this.settle(this.#reads(when, value, ...at), [to]);
    // Axes that are indices of the target keep threads apart; along the others terms are added in order.
    const apart = axes.filter(({ name }) => at.some((x) => x.kind === "axis" && x.axis === name));
    const inOrder = axes.filter((axis) => !apart.includes(axis));
    this.each(apart, () =>
      this.loops(inOrder, () => {
        lines.block(`if (${this.scalars(when).print(when)})`, () => {
          const scalars = this.scalars(value, ...at);
          const offset = names.offset(to, at, (x) => scalars.print(x));
          const old = this.#isValue(to)
            ? to
            : "access" in names.store(to)
              ? `load_${to}(${offset})`
              : `${to}[${offset}]`;
          this.write(to, at, scalars, `${old} + ${scalars.print(value)}`);
        });
      }),
    );
  }

  #reads(...exprs: readonly Expr[]): Set<string> {
    const found = new Set<string>();
    for (const expr of exprs)
      walk(expr, (part) => {
        if (part.kind === "load" && !this.#isValue(part.from)) found.add(part.from);
      });
    return found;
  }
}

/** What sums and orders are made in. */
function wide(dtype: ScalarType): ScalarType {
  return dtype === "f64" ? "f32" : widened(dtype);
}

function wrapped(size: string): string {
  return /^\w+$/.test(size) ? size : `(${size})`;
}

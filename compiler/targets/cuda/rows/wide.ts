/**
 * Wide rows: each thread of a block has columns of its own, neighbors that it moves together, and holds what it has loaded or
 * computed of them between statements. Memory that threads share is left for what they read of each other.
 */
import { dtypeOf, expressionsOf, walk } from "../../../kernel-ir/expr.ts";
import type { Axis, Expr, RowsKernel, ScalarType, Stmt } from "../../../kernel-ir/types.ts";
import { extentsOf, knownSize } from "../../simt/axes.ts";
import type { Dialect, Part } from "../../simt/dialect.ts";
import { Frame } from "../../simt/frame.ts";
import { Statements } from "../../simt/statements.ts";
import { rewritten } from "./rewrite.ts";
import { isScalar, placeKey, Vectors } from "./vectors.ts";
import { Columns, type Total } from "./wide-columns.ts";
import { type Along, alongColumns, planWide, spaceKey, type WidePlan } from "./wide-plan.ts";

/** Elements of a local that the threads of a block can hold. */
const LARGE = 16_384;
/** Elements that no vector takes, in all turns of a thread: more than that fills registers with what is asked for at once. */
const MOST_SCATTERED = 64;

export function printWide(dialect: Dialect, given: RowsKernel, part?: Part): Frame | undefined {
  const kernel = rewritten(given, LARGE);
  const plan = planWide(kernel, part && dialect.threads.row(0, part));
  if (plan === undefined || !kernel.body.some((stmt) => alongColumns(stmt, plan, kernel))) return undefined;
  // Locals that a thread reads of another one are found by printing: then they have memory.
  const shared = new Set<string>();
  for (;;) {
    const printer = new WidePrinter(dialect, kernel, plan, shared, part);
    printer.print();
    if (printer.missing.size === 0) return printer.frame;
    for (const name of printer.missing) shared.add(name);
  }
}

/** Statements along the same columns that need nothing of each other but what a thread holds. */
interface Group {
  readonly key: string;
  readonly space: readonly Axis[];
  readonly members: Along[];
  /** The places that were written, by array, and whether a thread holds them. */
  readonly written: Map<string, { readonly place: string; readonly held: boolean }>;
  readonly read: Map<string, Set<string>>;
  readonly totals: Set<string>;
}

class WidePrinter {
  readonly frame: Frame;
  readonly missing = new Set<string>();
  readonly #dialect: Dialect;
  readonly #kernel: RowsKernel;
  readonly #plan: WidePlan;
  readonly #shared: ReadonlySet<string>;
  readonly #statements: Statements;
  /** What threads hold, by the columns that it is of. */
  readonly #held = new Map<string, Map<string, string>>();
  readonly #indexed = new Set<string>();
  /** Arrays in which a thread may meet what another one has written. */
  readonly #meeting: ReadonlySet<string>;

  constructor(dialect: Dialect, kernel: RowsKernel, plan: WidePlan, shared: ReadonlySet<string>, part?: Part) {
    this.frame = new Frame(dialect, kernel, kernel.locals, part);
    this.#dialect = dialect;
    this.#kernel = kernel;
    this.#plan = plan;
    this.#shared = shared;
    this.#statements = new Statements(this.frame, plan.threads);
    this.#meeting = meetingPlaces(kernel, plan);
  }

  print(): void {
    const { rows, locals, body } = this.#kernel;
    const { frame } = this;
    for (const { name, dtype, shape } of locals)
      if (shape.length > 0 && this.#shared.has(name)) frame.array(name, dtype, shape);
    const of = extentsOf(rows);
    frame.main("main", this.#plan.threads, () => {
      frame.item("item");
      frame.unpack(rows, "item");
      for (const local of locals) if (isScalar(local)) frame.lines.add(this.#dialect.variable(local.name, local.dtype));
      let group: Group | undefined;
      for (const stmt of body) {
        const along = alongColumns(stmt, this.#plan, this.#kernel);
        if (along !== undefined && group !== undefined && this.#joins(group, along)) this.#add(group, along);
        else {
          if (group !== undefined) this.#group(group);
          group = undefined;
          if (along === undefined) this.#together(stmt);
          else this.#add((group = newGroup(along)), along);
        }
      }
      if (group !== undefined) this.#group(group);
    });
    frame.entry("main", this.#plan.threads, [{ of }]);
  }

  #isScalar(name: string): boolean {
    return isScalar(this.frame.names.store(name));
  }

  #isLocal(name: string): boolean {
    return this.#kernel.locals.some((local) => local.name === name);
  }

  /** A statement that all threads run together, through memory. */
  #together(stmt: Stmt): void {
    for (const expr of expressionsOf(stmt))
      walk(expr, (x) => {
        if (x.kind === "load") this.#needs(x.from);
      });
    this.#needs(stmt.to);
    this.#statements.print(stmt);
    this.#forget([stmt.to]);
  }

  #needs(name: string): void {
    if (this.#isLocal(name) && !this.#isScalar(name) && !this.#shared.has(name)) this.missing.add(name);
  }

  #forget(names: readonly string[]): void {
    for (const held of this.#held.values())
      for (const key of held.keys()) if (names.some((name) => key.includes(JSON.stringify(name)))) held.delete(key);
  }

  #joins(group: Group, along: Along): boolean {
    if (group.key !== spaceKey(along.space)) return false;
    const { stmt } = along;
    let joins = !group.totals.has(stmt.to);
    for (const expr of expressionsOf(stmt))
      walk(expr, (x) => {
        if (x.kind !== "load") return;
        const written = group.written.get(x.from);
        if (group.totals.has(x.from)) joins = false;
        if (written !== undefined && (!written.held || written.place !== placeKey(x.from, x.at))) joins = false;
      });
    const own = placeKey(stmt.to, stmt.at);
    if ([...(group.read.get(stmt.to) ?? [])].some((place) => place !== own)) joins = false;
    if ((group.written.get(stmt.to)?.place ?? own) !== own) joins = false;
    return joins;
  }

  #add(group: Group, along: Along): void {
    const { stmt, kind, outer } = along;
    group.members.push(along);
    if (kind === "totals") group.totals.add(stmt.to);
    else group.written.set(stmt.to, { place: placeKey(stmt.to, stmt.at), held: outer.length === 0 });
    for (const expr of expressionsOf(stmt))
      walk(expr, (x) => {
        if (x.kind !== "load") return;
        const places = group.read.get(x.from) ?? new Set();
        group.read.set(x.from, places.add(placeKey(x.from, x.at)));
      });
  }

  #group(group: Group): void {
    const { frame } = this;
    const { width, threads, turns: planned } = this.#plan;
    const size = knownSize(group.space)!;
    const turns = Math.ceil(size / width / threads);
    const isWhole = turns * width * threads === size;
    const last = group.space.at(-1)!;
    const vectors = new Vectors(frame, width, last.name);
    const held = this.#held.get(group.key) ?? new Map<string, string>();
    const isKept = held.size > 0 || group.members.some(({ stmt }) => this.isReadLater(stmt));
    const underWay = turns * width * scattered(group, vectors);
    const holds = planned !== undefined && turns <= 4 && (turns === 1 || isKept || underWay < MOST_SCATTERED);
    for (const [key, name] of held) vectors.held.set(key, name);
    const ahead: string[] = [];
    const isPlain = holds && turns === 1 && isWhole && group.space.length === 1;
    const declared = (name: string, dtype: ScalarType): string => {
      if (isPlain || !holds) return name;
      ahead.push(vectors.declaration(turns === 1 ? name : `${name}[${turns}]`, dtype));
      return turns === 1 ? name : `${name}[turn]`;
    };
    const columns = new Columns(
      this,
      vectors,
      (name, dtype, load) => {
        if (isPlain || !holds) return load ? `const auto ${name}` : name;
        return declared(name, dtype);
      },
      isPlain || !holds,
    );
    const text = frame.capture(() => {
      const { lines } = frame;
      const at = group.space.length === 1 ? frame.names.axis(last.name) : "at";
      const columnsFrom = (first: string): void => {
        if (first !== "") frame.index(at, first);
        if (group.space.length > 1) frame.unpack(group.space, "at");
        columns.print(group.members);
      };
      if (isPlain) {
        columnsFrom(this.#indexed.has(group.key) ? "" : `lane * ${width}`);
        this.#indexed.add(group.key);
      } else if (!holds) {
        lines.add("#pragma unroll 2");
        const head = `for (int ${at} = lane * ${width}; ${at} < ${size}; ${at} += ${threads * width})`;
        lines.block(head, () => columnsFrom(""));
      } else {
        const first = turns === 1 ? `lane * ${width}` : `(turn * ${threads} + lane) * ${width}`;
        const guarded = (): void => {
          if (isWhole && turns > 1) columnsFrom(first);
          else lines.block(isWhole ? "" : `if (${first} < ${size})`, () => columnsFrom(first));
        };
        if (turns === 1) guarded();
        else {
          lines.add("#pragma unroll");
          lines.block(`for (int turn = 0; turn < ${turns}; turn++)`, guarded);
        }
      }
    });
    for (const name of vectors.read) this.#needs(name);
    const writes = group.members.filter(({ kind, stmt }) => kind !== "totals" && this.#inMemory(stmt.to));
    const totals = group.members.filter(({ kind, stmt }) => kind === "totals" && !this.#isScalar(stmt.to));
    for (const { stmt } of totals) this.#needs(stmt.to);
    const written = [...writes, ...totals].map(({ stmt }) => stmt.to);
    const meets = (name: string): boolean => this.#meeting.has(name);
    this.#statements.settle([...vectors.read].filter(meets), written.filter(meets));
    frame.lines.add(...ahead, ...columns.totals.map(({ start }) => start));
    frame.lines.add(...text.trimEnd().split("\n"));
    for (const total of columns.totals) this.#total(total);
    const names = group.members.map(({ stmt }) => stmt.to);
    const after = new Map(vectors.held);
    this.#forget(names);
    if (holds) for (const name of columns.common) for (const [key, own] of after) if (own === name) after.delete(key);
    this.#held.set(group.key, holds ? after : new Map());
  }

  #inMemory(name: string): boolean {
    return !this.#isLocal(name) || this.#shared.has(name);
  }

  /** What all threads found, for all of them. */
  #total({ along, name }: Total): void {
    const { stmt, outer } = along;
    if (stmt.kind !== "reduce") return;
    const { lines, language } = this.frame;
    const dtype = this.#dialect.wide(dtypeOf(stmt.value));
    const write = (text: string): void =>
      this.#statements.write(stmt.to, stmt.at, this.#statements.scalars(...stmt.at), text);
    if (outer.length > 0) {
      lines.add(`each_over_block<Sum, ${this.#plan.threads}>(${name});`);
      const index = this.frame.names.axis(outer[0]!.name);
      return lines.block("if (lane == 0)", () => this.#statements.loops(outer, () => write(`${name}[${index}]`)));
    }
    const all = this.#statements.together(stmt.reduction, dtype, name);
    if (this.#isScalar(stmt.to)) return lines.add(`${stmt.to} = ${all};`);
    lines.add(language.named(`all_${name}`, dtype, all));
    lines.block("if (lane == 0)", () => write(`all_${name}`));
  }

  /** Whether a statement that follows reads an array. */
  isReadLater(stmt: Stmt): boolean {
    const { body } = this.#kernel;
    const from = `"from":${JSON.stringify(stmt.to)}`;
    return body.slice(body.indexOf(stmt) + 1).some((next) => JSON.stringify(expressionsOf(next)).includes(from));
  }

  get statements(): Statements {
    return this.#statements;
  }

  hasMemory(name: string): boolean {
    return this.#inMemory(name);
  }
}

/** How many elements no vector takes, for each neighbor. */
function scattered({ members }: Group, vectors: Vectors): number {
  const places = new Set<string>();
  for (const { stmt } of members)
    for (const expr of expressionsOf(stmt))
      walk(expr, (x) => {
        if (x.kind === "load" && vectors.motion(x.from, x.at) === "other") places.add(placeKey(x.from, x.at));
      });
  return places.size;
}

/** Arrays that are not only read, and never at one place of the same columns alone. */
function meetingPlaces(kernel: RowsKernel, plan: WidePlan): Set<string> {
  const places = new Map<string, Set<string>>();
  const written = new Set(kernel.body.map(({ to }) => to));
  for (const stmt of kernel.body) {
    const along = alongColumns(stmt, plan, kernel);
    const isOwn = (at: readonly Expr[]): boolean =>
      along !== undefined && at.some((x) => x.kind === "axis" && x.axis === along.space.at(-1)!.name);
    const visit = (name: string, at: readonly Expr[]): void => {
      const key =
        along !== undefined && isOwn(at) ? `${spaceKey(along.space)} ${placeKey(name, at)}` : JSON.stringify(stmt);
      places.set(name, (places.get(name) ?? new Set()).add(key));
    };
    visit(stmt.to, stmt.at);
    for (const expr of expressionsOf(stmt)) walk(expr, (x) => x.kind === "load" && visit(x.from, x.at));
  }
  return new Set([...written].filter((name) => places.get(name)!.size > 1));
}

function newGroup({ space }: Along): Group {
  const members: Along[] = [];
  return { key: spaceKey(space), space, members, written: new Map(), read: new Map(), totals: new Set() };
}

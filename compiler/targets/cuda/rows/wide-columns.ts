/** What a thread does at its own columns of a wide row. */
import { dtypeOf } from "../../../kernel-ir/expr.ts";
import type { Axis, Expr, ScalarType, Stmt } from "../../../kernel-ir/types.ts";
import { startOf } from "../../scalars.ts";
import { knownSize } from "../../simt/axes.ts";
import type { Frame } from "../../simt/frame.ts";
import type { Statements } from "../../simt/statements.ts";
import { isSmallFloat, placeKey, type Vectors } from "./vectors.ts";
import type { Along } from "./wide-plan.ts";

/** Iterations of a loop that is taken apart. */
const UNROLLED = 16;

/** The kernel that it is a part of. */
interface Host {
  readonly frame: Frame;
  readonly statements: Statements;
  isReadLater(stmt: Stmt): boolean;
  hasMemory(name: string): boolean;
}

export interface Total {
  readonly along: Along;
  readonly name: string;
  /** Its declaration. */
  readonly start: string;
}

/** Statements at the columns of a thread. */
export class Columns {
  readonly totals: Total[] = [];
  /** Values that are not of columns: they are not held. */
  readonly common: string[] = [];
  readonly #printer: Host;
  readonly #vectors: Vectors;
  readonly #declare: (name: string, dtype: ScalarType, load: boolean) => string;
  readonly #isLocal: boolean;

  /** @param isLocal whether vectors are declared where they are */
  constructor(
    printer: Host,
    vectors: Vectors,
    declare: (name: string, dtype: ScalarType, load: boolean) => string,
    isLocal: boolean,
  ) {
    this.#printer = printer;
    this.#vectors = vectors;
    this.#declare = declare;
    this.#isLocal = isLocal;
  }

  print(members: readonly Along[]): void {
    let plain: Along[] = [];
    for (const along of members) {
      const isPlain = along.outer.length === 0 && along.inner.length === 0;
      if (isPlain) plain.push(along);
      else {
        this.#plain(plain);
        plain = [];
        this.#loops(along);
      }
    }
    this.#plain(plain);
  }

  #ofNeighbor(expr: Expr, isInLoop = false): Expr {
    const before = new Set(this.#vectors.held.values());
    const own = this.#vectors.ofNeighbor(
      expr,
      isInLoop ? undefined : (name, dtype) => this.#declare(name, dtype, true),
    );
    for (const [key, name] of this.#vectors.held)
      if (!before.has(name) && !key.includes(`"axis":${JSON.stringify(this.#vectors.axis)}`)) this.common.push(name);
    return own;
  }

  /** The vector of a statement's values. */
  #target({ stmt }: Along, isInLoop = false): string {
    const { frame } = this.#printer;
    const { dtype } = frame.names.store(stmt.to);
    const name = frame.temp(`${stmt.to.replace(/_+$/, "")}_`);
    if (this.#isLocal || isInLoop) {
      frame.lines.add(this.#vectors.declaration(name, dtype));
      return name;
    }
    return this.#declare(name, dtype, false);
  }

  #plain(members: readonly Along[]): void {
    if (members.length === 0) return;
    const { frame, statements } = this.#printer;
    const { lines } = frame;
    const values = members.map((along) => {
      const value = this.#ofNeighbor(along.stmt.value);
      if (along.kind === "totals") return { along, value, target: this.#part(along) };
      const target = this.#target(along);
      this.#vectors.held.set(placeKey(along.stmt.to, along.stmt.at), target);
      return { along, value, target };
    });
    this.#vectors.each(() => {
      for (const { along, value, target } of values) {
        const text = statements.scalars(value).print(value);
        if (along.kind === "totals") lines.add(this.#take(along, target, text));
        else lines.add(`${target}[j] = ${this.#rounded(along, text)};`);
      }
    });
    for (const { along, target } of values) if (along.kind !== "totals") this.#store(along, target);
  }

  #loops(along: Along): void {
    const { frame, statements } = this.#printer;
    const { lines } = frame;
    const { kind, stmt, outer, inner } = along;
    const part = kind === "totals" ? this.#part(along) : "";
    let target = kind === "sums" && outer.length === 0 ? this.#target(along) : "";
    const held = new Map(this.#vectors.held);
    const unrolled = (axes: readonly Axis[]): void => {
      if (axes.length > 0 && knownSize(axes)! <= UNROLLED) lines.add("#pragma unroll");
    };
    const take = (to: string): void => {
      const value = this.#ofNeighbor(stmt.value, true);
      this.#vectors.each(() => lines.add(this.#take(along, to, statements.scalars(value).print(value))));
    };
    unrolled(outer);
    statements.loops(outer, () => {
      if (kind === "totals") {
        const [index] = outer.map(({ name }) => frame.names.axis(name));
        unrolled(inner);
        return statements.loops(inner, () => take(index === undefined ? part : `${part}[${index}]`));
      }
      if (kind === "values") {
        const value = this.#ofNeighbor(stmt.value, true);
        const own = this.#target(along, true);
        this.#vectors.each(() =>
          lines.add(`${own}[j] = ${this.#rounded(along, statements.scalars(value).print(value))};`),
        );
        return this.#store(along, own);
      }
      if (outer.length > 0) target = this.#target(along, true);
      const dtype = frame.dialect.wide(dtypeOf(stmt.value));
      const start = stmt.kind === "reduce" ? startOf(frame.language, stmt.reduction, dtype) : "";
      this.#vectors.each(() => lines.add(`${target}[j] = ${start};`));
      unrolled(inner);
      statements.loops(inner, () => take(`${target}[j]`));
      const { dtype: stored } = frame.names.store(stmt.to);
      if (isSmallFloat(stored) && this.#printer.isReadLater(stmt))
        this.#vectors.each(() => lines.add(`${target}[j] = float(${stored}(${target}[j]));`));
      this.#store(along, target);
    });
    // What was loaded inside of loops is known there only.
    this.#vectors.held.clear();
    for (const [key, name] of held) this.#vectors.held.set(key, name);
    if (kind === "sums" && outer.length === 0) this.#vectors.held.set(placeKey(stmt.to, stmt.at), target);
  }

  /** What a thread finds of a total. */
  #part(along: Along): string {
    const { frame } = this.#printer;
    const { stmt, outer } = along;
    const dtype = frame.dialect.wide(dtypeOf(stmt.value));
    const name = frame.temp("part");
    const count = knownSize(outer)!;
    const start =
      stmt.kind !== "reduce" || outer.length > 0
        ? `${frame.dialect.type(dtype)} ${name}[${count}] = {};`
        : frame.dialect.variable(name, dtype, startOf(frame.language, stmt.reduction, dtype));
    this.totals.push({ along, name, start });
    return name;
  }

  #take({ stmt }: Along, to: string, term: string): string {
    const { dialect } = this.#printer.frame;
    if (stmt.kind !== "reduce") throw new Error("only sums take terms");
    return `${to} = ${dialect.fold(stmt.reduction, dialect.wide(dtypeOf(stmt.value)), to, term)};`;
  }

  /** A value as whoever reads it later would find it in memory. */
  #rounded({ stmt }: Along, text: string): string {
    const { dtype } = this.#printer.frame.names.store(stmt.to);
    const isStored = stmt.value.kind === "load" && stmt.value.dtype === dtype;
    return isSmallFloat(dtype) && !isStored && this.#printer.isReadLater(stmt) ? `float(${dtype}(${text}))` : text;
  }

  #store({ stmt: { to, at } }: Along, vector: string): void {
    const { frame, statements } = this.#printer;
    if (!this.#printer.hasMemory(to)) return;
    if (this.#vectors.motion(to, at) === "neighbors")
      return frame.lines.add(`store_vector(${to}, ${this.#vectors.offset(to, at)}, ${vector});`);
    const own = at.map((x) => this.#ofNeighbor(x, true));
    this.#vectors.each(() => statements.write(to, own, statements.scalars(...own), `${vector}[j]`));
  }
}

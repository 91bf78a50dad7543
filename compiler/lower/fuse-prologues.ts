/**
 * Norms in the products that read them, for programs whose calls have few rows: what a row is scaled by is computed before its
 * products, the scaled row while its elements are read. So a norm is no launch of its own between two products. Every block of
 * results computes it again, which costs little beside reading the weights.
 */
import { builderFor } from "../passes/scope.ts";
import type { Op, Program, Value } from "../tensor-ir/types.ts";
import { spaceOf } from "./build-products.ts";
import { Classes, rowDims } from "./classes.ts";
import { type Group, type Grouped, type Unit, unitsOf } from "./units.ts";

/** Products that read a norm get one of their own. A norm that nobody else reads is gone. */
export function fusePrologues(grouped: Grouped): Grouped {
  const search = new Search(grouped);
  const unitOf = new Map(search.units.flatMap((unit) => unit.ops.map((op) => [op, unit] as const)));
  const norms = new Map(search.units.map((unit) => [unit, search.norms(unit)] as const));
  if ([...norms.values()].every(({ size }) => size === 0)) return grouped;
  const builder = builderFor(grouped.program);
  const made = new Map<Unit, Op[]>();
  for (const op of grouped.program.ops) {
    const unit = unitOf.get(op);
    const own = unit === undefined ? undefined : norms.get(unit);
    if (unit === undefined || own === undefined || own.size === 0) {
      builder.push(op);
      continue;
    }
    const ops = made.get(unit) ?? [];
    made.set(unit, ops);
    const known = search.copies(unit);
    /** The value, computed again if it is one of a norm or a view of one. */
    const copyOf = (value: Value): Value => {
      const copy = known.get(value.id);
      if (copy !== undefined) return copy;
      const from = search.classes.producer(value);
      const isView =
        search.classes.of(from) === "view" &&
        search.classes.roots(value).some((root) => own.has(search.classes.producer(root)));
      if (!isView && !own.has(from)) return value;
      const operands = from.operands.map(copyOf);
      const result = builder.value(value.type);
      const again: Op = { ...from, operands, results: [result] };
      builder.push(again);
      if (!isView) ops.push(again);
      known.set(value.id, result);
      return result;
    };
    const isProduct = search.classes.of(op) === "gemm";
    const kept = isProduct ? { ...op, operands: op.operands.map(copyOf) } : op;
    builder.push(kept);
    ops.push(kept);
  }
  const groups = search.units.flatMap((unit): Group[] => {
    const ops = made.get(unit);
    if (ops !== undefined) return [{ kind: "gemm", ops }];
    const group = grouped.groups.find((each) => each.ops === unit.ops);
    return group === undefined ? [] : [group];
  });
  const replaced = new Set([...norms.values()].flatMap((own) => [...own]));
  const mayGo = (op: Op): boolean => replaced.has(op) || search.classes.of(op) === "view";
  return { program: withoutUnread(builder.finish(grouped.program.name), mayGo), groups };
}

/** The program without ops that may go and that nothing reads. The bounds of a plane are read by no op. */
function withoutUnread(program: Program, mayGo: (op: Op) => boolean): Program {
  const read = new Set<number>();
  const kept = program.ops.toReversed().filter((op) => {
    if (mayGo(op) && !op.results.some(({ id }) => read.has(id))) return false;
    for (const { id } of op.operands) read.add(id);
    return true;
  });
  return { ...program, ops: kept.toReversed() };
}

class Search {
  readonly classes: Classes;
  readonly units: readonly Unit[];
  readonly #unitOf: ReadonlyMap<Op, Unit>;
  readonly #copies = new Map<Unit, Map<number, Value>>();

  constructor(grouped: Grouped) {
    this.classes = Classes.of(grouped.program);
    this.units = unitsOf(grouped, this.classes);
    this.#unitOf = new Map(this.units.flatMap((unit) => unit.ops.map((op) => [op, unit] as const)));
  }

  /** By value of the program: its copy in a unit. */
  copies(unit: Unit): Map<number, Value> {
    let own = this.#copies.get(unit);
    if (own === undefined) this.#copies.set(unit, (own = new Map()));
    return own;
  }

  /** The ops of the norms that the products of a unit read. */
  norms(unit: Unit): ReadonlySet<Op> {
    const found = new Set<Op>();
    if (unit.kind !== "gemm") return found;
    const products = unit.ops.filter((op) => this.classes.of(op) === "gemm");
    for (const op of products) {
      const { a, batch, m, groups } = spaceOf(op);
      if (batch.length > 0 || groups !== undefined || m.join() !== "T") return new Set();
      for (const root of this.classes.roots(a)) {
        const norm = this.#norm(root);
        if (norm === undefined) return new Set();
        for (const each of norm) found.add(each);
      }
    }
    return [...found].some(({ name }) => name === "tensor.reduce") ? found : new Set();
  }

  /** The row ops that make a value: those of a row's statistic and elementwise ones. Undefined where others are among them. */
  #norm(value: Value): readonly Op[] | undefined {
    const op = this.classes.producer(value);
    // What another kind of kernel makes is stored.
    if (this.classes.of(op) !== "row" || this.#unitOf.get(op)?.kind !== "row") return [];
    const isElementwise = op.name.startsWith("math.") || op.name === "tensor.cast";
    const isStatistic = op.name === "tensor.reduce" && op.results[0]!.type.dims.join() === "T";
    if (!(isElementwise || isStatistic) || rowDims(op.results[0]!.type).join() !== "T") return undefined;
    const parts = op.operands.flatMap((x) => this.classes.roots(x)).map((root) => this.#norm(root));
    return parts.includes(undefined) ? undefined : [...parts.flatMap((part) => part!), op];
  }
}

/**
 * Matrix products with the elementwise ops on their results as one kernel: residual adds, activations, gates (gate and up
 * of SwiGLU are two products with one epilogue), and their gradients. Results of a product that nobody else reads are never
 * stored.
 */
import type { Op, Value } from "../tensor-ir/types.ts";
import { spaceOf } from "./build-products.ts";
import { Classes } from "./classes.ts";
import { addTo } from "./grouping.ts";
import { type Group, type Grouped, needsOf, type Unit, unitsOf } from "./units.ts";

/** What would be in units of rows without this moves to the products that it reads. */
export function fuseEpilogues(grouped: Grouped): Grouped {
  const { program, groups } = grouped;
  const classes = Classes.of(program);
  const units = unitsOf(grouped, classes);
  const unitOf = new Map(units.flatMap((unit) => unit.ops.map((op) => [op, unit] as const)));
  const order = new Cycles(needsOf(grouped, classes), units);
  const position = new Map(program.ops.map((op, i) => [op, i] as const));
  const epilogues: Group[] = [];
  const taken = new Set<Op>();
  const levels = new Map<number, Op[]>();
  for (const { kind, level, ops } of units) if (kind === "row") for (const op of ops) addTo(levels, level, op);
  for (const [level, ops] of levels) {
    const finder = new Finder({ level, ops }, classes, unitOf, taken);
    for (const products of finder.products()) {
      const found = finder.epilogue(products);
      if (found.length === 0) continue;
      const together = [...products, ...found].toSorted((a, b) => position.get(a)! - position.get(b)!);
      if (!order.merge(together)) continue;
      for (const op of together) taken.add(op);
      epilogues.push({ kind: "gemm", ops: together });
    }
  }
  return { program, groups: [...groups, ...epilogues] };
}

/** All ops of rows that run at one level. */
type Rows = Pick<Unit, "level" | "ops">;

class Finder {
  readonly #rows: Rows;
  readonly #classes: Classes;
  readonly #unitOf: ReadonlyMap<Op, Unit>;
  readonly #taken: ReadonlySet<Op>;
  readonly #byDims = new Map<string, Op[]>();

  constructor(rows: Rows, classes: Classes, unitOf: ReadonlyMap<Op, Unit>, taken: ReadonlySet<Op>) {
    this.#rows = rows;
    this.#classes = classes;
    this.#unitOf = unitOf;
    this.#taken = taken;
    for (const op of rows.ops) if (isPlain(op)) addTo(this.#byDims, dims(op), op);
  }

  /** Products that elementwise ops read at their own point; together those of one level and space. */
  products(): Op[][] {
    const found = new Map<string, Op[]>();
    for (const op of this.#rows.ops) {
      if (!this.#isElementwise(op)) continue;
      for (const x of op.operands) {
        const from = this.#classes.producer(this.#direct(x));
        if (this.#classes.of(from) !== "gemm" || this.#taken.has(from) || dims(from) !== dims(op)) continue;
        const { level, kind } = this.#unitOf.get(from)!;
        const space = spaceOf(from);
        if (kind !== "gemm" || !isTaken(op, from)) continue;
        const { batch, m, n, groups } = space;
        const key = JSON.stringify([level, batch, m, n, groups?.of.id, groups?.dim]);
        const all = found.get(key) ?? [];
        if (!all.includes(from)) found.set(key, [...all, from]);
      }
    }
    const level = ([op]: readonly Op[]): number => this.#unitOf.get(op!)!.level;
    return [...found.values()].toSorted((a, b) => level(b) - level(a));
  }

  /** The ops that become the epilogue of products. */
  epilogue(products: readonly Op[]): Op[] {
    const [first] = products;
    const wanted = (this.#byDims.get(dims(first!)) ?? []).filter(
      (op) => this.#isElementwise(op) && isTaken(op, first!),
    );
    const inside = new Set([...products, ...wanted]);
    // What has no place inside takes others out with it.
    for (let before = -1; before !== inside.size;) {
      before = inside.size;
      const leads = this.#dependent(products, wanted, inside);
      for (const op of wanted) if (inside.has(op) && !this.#fits(op, inside, leads)) inside.delete(op);
    }
    const leads = this.#dependent(products, wanted, inside);
    const used = products.every((op) => this.#classes.readers(op).some((user) => leads.has(user)));
    // A product that others read too is kept only where its results are read right away: nothing lives longer than before.
    const { level } = this.#rows;
    const late = products.some((op) => this.#isRead(op, inside) && this.#unitOf.get(op)!.level + 1 !== level);
    return used && !late ? wanted.filter((op) => inside.has(op)) : [];
  }

  #lives(op: Op): boolean {
    const unit = this.#unitOf.get(op);
    return unit?.kind === "row" && unit.level === this.#rows.level;
  }

  /** Ops inside that need a product. */
  #dependent(products: readonly Op[], wanted: readonly Op[], inside: ReadonlySet<Op>): Set<Op> {
    const leads = new Set(products);
    for (const op of wanted) {
      if (inside.has(op) && op.operands.some((x) => leads.has(this.#classes.producer(this.#direct(x))))) leads.add(op);
    }
    return leads;
  }

  #fits(op: Op, inside: ReadonlySet<Op>, leads: ReadonlySet<Op>): boolean {
    for (const x of op.operands) {
      const direct = this.#direct(x);
      for (const root of this.#classes.roots(x)) {
        const from = this.#classes.producer(root);
        // At another point than its own, or a value that lives in these rows.
        if (inside.has(from) ? root !== direct : this.#lives(from)) return false;
      }
    }
    if (!this.#isRead(op, inside)) return true;
    if (!leads.has(op)) return false;
    if (this.#isStored(op)) return true;
    // It would have to be stored now: worth it only instead of several values that nobody else wants.
    const instead = new Set(
      op.operands.map((x) => this.#classes.producer(this.#direct(x))).filter((x) => inside.has(x)),
    );
    const spared = [...instead].filter((x) => !this.#isStored(x) && !this.#isRead(x, inside, op));
    return spared.length > 1;
  }

  /** Elementwise, and not written into a param in its own place. */
  #isElementwise(op: Op): boolean {
    if (this.#taken.has(op) || !isPlain(op)) return false;
    return !this.#classes.readers(op).some(({ name }) => name === "model.update");
  }

  /** Whether ops outside read the result, or an effect hands it out. */
  #isRead(op: Op, inside: ReadonlySet<Op>, except?: Op): boolean {
    return this.#classes.readers(op).some((user) => user !== except && !inside.has(user));
  }

  /** Whether the result is read outside of these rows: it is stored in any case. */
  #isStored(op: Op): boolean {
    return this.#classes.readers(op).some((user) => !this.#lives(user));
  }

  /** The value itself, behind views that change no index. */
  #direct(value: Value): Value {
    const op = this.#classes.producer(value);
    return op.name === "tensor.stop_gradient" ? this.#direct(op.operands[0]!) : value;
  }
}

/** Gradients of experts' params, of which each product has all terms of an expert, are only rounded. */
function isTaken({ name }: Op, product: Op): boolean {
  return spaceOf(product).groups?.over !== "k" || name === "tensor.cast";
}

function isPlain({ name }: Op): boolean {
  return name.startsWith("math.") || name === "tensor.cast";
}

function dims({ results }: Op): string {
  return results[0]!.type.dims.join();
}

/** Who needs whom, while ops become one: nothing may need itself through others. */
class Cycles {
  readonly #needs: ReadonlyMap<Op, readonly Op[]>;
  /** When each op would run. */
  readonly #time: ReadonlyMap<Op, number>;
  readonly #togetherWith = new Map<Op, readonly Op[]>();
  /** When the first and the last op of each merger would run. */
  readonly #merged: { readonly first: number; readonly last: number }[] = [];

  constructor(needs: ReadonlyMap<Op, readonly Op[]>, units: readonly Unit[]) {
    this.#needs = needs;
    this.#time = new Map(units.flatMap(({ ops }, i) => ops.map((op) => [op, i] as const)));
    for (const { kind, ops } of units) if (kind !== "row") for (const op of ops) this.#togetherWith.set(op, ops);
  }

  /** Makes ops one, unless one of them needs another one through ops outside. */
  merge(ops: readonly Op[]): boolean {
    const own = new Set(ops);
    const times = ops.map((op) => this.#time.get(op)!);
    const first = Math.min(...times);
    const start = this.#earliest(first);
    const seen = new Set<Op>();
    const open = ops.flatMap((op) => this.#needs.get(op)!.filter((from) => !own.has(from)));
    while (open.length > 0) {
      const op = open.pop()!;
      if (own.has(op)) return false;
      if (seen.has(op) || this.#time.get(op)! < start) continue;
      for (const each of this.#togetherWith.get(op) ?? [op]) {
        seen.add(each);
        open.push(...this.#needs.get(each)!.filter((from) => !seen.has(from)));
      }
    }
    for (const op of ops) this.#togetherWith.set(op, ops);
    this.#merged.push({ first, last: Math.max(...times) });
    return true;
  }

  /** What runs before this time, and has been merged with nothing after it, needs nothing of that time. */
  #earliest(time: number): number {
    let start = time;
    for (let before = Infinity; before !== start;) {
      before = start;
      for (let i = this.#merged.length - 1; i >= 0; i--) {
        const { first, last } = this.#merged[i]!;
        if (last >= start) start = Math.min(start, first);
      }
    }
    return start;
  }
}

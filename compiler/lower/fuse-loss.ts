/**
 * Rows that are wide only on the way: logits of each token, of which a loss keeps one number, and their gradient, of which
 * products over the vocabulary and over tokens are left. Everything between the product that makes such rows and what is left
 * of them runs for one block of tokens after the other, forward and backward at once, so that the wide rows of all tokens are
 * never there (Hsu et al., "Liger Kernel", arXiv 2410.10989, 3.2). Nothing here asks for the name of a loss.
 */
import type { DType, Op, Program, Value } from "../tensor-ir/types.ts";
import { builderFor } from "../passes/scope.ts";
import { Classes } from "./classes.ts";
import { type Group, type Grouped, needsOf } from "./units.ts";

const TOKENS = "T";

/**
 * - `row`: each row of its result needs that row of its operands only
 * - `sum`: adds up rows
 */
type Role = "row" | "sum";

type Region = ReadonlyMap<Op, Role>;

/** Finds the regions. What they sum up is added to what the blocks before gave. */
export function fuseLoss(grouped: Grouped): Grouped {
  const search = new Search(grouped);
  const regions = grouped.program.ops.flatMap((op) => search.region(op) ?? []);
  return regions.length === 0 ? grouped : withSums(grouped, regions);
}

class Search {
  readonly #grouped: Grouped;
  readonly #program: Program;
  readonly #classes: Classes;
  /** What is together already. */
  readonly #togetherWith: Map<Op, readonly Op[]>;
  /** What an op needs of other kernels, and who needs it; few programs ask for it. */
  #order: { readonly needs: Neighbors; readonly users: Neighbors } | undefined;

  constructor(grouped: Grouped) {
    this.#grouped = grouped;
    this.#program = grouped.program;
    this.#classes = Classes.of(grouped.program);
    this.#togetherWith = new Map(grouped.groups.flatMap(({ ops }) => ops.map((op) => [op, ops] as const)));
  }

  /** The region that a product leads into, in order of execution; undefined when it has none, or would store no less by it. */
  region(enter: Op): Region | undefined {
    if (this.#classes.of(enter) !== "gemm" || this.#togetherWith.has(enter)) return undefined;
    const { rows, width } = this.#entered(enter);
    if (rows === undefined || width <= this.#width(rows)) return undefined;
    const isWide = (x: Value): boolean => x.type.dims.includes(TOKENS) && this.#width(x) >= width;
    const own = new Map<Op, Role>();
    for (let open = [enter]; open.length > 0; open = this.#between(own)) {
      while (open.length > 0) {
        const op = open.pop()!;
        if (own.has(op)) continue;
        const role = this.#roleOf(op);
        if (role === undefined) return undefined;
        own.set(op, role);
        const wide = op.operands.flatMap((x) => this.#classes.roots(x)).filter(isWide);
        open.push(
          ...wide.map((x) => this.#classes.producer(x)).filter((from) => this.#classes.of(from) !== "given"),
          ...(isWide(op.results[0]!) ? this.#classes.readers(op) : []),
        );
      }
      if (![...own.keys()].some((op) => isNormalized(op, isWide))) return undefined;
    }
    const region = new Map(this.#program.ops.flatMap((op) => (own.has(op) ? [[op, own.get(op)!] as const] : [])));
    if (!this.#isWorth(region, width)) return undefined;
    const ops = [...region.keys()];
    for (const op of ops) this.#togetherWith.set(op, ops);
    return region;
  }

  /** What a product makes rows of, and how many elements these have; no rows when it is no product with something static. */
  #entered({ name, operands, results: [result] }: Op): { readonly rows: Value | undefined; readonly width: number } {
    const [rows, ...others] = operands.filter((x) => x.type.dims.includes(TOKENS));
    const isOne = name === "tensor.contract" && result!.type.dims.includes(TOKENS) && others.length === 0;
    return { rows: isOne ? rows : undefined, width: this.#width(result!) };
  }

  /** Elements of a row. */
  #width({ type: { dims } }: Value): number {
    return dims.reduce((n, label) => n * (label === TOKENS ? 1 : (this.#program.dims.get(label) ?? Infinity)), 1);
  }

  #roleOf(op: Op): Role | undefined {
    const [result] = op.results;
    if (this.#togetherWith.has(op) || result === undefined || !this.#isBlind(op)) return undefined;
    const all = [result, ...op.operands.flatMap((x) => [x, ...this.#classes.roots(x)])];
    if (!all.every((x) => this.#width(x) < Infinity && x.type.dims.indexOf(TOKENS) <= 0)) return undefined;
    const hasRows = result.type.dims.includes(TOKENS);
    const isSum = op.name === "tensor.contract" || (op.name === "tensor.reduce" && op.attrs["kind"] === "sum");
    switch (this.#classes.of(op)) {
      case "row":
        return hasRows && this.#classes.rowsOf(op)[0] === TOKENS ? "row" : undefined;
      case "gemm":
        if (op.name !== "tensor.contract") return undefined;
        return hasRows ? "row" : "sum";
      case "columns":
        return isSum && op.operands.some((x) => x.type.dims.includes(TOKENS)) ? "sum" : undefined;
      default:
        return undefined;
    }
  }

  /** Whether an op, with the views that it looks through, does the same for every row, whichever it is. */
  #isBlind(op: Op): boolean {
    const asks = Object.values(op.attrs).some(
      (attr) => attr === TOKENS || (Array.isArray(attr) && attr.includes(TOKENS)),
    );
    if (asks || op.name === "tensor.random") return false;
    return op.operands
      .map((x) => this.#classes.producer(x))
      .every((from) => this.#classes.of(from) !== "view" || this.#isBlind(from));
  }

  /** Ops outside that need some of the ops and that others of them need. */
  #between(own: ReadonlyMap<Op, unknown>): Op[] {
    this.#order ??= orderOf(needsOf(this.#grouped, this.#classes));
    const { needs, users } = this.#order;
    const reached = (next: Neighbors): Set<Op> => {
      const seen = new Set<Op>();
      const open = [...own.keys()].flatMap((op) => next.get(op) ?? []);
      while (open.length > 0) {
        const op = open.pop()!;
        if (seen.has(op)) continue;
        for (const each of this.#togetherWith.get(op) ?? [op]) {
          seen.add(each);
          open.push(...(next.get(each) ?? []));
        }
      }
      return seen;
    };
    const before = reached(needs);
    return [...reached(users)].filter((op) => before.has(op) && !own.has(op));
  }

  /** Whether a region can run block by block, and keeps less of a row than its width. */
  #isWorth(region: Region, width: number): boolean {
    let kept = 0;
    for (const [op, role] of region) {
      const roots = op.operands.flatMap((x) => this.#classes.roots(x));
      if (roots.some((root) => region.get(this.#classes.producer(root)) === "sum")) return false;
      if (role === "sum" || this.#classes.readers(op).every((user) => region.has(user))) continue;
      kept += this.#width(op.results[0]!);
    }
    return kept < width;
  }
}

type Neighbors = ReadonlyMap<Op, readonly Op[]>;

function orderOf(needs: Neighbors): { readonly needs: Neighbors; readonly users: Neighbors } {
  const users = new Map<Op, Op[]>();
  for (const [op, needed] of needs) {
    for (const from of needed) {
      const known = users.get(from);
      if (known === undefined) users.set(from, [op]);
      else known.push(op);
    }
  }
  return { needs, users };
}

/** What only a loss or a choice does with rows so wide. */
function isNormalized({ name, operands: [x] }: Op, isWide: (x: Value) => boolean): boolean {
  return (name === "nn.softmax" || name === "nn.logsumexp") && isWide(x!);
}

/** The program with each sum of a region as an addition to what the blocks before gave, at first 0. */
function withSums({ program, groups }: Grouped, regions: readonly Region[]): Grouped {
  const builder = builderFor(program);
  const sums = new Set(regions.flatMap((region) => [...region].flatMap(([op, role]) => (role === "sum" ? [op] : []))));
  const replaced = new Map<Op, { readonly part: Op; readonly sum: Op }>();
  for (const op of program.ops) {
    if (!sums.has(op)) {
      builder.push(op);
      continue;
    }
    const [result] = op.results as [Value];
    const dtype = summed(result.type.dtype);
    const type = { dtype, dims: result.type.dims };
    const none = builder.emit("tensor.constant", [], type, { value: 0 });
    const before = builder.emit("tensor.cast", [none], type);
    const part = { ...op, results: [builder.value(type)] };
    const isResult = dtype === result.type.dtype;
    const after = isResult ? result : builder.value(type);
    const sum: Op = { name: "math.add", operands: [before, part.results[0]!], results: [after], attrs: {} };
    builder.push(part);
    builder.push(sum);
    if (!isResult) builder.push({ name: "tensor.cast", operands: [after], results: [result], attrs: {} });
    replaced.set(op, { part, sum });
  }
  const blocks = regions.map((region): Group => {
    const ops = [...region.keys()].flatMap((op) => {
      const made = replaced.get(op);
      return made === undefined ? [op] : [made.part, made.sum];
    });
    return { kind: "blocks", ops, sums: [...region.keys()].flatMap((op) => replaced.get(op)?.sum ?? []) };
  });
  return { program: builder.finish(program.name), groups: [...groups, ...blocks] };
}

/** What sums over many blocks are kept in. */
function summed(dtype: DType): DType {
  return dtype === "f64" || dtype === "i32" ? dtype : "f32";
}

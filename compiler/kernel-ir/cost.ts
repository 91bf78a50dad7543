/**
 * What a launch has to do at least: operations on floats, and bytes of memory that it reads and writes once. A pure function of
 * the kernel and the sizes of a call: a measured time against what the machine could do with both is the kernel's share of
 * its peak (Williams et al., "Roofline", 2009).
 */
import {
  boundExtents,
  type Extent,
  type Launch,
  type LaunchProgram,
  type Sizes,
  sizeOf,
  STORAGE_BYTES,
} from "../../runtime/program/launch.ts";
import type {
  Arg,
  Axis,
  Expr,
  GemmKernel,
  Kernel,
  PlaneKernel,
  ScalarOp,
  SoloKernel,
  Stmt,
  Target,
  Terms,
} from "./types.ts";

export interface KernelCost {
  /** Operations on floats, one for each arithmetic operator, two for each term of a product. */
  readonly flops: number;
  readonly bytes: number;
}

export interface CostOptions {
  /** How many columns a row of a plane visits, on average: the positions that a token sees. All when not given. */
  readonly seen?: number;
}

/** Operators that are no arithmetic: they choose, compare or convert. */
const FREE: ReadonlySet<ScalarOp> = new Set(["select", "cast", "and", "or", "not", "lt", "le", "gt", "ge", "eq", "ne"]);

/** @param extents the values of the kernel's symbolic extents, by name */
export function kernelCost(kernel: Kernel, extents: Sizes, options: CostOptions = {}): KernelCost {
  const count = new Count(kernel.args, extents, options);
  for (const part of kernel.family === "parts" ? kernel.parts : [kernel]) countKernel(count, part);
  return { flops: count.flops, bytes: count.bytes };
}

function countKernel(count: Count, kernel: SoloKernel): void {
  switch (kernel.family) {
    case "rows":
      count.space(kernel.rows, (rows) => kernel.body.forEach((stmt) => count.statement(stmt, rows)));
      break;
    case "serial":
      for (const stmt of kernel.body) count.statement(stmt, 1);
      break;
    case "columns":
      count.space([...kernel.columns, ...kernel.over], (all) => {
        for (const { value, ...target } of kernel.sums) {
          count.expression(value, all);
          count.flops += all;
          count.target(target);
        }
      });
      break;
    case "gemm":
      gemm(count, kernel);
      break;
    case "plane":
      plane(count, kernel);
  }
}

/** The cost of each launch of a program, in its order. */
export function programCost(
  program: LaunchProgram,
  kernels: readonly Kernel[],
  sizes: Sizes,
  options: CostOptions = {},
): KernelCost[] {
  const byName = new Map(kernels.map((kernel) => [kernel.name, kernel]));
  return program.launches.map((launch, at) => {
    const cost = (own: Sizes): KernelCost => launchCost(launch, byName.get(launch.kernel)!, own, options);
    const blocks = program.blocks?.find(({ first, count }) => at >= first && at < first + count);
    if (blocks === undefined) return cost(sizes);
    const all = sizeOf(blocks.dim, sizes);
    const times = Math.floor(all / blocks.rows);
    const [each, rest] = [blocks.rows, all % blocks.rows].map((rows) => cost({ ...sizes, [blocks.dim]: rows }));
    const last = all % blocks.rows === 0 ? 0 : 1;
    return {
      flops: times * each!.flops + last * rest!.flops,
      bytes: times * each!.bytes + last * rest!.bytes,
    };
  });
}

function launchCost(launch: Launch, kernel: Kernel, sizes: Sizes, options: CostOptions): KernelCost {
  return kernelCost(kernel, boundExtents(launch, kernel, sizes), options);
}

/** Terms of grouped products are those of the group that a row, or a term, belongs to. */
function gemm(count: Count, { batch, m, n, products, prologue, epilogue, groups }: GemmKernel): void {
  if (groups !== undefined) count.bind(groups.group, Math.min(count.size(groups.group.extent), count.volume(m)));
  if (prologue !== undefined) count.space(m, (rows) => prologue.body.forEach((stmt) => count.statement(stmt, rows)));
  const outer = groups?.over === "k" ? batch.filter(({ name }) => name !== groups.group.name) : batch;
  count.space([...batch, ...m, ...n], (results) => {
    for (const product of products) {
      const terms = count.volume(outer) * count.volume(m) * count.volume(n) * count.volume(product.k);
      count.product(product, terms);
    }
    for (const stmt of epilogue) count.statement(stmt, results);
  });
  if (groups !== undefined) count.expression(groups.of, 0);
}

function plane(count: Count, { batch, rows, column, span, body }: PlaneKernel): void {
  count.bind(column, count.size(column.extent));
  const seen = span === undefined ? count.size(column.extent) : count.seen(column);
  count.space([...batch, ...rows], (all) => {
    for (const stmt of body) {
      switch (stmt.kind) {
        case "row":
          count.narrowed(column, seen, () => count.statement(stmt.stmt, all));
          break;
        case "enter":
          for (const product of stmt.products) count.product(product, all * seen * count.volume(product.k));
          break;
        case "leave_rows":
        case "leave_columns": {
          const terms = all * seen * count.volume(stmt.n);
          count.space(stmt.n, () => {
            count.expression(stmt.kind === "leave_rows" ? stmt.b : stmt.x, 0);
            count.target(stmt);
          });
          count.flops += 2 * terms;
        }
      }
    }
  });
}

/** Adds up a kernel. */
class Count {
  flops = 0;
  readonly #args: ReadonlyMap<string, Arg>;
  readonly #extents: Sizes;
  readonly #seen: number | undefined;
  /** How many values each axis takes: all of them, and in loops that visit some. */
  readonly #axes = new Map<string, number>();
  readonly #visited = new Map<string, number>();
  /** By argument: the most elements that one access touches. */
  readonly #read = new Map<string, number>();
  readonly #written = new Map<string, number>();

  constructor(args: readonly Arg[], extents: Sizes, { seen }: CostOptions) {
    this.#args = new Map(args.map((arg) => [arg.name, arg]));
    this.#extents = extents;
    this.#seen = seen;
  }

  get bytes(): number {
    const sum = (touched: ReadonlyMap<string, number>): number =>
      [...touched].reduce(
        (bytes, [name, elements]) => bytes + elements * STORAGE_BYTES[this.#args.get(name)!.dtype],
        0,
      );
    return sum(this.#read) + sum(this.#written);
  }

  size(extent: Extent): number {
    return sizeOf(extent, this.#extents);
  }

  /** Of a column's axis: how many a row visits. */
  seen({ extent }: Axis): number {
    return Math.min(this.size(extent), this.#seen ?? Infinity);
  }

  volume(axes: readonly Axis[]): number {
    return axes.reduce((product, { name, extent }) => product * (this.#visited.get(name) ?? this.size(extent)), 1);
  }

  bind({ name }: Axis, values: number): void {
    this.#axes.set(name, values);
  }

  /** Inside of loops over axes; `inside` gets how many iterations there are. */
  space(axes: readonly Axis[], inside: (iterations: number) => void): void {
    for (const { name, extent } of axes) if (!this.#axes.has(name)) this.#axes.set(name, this.size(extent));
    inside(this.volume(axes));
  }

  /** Where loops over an axis visit some of its values. */
  narrowed({ name }: Axis, visited: number, inside: () => void): void {
    this.#visited.set(name, visited);
    inside();
    this.#visited.delete(name);
  }

  product({ a, b, k }: Terms, terms: number): void {
    this.space(k, () => {
      // What happens to operands on their way happens once for each of their elements.
      this.expression(a, this.#elements([a]));
      this.expression(b, this.#elements([b]));
    });
    this.flops += 2 * terms;
  }

  statement(stmt: Stmt, outer: number): void {
    switch (stmt.kind) {
      case "assign":
        this.space(stmt.axes, (all) => this.expression(stmt.value, outer * all));
        break;
      case "reduce":
        this.space([...stmt.axes, ...stmt.over], (all) => {
          this.expression(stmt.value, outer * all);
          this.flops += outer * all;
        });
        break;
      case "top_k":
      case "scan":
      case "rank":
        this.space([...stmt.axes, stmt.over, ...(stmt.kind === "top_k" ? [stmt.counter] : [])], () => {
          const all = this.volume([...stmt.axes, stmt.over]);
          this.expression(stmt.value, outer * all);
          this.flops += outer * all;
        });
        break;
      case "sort":
        this.space(stmt.over, (all) => this.expression(stmt.value, outer * all));
        // Places of the result.
        this.space(stmt.axes, () => this.#touch(this.#written, stmt.to, stmt.at));
        break;
      case "scatter":
        this.space(stmt.zeroed, () => this.#touch(this.#written, stmt.to, stmt.zeroedAt));
        this.space(stmt.axes, (all) => {
          this.expression(stmt.value, outer * all);
          this.expression(stmt.when, outer * all);
          this.flops += outer * all;
        });
    }
    this.target(stmt);
  }

  /** An expression that is evaluated so many times. */
  expression(expr: Expr, times: number): void {
    switch (expr.kind) {
      case "load":
        this.#touch(this.#read, expr.from, expr.at);
        for (const at of expr.at) this.expression(at, 0);
        break;
      case "op":
        if (expr.dtype !== "index" && expr.dtype !== "i32" && !FREE.has(expr.op)) this.flops += times;
        for (const operand of expr.operands) this.expression(operand, times);
        break;
      case "random":
        for (const operand of [expr.element, expr.seed, expr.step]) this.expression(operand, 0);
        break;
      case "axis":
      case "const":
      case "extent":
    }
  }

  target({ to, at }: Target): void {
    for (const expr of at) this.expression(expr, 0);
    this.#touch(this.#written, to, at);
    if (this.#args.get(to)?.access === "update") this.#touch(this.#read, to, at);
  }

  /** An access touches as many elements as its indices have values, and no more than there are. */
  #touch(touched: Map<string, number>, name: string, at: readonly Expr[]): void {
    const arg = this.#args.get(name);
    if (arg === undefined) return;
    const elements = Math.min(this.#elements(at), this.#elementsOf(arg));
    touched.set(name, Math.max(touched.get(name) ?? 0, elements));
  }

  /** How many values the axes of expressions take together. */
  #elements(exprs: readonly Expr[]): number {
    const names = new Set<string>();
    const visit = (expr: Expr): void => {
      if (expr.kind === "axis") names.add(expr.axis);
      else if (expr.kind === "load") expr.at.forEach(visit);
      else if (expr.kind === "op") expr.operands.forEach(visit);
      else if (expr.kind === "random") visit(expr.element);
    };
    exprs.forEach(visit);
    return [...names].reduce((product, name) => product * (this.#axes.get(name) ?? 1), 1);
  }

  /** Nobody knows how many rows a cache has. */
  #elementsOf({ shape }: Arg): number {
    return shape[0] === "cache" ? Infinity : shape.reduce<number>((product, extent) => product * this.size(extent), 1);
  }
}

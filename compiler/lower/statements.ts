/** Statements for the ops that loop inside of a row: sums, softmax, orders, scans, scatters, and plain elementwise stores. */
import type { Expr, Reduction, Stmt, Target } from "../kernel-ir/types.ts";
import { booleanAttr, stringAttr, stringsAttr } from "../tensor-ir/attrs.ts";
import { joinDims, withoutDims } from "../tensor-ir/ops/dims.ts";
import type { DimLabel, Op, Value } from "../tensor-ir/types.ts";
import { axis, constant, known, load, op as scalar, toIndex } from "../kernel-ir/expr.ts";
import { inLocal, type KernelArgs } from "./kernel-args.ts";
import { type Point, type Reader, zero } from "./reader.ts";

/** Ops that need statements of their own: they cannot be written into an expression. */
export const LOOPS = new Set([
  "tensor.reduce",
  "tensor.contract",
  "tensor.scatter_add",
  "tensor.top_k",
  "tensor.rank",
  "tensor.cumsum",
  "nn.softmax",
  "nn.logsumexp",
  "moe.combine",
  "moe.tiles",
]);

/** Of each softmax, by what it reads: the largest element of a row, and the sum of the powers. */
export type Powers = Map<string, { readonly largest: Expr; readonly sum: Expr }>;

export class Statements {
  readonly body: Stmt[] = [];
  readonly #reader: Reader;
  readonly #args: KernelArgs;
  /** Dims whose indices are bound outside of all statements. */
  readonly #rows: readonly DimLabel[];
  readonly #powers: Powers;

  /** @param powers of the kernel, where others write a part of its statements */
  constructor(reader: Reader, rows: readonly DimLabel[], powers: Powers = new Map()) {
    this.#reader = reader;
    this.#args = reader.args;
    this.#rows = rows;
    this.#powers = powers;
  }

  /** Writes an op's result to where it is stored. */
  add(op: Op): void {
    const [result] = op.results;
    const { dims } = result!.type;
    switch (op.name) {
      case "tensor.reduce": {
        const [x] = op.operands;
        return this.#reduce(op, stringAttr(op.attrs, "kind") as Reduction, x!.type.dims, (p) => this.#reader.at(x!, p));
      }
      case "tensor.contract": {
        const [a, b] = op.operands as readonly [Value, Value];
        return this.#reduce(op, "sum", joinDims(a.type.dims, b.type.dims), (p) =>
          scalar("mul", [this.#reader.at(a, p), this.#reader.at(b, p)], result!.type.dtype),
        );
      }
      case "moe.combine": {
        const [y, weight, chosen] = op.operands as readonly [Value, Value, Value];
        const labels = joinDims(y.type.dims, weight.type.dims, chosen.type.dims);
        return this.#reduce(op, "sum", labels, (p) => {
          const none = scalar("lt", [this.#reader.at(chosen, p), constant(0, "i32")], "bool");
          const { dtype } = result!.type;
          const product = scalar("mul", [this.#reader.at(y, p), this.#reader.at(weight, p)], dtype);
          return scalar("select", [none, zero(dtype), product], dtype);
        });
      }
      case "nn.softmax":
        return this.#softmax(op);
      case "nn.logsumexp":
        return this.#logSumExp(op);
      case "tensor.top_k":
      case "tensor.rank": {
        const dim = stringAttr(op.attrs, "dim");
        const to = op.name === "tensor.top_k" ? stringAttr(op.attrs, "to") : dim;
        const axes = this.#inner(withoutDims(dims, [to]));
        const point = this.#point(joinDims(dims, [dim]));
        const common = {
          axes: axes.map((label) => this.#args.axis(label)),
          over: this.#args.axis(dim),
          value: this.#reader.at(op.operands[0]!, point),
          ...this.#args.target(result!, new Map([...point, [to, axis(to)]])),
        };
        this.body.push(
          op.name === "tensor.top_k"
            ? { kind: "top_k", counter: this.#args.axis(to), ...common }
            : { kind: "rank", ...common },
        );
        return undefined;
      }
      case "tensor.cumsum": {
        const dim = stringAttr(op.attrs, "dim");
        const point = this.#point(dims);
        this.body.push({
          kind: "scan",
          axes: this.#inner(withoutDims(dims, [dim])).map((label) => this.#args.axis(label)),
          over: this.#args.axis(dim),
          exclusive: booleanAttr(op.attrs, "exclusive"),
          reverse: booleanAttr(op.attrs, "reverse"),
          value: this.#reader.at(op.operands[0]!, point),
          ...this.#args.target(result!, point),
        });
        return undefined;
      }
      case "tensor.scatter_add":
        return this.#scatter(op);
      case "moe.tiles":
        return this.#sort(op);
      default:
        return this.assign(op, this.#args.target(result!, this.#point(dims)));
    }
  }

  /** Stores the rows of a `cache.append` at a target. */
  assignAppended({ operands: [x] }: Op, target: Target): void {
    const { dims } = x!.type;
    this.body.push({
      kind: "assign",
      axes: this.#axes(dims),
      value: this.#reader.at(x!, this.#point(dims)),
      ...target,
    });
  }

  /** Stores an elementwise op's result at a target. */
  assign(op: Op, target: Target): void {
    const { dims } = op.results[0]!.type;
    const value = this.#reader.element(op, this.#point(dims));
    this.body.push({ kind: "assign", axes: this.#axes(dims), value, ...target });
  }

  #inner(dims: readonly DimLabel[]): DimLabel[] {
    return withoutDims(dims, this.#rows);
  }

  /** Axes over the dims inside of a row; a dim of size 1 needs none. */
  #axes(dims: readonly DimLabel[]): ReturnType<KernelArgs["axis"]>[] {
    return this.#inner(dims)
      .map((label) => this.#args.axis(label))
      .filter(({ extent }) => extent !== 1);
  }

  #point(dims: readonly DimLabel[]): Point {
    return this.#args.point(joinDims(this.#rows, dims));
  }

  #reduce(op: Op, reduction: Reduction, labels: readonly DimLabel[], value: (point: Point) => Expr): void {
    const { dims } = op.results[0]!.type;
    const point = this.#point(joinDims(dims, labels));
    this.body.push({
      kind: "reduce",
      reduction,
      axes: this.#axes(dims),
      over: this.#axes(withoutDims(labels, dims)),
      value: value(point),
      ...this.#args.target(op.results[0]!, point),
    });
  }

  /** exp(x - max) * (1 / sum); masked elements are 0, and so is a row of nothing but them or of -inf. */
  #softmax(op: Op): void {
    const [result] = op.results;
    const { dtype, dims } = result!.type;
    const total = inLocal(dtype);
    const dim = stringAttr(op.attrs, "dim");
    const { x, none, largest } = this.#largest(op, dim);
    const point = this.#point(dims);
    const target = this.#args.target(result!, point);
    const power = scalar("exp", [scalar("sub", [x(point), largest(point)], dtype)], dtype);
    const axes = this.#axes(dims);
    this.body.push({
      kind: "assign",
      axes,
      value: scalar("select", [none(point), zero(dtype), power], dtype),
      ...target,
    });
    const outer = withoutDims(dims, [dim]);
    const sum = this.#args.scratch("sum", total, this.#inner(outer));
    const at = this.#inner(outer).map((label) => point.get(label)!);
    const stored = load(target.to, target.at, this.#args.hasLocal(result!) ? inLocal(dtype) : dtype);
    this.body.push({
      kind: "reduce",
      reduction: "sum",
      axes: this.#axes(outer),
      over: this.#axes([dim]),
      value: stored,
      to: sum.name,
      at,
    });
    const whole = load(sum.name, at, total);
    // What is kept in a local is not rounded.
    if (total === dtype || this.#args.hasLocal(result!))
      this.#powers.set(rowsRead(op), { largest: largest(point), sum: whole });
    // A sum is 0, or at least 1: that is the power of the largest element. So its inverse is a number that is not too large.
    const inverse = this.#args.scratch("inverse", total, this.#inner(outer));
    const empty = scalar("eq", [whole, constant(0, total)], "bool");
    const share = scalar("select", [empty, constant(0, total), scalar("recip", [whole], total)], total);
    this.body.push({ kind: "assign", axes: this.#axes(outer), value: share, to: inverse.name, at });
    const value = scalar("mul", [stored, load(inverse.name, at, total)], dtype);
    this.body.push({ kind: "assign", axes, value, ...target });
  }

  /** max + log(sum(exp(x - max))); -inf where everything is masked. */
  #logSumExp(op: Op): void {
    const [result] = op.results;
    const { dtype, dims } = result!.type;
    const total = inLocal(dtype);
    const dim = stringAttr(op.attrs, "dim");
    const point = this.#point(joinDims(dims, [dim]));
    const write = (peak: Expr, sum: Expr): void => {
      const value = scalar("add", [peak, scalar("log", [sum], total)], dtype);
      this.body.push({ kind: "assign", axes: this.#axes(dims), value, ...this.#args.target(result!, point) });
    };
    const known = this.#powers.get(rowsRead(op));
    if (known !== undefined) return write(known.largest, known.sum);
    const { x, none, largest } = this.#largest(op, dim);
    const power = scalar("exp", [scalar("sub", [x(point), largest(point)], dtype)], dtype);
    const sum = this.#args.scratch("sum", total, this.#inner(dims));
    const at = this.#inner(dims).map((label) => point.get(label)!);
    this.body.push({
      kind: "reduce",
      reduction: "sum",
      axes: this.#axes(dims),
      over: this.#axes([dim]),
      value: scalar("select", [none(point), zero(dtype), power], dtype),
      to: sum.name,
      at,
    });
    write(largest(point), load(sum.name, at, total));
  }

  /** The largest unmasked element of each row, and 0 where there is none: what may be taken from all of them. */
  #largest(op: Op, dim: DimLabel): Record<"x" | "none" | "largest", (point: Point) => Expr> {
    const [x, mask] = op.operands as readonly [Value, Value | undefined];
    const dims = withoutDims(joinDims(x.type.dims, mask?.type.dims ?? []), [dim]);
    const { dtype } = x.type;
    const total = inLocal(dtype);
    const lowest = constant(-Infinity, dtype);
    const point = this.#point(joinDims(dims, [dim]));
    const value = this.#reader.at(x, point);
    const masked = (p: Point): Expr =>
      mask === undefined ? constant(false, "bool") : scalar("not", [this.#reader.at(mask, p)], "bool");
    const peak = this.#args.scratch("peak", total, this.#inner(dims));
    const at = (p: Point): Expr[] => this.#inner(dims).map((label) => p.get(label)!);
    this.body.push({
      kind: "reduce",
      reduction: "max",
      axes: this.#axes(dims),
      over: this.#axes([dim]),
      value: mask === undefined ? value : scalar("select", [masked(point), lowest, value], dtype),
      to: peak.name,
      at: at(point),
    });
    const found = (p: Point): Expr => load(peak.name, at(p), total);
    return {
      x: (p) => this.#reader.at(x, p),
      none: masked,
      largest: (p) => scalar("select", [scalar("eq", [found(p), lowest], "bool"), constant(0, total), found(p)], total),
    };
  }

  #sort({ attrs, operands, results }: Op): void {
    const [chosen] = operands as readonly [Value];
    const [tiles, place] = stringsAttr(attrs, "into") as [DimLabel, DimLabel];
    const { dims } = chosen.type;
    this.body.push({
      kind: "sort",
      axes: [this.#args.axis(tiles), this.#args.axis(place)],
      over: this.#axes(dims),
      groups: known(this.#args.size(stringAttr(attrs, "experts")))!,
      value: this.#reader.at(chosen, this.#point(dims)),
      ...this.#args.target(results[0]!, this.#point([tiles, place])),
    });
  }

  #scatter({ attrs, operands, results }: Op): void {
    const [x, where] = operands as readonly [Value, Value];
    const [result] = results;
    const dim = stringAttr(attrs, "dim");
    const labels = joinDims(x.type.dims, where.type.dims);
    const point = new Map(this.#point(labels));
    const at = this.#reader.at(where, point);
    const to = new Map([...point, [dim, toIndex(at)] as const]);
    this.body.push({
      kind: "scatter",
      axes: this.#axes(labels),
      when: scalar("ge", [at, constant(0, "i32")], "bool"),
      value: this.#reader.at(x, point),
      zeroed: this.#axes(result!.type.dims),
      zeroedAt: this.#args.target(result!, this.#point(result!.type.dims)).at,
      ...this.#args.target(result!, to),
    });
  }
}

/** What a softmax or a log of a sum of exponentials reads. */
export function rowsRead({ operands, attrs }: Op): string {
  return [stringAttr(attrs, "dim"), ...operands.map(({ id }) => id)].join(" ");
}

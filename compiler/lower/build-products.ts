import type { Axis, ColumnsKernel, Expr, GemmKernel, Reduction } from "../kernel-ir/types.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import { joinDims, withoutDims } from "../tensor-ir/ops/dims.ts";
import type { DimLabel, Op, Value } from "../tensor-ir/types.ts";
import type { Built } from "./build-rows.ts";
import type { Classes } from "./classes.ts";
import { load, op as scalar } from "../kernel-ir/expr.ts";
import { KernelArgs } from "./kernel-args.ts";
import { type Point, Reader } from "./reader.ts";
import { Statements } from "./statements.ts";
import type { Storage } from "./storage.ts";

/** A contraction as a matrix product: which dims are rows, columns, batches and sums follows from who has them. */
export interface ProductSpace {
  readonly a: Value;
  readonly b: Value;
  readonly batch: readonly DimLabel[];
  readonly m: readonly DimLabel[];
  readonly n: readonly DimLabel[];
  readonly k: readonly DimLabel[];
  /** Rows, or terms of the sum, of which each has a group. */
  readonly groups?: { readonly over: "m" | "k"; readonly dim: DimLabel; readonly of: Value };
}

export function spaceOf({ name, attrs, operands, results }: Op): ProductSpace {
  const [first, second, of] = operands as readonly [Value, Value, Value | undefined];
  const { dims } = results[0]!.type;
  const over = name === "moe.contract" ? "m" : "k";
  const groups = of === undefined ? {} : { groups: { over, dim: stringAttr(attrs, "experts"), of } as const };
  const grouped = groups.groups?.dim;
  // Columns are what lies next to each other in the result.
  const swap = of === undefined && !second.type.dims.includes(dims.at(-1)!);
  const [a, b] = swap ? [second, first] : [first, second];
  const within =
    (value: Value) =>
    (label: DimLabel): boolean =>
      value.type.dims.includes(label);
  const rows = of !== undefined && over === "m" ? of.type.dims : [];
  const shared = dims.filter((label) => (within(a)(label) && within(b)(label)) || (over === "k" && label === grouped));
  const batch = withoutDims(shared, rows);
  const m = dims.filter((label) => !batch.includes(label) && (within(a)(label) || rows.includes(label)));
  const n = withoutDims(dims, [...batch, ...m]);
  const k = withoutDims(joinDims(a.type.dims, b.type.dims), [
    ...dims,
    ...(over === "m" && grouped !== undefined ? [grouped] : []),
  ]);
  return { a, b, batch, m, n, k, ...groups };
}

/** Products of one space, and elementwise ops on their results: every value that others read is stored. */
export function buildGemm(ops: readonly Op[], classes: Classes, storage: Storage): Built<GemmKernel> {
  const args = new KernelArgs(storage);
  const sums = new Map(
    ops.flatMap(({ results: [result] }, i): [number, Expr][] =>
      classes.of(ops[i]!) === "gemm" ? [[result!.id, load(args.fresh("product"), [], result!.type.dtype)]] : [],
    ),
  );
  const others = ops.filter((op) => classes.of(op) !== "gemm");
  const spaces = ops.flatMap((op) => (classes.of(op) === "gemm" ? [spaceOf(op)] : []));
  const [{ batch, m, n, groups }] = spaces as [ProductSpace];
  const statistics = statisticsOf(others, m, classes);
  const reader = new Reader(classes, args, new Set(others.filter((op) => !statistics.includes(op))), sums);
  const statements = new Statements(reader, m);
  for (const op of statistics) {
    args.local(op.results[0]!, []);
    statements.add(op);
  }
  const axes = (labels: readonly DimLabel[]): Axis[] =>
    labels.map((label) => args.axis(label)).filter(({ extent }) => extent !== 1);
  const grouped = groups?.over === "m" ? [groups.dim] : [];
  const products = spaces.map(({ a, b, k }, i) => {
    const point = args.point([...batch, ...m, ...n, ...k, ...grouped]);
    const { from: name, dtype } = [...sums.values()][i] as Expr & { kind: "load" };
    return { name, dtype, k: axes(k), a: reader.at(a, point), b: reader.at(b, point) };
  });
  const all = args.point([...batch, ...m, ...n, ...spaces[0]!.k, ...grouped]);
  const of =
    groups === undefined
      ? {}
      : { groups: { over: groups.over, group: args.axis(groups.dim), of: reader.at(groups.of, all) } };
  const point = args.point([...batch, ...m, ...n]);
  const epilogue = ops.flatMap(({ results: [result] }) => {
    if (storage.of(result!) === undefined) return [];
    return [{ kind: "assign" as const, axes: [], value: reader.at(result!, point), ...args.target(result!, point) }];
  });
  return {
    kernel: {
      family: "gemm",
      args: args.args(),
      extents: args.extents(),
      batch: axes(batch),
      m: axes(m),
      n: axes(n),
      ...(statistics.length === 0 ? {} : { prologue: { locals: args.locals(), body: statements.body } }),
      products,
      epilogue,
      ...of,
    },
    buffers: args.buffers(),
  };
}

/** What a row has one number of, in the order of the ops: sums over its elements, and what is made of them more than once. */
function statisticsOf(ops: readonly Op[], m: readonly DimLabel[], classes: Classes): readonly Op[] {
  const perRow = ops.filter(({ results: [result] }) => result!.type.dims.join() === m.join());
  return perRow.filter(
    (op) =>
      op.name === "tensor.reduce" ||
      !classes.readers(op).every((user) => perRow.includes(user)) ||
      classes.readers(op).length > 1,
  );
}

/** A reduction that crosses rows, the last of the ops, and what is written into it. */
export function buildColumns(ops: readonly Op[], classes: Classes, storage: Storage): Built<ColumnsKernel> {
  const op = ops.at(-1)!;
  const args = new KernelArgs(storage);
  const reader = new Reader(classes, args, new Set(ops.slice(0, -1)));
  const [x, y] = op.operands as readonly [Value, Value | undefined];
  const [result] = op.results;
  const labels = joinDims(x.type.dims, y?.type.dims ?? []);
  const point: Point = args.point(joinDims(result!.type.dims, labels));
  const value: Expr =
    y === undefined
      ? reader.at(x, point)
      : scalar("mul", [reader.at(x, point), reader.at(y, point)], result!.type.dtype);
  const reduction = y === undefined ? (stringAttr(op.attrs, "kind") as Reduction) : "sum";
  const axes = (dims: readonly DimLabel[]): Axis[] =>
    dims.map((label) => args.axis(label)).filter(({ extent }) => extent !== 1);
  const [columns, over] = [axes(result!.type.dims), axes(withoutDims(labels, result!.type.dims))];
  const sums = [{ reduction, value, ...args.target(result!, point) }];
  return {
    kernel: { family: "columns", args: args.args(), extents: args.extents(), columns, over, sums },
    buffers: args.buffers(),
  };
}

import type { Axis, ColumnsKernel, Expr, GemmKernel, Reduction } from "../kernel-ir/types.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import { joinDims, withoutDims } from "../tensor-ir/ops/dims.ts";
import type { DimLabel, Op, Value } from "../tensor-ir/types.ts";
import type { Built } from "./build-rows.ts";
import type { Classes } from "./classes.ts";
import { load, op as scalar } from "../kernel-ir/expr.ts";
import { KernelArgs } from "./kernel-args.ts";
import { type Point, Reader } from "./reader.ts";
import type { Storage } from "./storage.ts";

/** A contraction as a matrix product: which dims are rows, columns, batches and sums follows from who has them. */
export function buildGemm(op: Op, classes: Classes, storage: Storage): Built<GemmKernel> {
  const [first, second] = op.operands as readonly [Value, Value];
  const [result] = op.results;
  const { dims } = result!.type;
  const grouped = op.name === "tensor.contract" ? undefined : stringAttr(op.attrs, "experts");
  // Columns are what lies next to each other in the result.
  const swap = grouped === undefined && !second.type.dims.includes(dims.at(-1)!);
  const [a, b] = swap ? [second, first] : [first, second];
  const args = new KernelArgs(storage);
  const reader = new Reader(classes, args);
  const within =
    (value: Value) =>
    (label: DimLabel): boolean =>
      value.type.dims.includes(label);
  const overRows = op.name === "moe.contract";
  const rowLabels = overRows ? op.operands[2]!.type.dims : [];
  const batchLabels = dims.filter(
    (label) => (within(a)(label) && within(b)(label)) || (op.name === "moe.contract_weight" && label === grouped),
  );
  const batch = batchLabels.filter((label) => !rowLabels.includes(label));
  const m = dims.filter((label) => !batch.includes(label) && (within(a)(label) || rowLabels.includes(label)));
  const n = dims.filter((label) => !batch.includes(label) && !m.includes(label));
  const sums = withoutDims(joinDims(a.type.dims, b.type.dims), [...dims, ...(overRows ? [grouped!] : [])]);
  const point = args.point(joinDims(dims, sums, overRows ? [grouped!] : []));
  const axes = (labels: readonly DimLabel[]): Axis[] =>
    labels.map((label) => args.axis(label)).filter(({ extent }) => extent !== 1);
  const groups =
    grouped === undefined
      ? {}
      : {
          groups: {
            over: overRows ? ("m" as const) : ("k" as const),
            group: args.axis(grouped),
            of: reader.at(op.operands[2]!, point),
          },
        };
  const product = { name: "product", k: axes(sums), a: reader.at(a, point), b: reader.at(b, point) };
  const target = args.target(result!, point);
  const epilogue = [{ kind: "assign" as const, axes: [], value: load("product", [], result!.type.dtype), ...target }];
  const spaces = { batch: axes(batch), m: axes(m), n: axes(n) };
  return {
    kernel: {
      family: "gemm",
      args: args.args(),
      extents: args.extents(),
      ...spaces,
      products: [product],
      epilogue,
      ...groups,
    },
    buffers: args.buffers(),
  };
}

/** A reduction that crosses rows. */
export function buildColumns(op: Op, classes: Classes, storage: Storage): Built<ColumnsKernel> {
  const args = new KernelArgs(storage);
  const reader = new Reader(classes, args);
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

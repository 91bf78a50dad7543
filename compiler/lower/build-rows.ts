import type { Expr, RowsKernel, SerialKernel, Target } from "../kernel-ir/types.ts";
import { joinDims, withoutDims } from "../tensor-ir/ops/dims.ts";
import type { DimLabel, Op, Value } from "../tensor-ir/types.ts";
import type { Classes } from "./classes.ts";
import { addTo } from "./grouping.ts";
import { KernelArgs } from "./kernel-args.ts";
import { Reader } from "./reader.ts";
import { LOOPS, rowsRead, Statements } from "./statements.ts";
import type { Storage } from "./storage.ts";

/** What a builder makes of a unit: a kernel without its name, and the buffers of its arguments. */
export interface Built<K> {
  readonly kernel: Omit<K, "name" | "from">;
  readonly buffers: readonly number[];
  /** Ids of the values that lie in locals, by the names of these. */
  readonly values?: ReadonlyMap<string, number>;
}

/**
 * The ops of a row unit as statements, in order. A value that others read is stored, one that is used once, at as many
 * points as it has elements, is written into its user, the rest are locals.
 *
 * @param caches by the result of a `cache.append`, its buffer
 */
export function buildRows(
  ops: readonly Op[],
  classes: Classes,
  storage: Storage,
  caches: ReadonlyMap<number, number>,
): Built<RowsKernel> {
  const rows = classes.rowsOf(ops[0]!);
  const args = new KernelArgs(storage);
  const inline = inlined(ops, rows, classes, storage);
  const reader = new Reader(classes, args, inline);
  const statements = new Statements(reader, rows);
  const axes = rows.map((label) => args.axis(label));
  for (const op of softmaxFirst(ops)) {
    if (inline.has(op)) continue;
    const [result] = op.results;
    const cache = caches.get(result!.id);
    if (cache !== undefined) {
      statements.assignAppended(op, cacheTarget(args, op, cache));
      continue;
    }
    if (storage.of(result!) === undefined) args.local(result!, withoutDims(result!.type.dims, rows));
    statements.add(op);
  }
  return {
    kernel: {
      family: "rows",
      args: args.args(),
      extents: args.extents(),
      rows: axes,
      locals: args.locals(),
      body: statements.body,
    },
    buffers: args.buffers(),
    values: args.localValues(),
  };
}

/** A softmax in front of the first log of a sum of exponentials of the same rows, which then reads its sum. */
function softmaxFirst(ops: readonly Op[]): readonly Op[] {
  const softmax = new Map(ops.filter(({ name }) => name === "nn.softmax").map((op) => [rowsRead(op), op]));
  const ordered = ops.flatMap((op) => {
    const same = op.name === "nn.logsumexp" ? softmax.get(rowsRead(op)) : undefined;
    return same === undefined ? [op] : [same, op];
  });
  return [...new Set(ordered)];
}

function cacheTarget(args: KernelArgs, op: Op, cache: number): Target {
  const [x] = op.operands;
  const rest = withoutDims(x!.type.dims, ["T"]);
  const point = args.point(["T", ...rest]);
  return args.cacheTarget(
    cache,
    op.results[0]!,
    point.get("T")!,
    rest.map((label) => point.get(label) as Expr),
  );
}

/** Elementwise ops of a unit that are written into their one user. */
function inlined(ops: readonly Op[], rows: readonly DimLabel[], classes: Classes, storage: Storage): Set<Op> {
  const own = new Set(ops);
  const uses = new Map<Op, Op[]>();
  for (const user of ops) {
    for (const operand of user.operands) {
      for (const root of classes.roots(operand)) {
        const op = classes.producer(root);
        if (own.has(op)) addTo(uses, op, user);
      }
    }
  }
  const count = (labels: readonly DimLabel[]): number =>
    withoutDims(labels, rows).reduce((n, label) => n * (classes.program.dims.get(label) ?? 4096), 1);
  const points = (op: Op): number =>
    count(joinDims(op.results[0]!.type.dims, ...op.operands.map((x: Value) => x.type.dims)));
  return new Set(
    ops.filter((op) => {
      const [result] = op.results;
      const [user, ...others] = uses.get(op) ?? [];
      if (LOOPS.has(op.name) || op.name === "cache.append" || storage.of(result!) !== undefined) return false;
      if (user === undefined || others.length > 0) return false;
      // Sorts, scans and softmax look at their operand several times.
      if (["tensor.top_k", "tensor.rank", "nn.softmax", "nn.logsumexp"].includes(user.name)) return false;
      return points(user) <= count(result!.type.dims);
    }),
  );
}

/** One op that does not keep to rows, by one work item. */
export function buildSerial(op: Op, classes: Classes, storage: Storage): Built<SerialKernel> {
  const args = new KernelArgs(storage);
  const statements = new Statements(new Reader(classes, args), []);
  statements.add(op);
  return {
    kernel: {
      family: "serial",
      args: args.args(),
      extents: args.extents(),
      locals: args.locals(),
      body: statements.body,
    },
    buffers: args.buffers(),
  };
}

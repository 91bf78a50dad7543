import type { Axis, Expr, PlaneKernel, PlaneStmt, Product } from "../kernel-ir/types.ts";
import { joinDims, withoutDims } from "../tensor-ir/ops/dims.ts";
import type { DimLabel, Op, Value } from "../tensor-ir/types.ts";
import type { Built } from "./build-rows.ts";
import type { Classes } from "./classes.ts";
import { KernelArgs } from "./kernel-args.ts";
import type { Region } from "./planes.ts";
import { Reader } from "./reader.ts";
import { Statements } from "./statements.ts";
import type { Storage } from "./storage.ts";

const [TOKENS, POSITIONS]: readonly DimLabel[] = ["T", "S"];

/** A region as a kernel: planes are locals, and a plane whose last reader makes another one lends it its memory. */
export function buildPlane(region: Region, classes: Classes, storage: Storage): Built<PlaneKernel> {
  const { ops, batch, rows, span } = region;
  const own = new Map(ops.flatMap((op) => op.results.map(({ id }) => [id, op] as const)));
  const uses = usesOf(ops, classes);
  const args = new KernelArgs(storage);
  const absorbed = new Set<Op>();
  const sums = new Map(ops.map((op) => [op, termsOf(op, own, uses)] as const));
  for (const terms of sums.values()) if (terms.length > 1) for (const term of terms) absorb(term, absorbed);
  for (const [op, terms] of sums) if (terms.length > 1) for (const inner of innerSums(op, own)) absorbed.add(inner);
  const inline = new Set(ops.filter((op) => sums.get(op)!.length === 0 && isInlined(op, uses)));
  const reader = new Reader(classes, args, inline);
  const outer = [...batch, TOKENS!, ...rows];
  const axes = (labels: readonly DimLabel[]): Axis[] =>
    labels.map((label) => args.axis(label)).filter(({ extent }) => extent !== 1);
  const body: PlaneStmt[] = [];

  const product = (op: Op): Omit<Product, "name"> => {
    const [x, y] = op.operands as readonly [Value, Value];
    const [a, b] = x.type.dims.includes(TOKENS!) ? [x, y] : [y, x];
    const k = withoutDims(joinDims(a.type.dims, b.type.dims), op.results[0]!.type.dims);
    const point = args.point([...outer, POSITIONS!, ...k]);
    return { k: axes(k), a: reader.at(a, point), b: reader.at(b, point) };
  };

  const place = (op: Op): void => {
    const [result] = op.results;
    if (storage.of(result!) !== undefined) return;
    const lender = op.operands.find(
      (x) => isPlane(x) && isPlane(result!) && own.has(x.id) && lastUser(x, uses) === op && !inline.has(own.get(x.id)!),
    );
    if (lender !== undefined && args.hasLocal(lender)) args.alias(result!, lender);
    else args.local(result!, isPlane(result!) ? [POSITIONS!] : []);
  };

  for (const op of ops) {
    if (absorbed.has(op) || inline.has(op)) continue;
    const [result] = op.results;
    const terms = sums.get(op)!;
    if (terms.length > 0) {
      place(op);
      body.push({ kind: "enter", local: args.localName(result!), products: terms.map(product) });
      continue;
    }
    const plane = op.name === "tensor.contract" ? op.operands.filter((x) => isPlane(x)) : [];
    if (plane.length === 1) {
      const other = op.operands.find((x) => x !== plane[0])!;
      const n = withoutDims(result!.type.dims, [...outer, POSITIONS!]);
      const point = args.point([...outer, POSITIONS!, ...n]);
      const target = args.target(result!, point);
      const local = args.localName(plane[0]!);
      const value: Expr = reader.at(other, point);
      body.push(
        result!.type.dims.includes(TOKENS!)
          ? { kind: "leave_rows", local, n: axes(n), b: value, ...target }
          : { kind: "leave_columns", local, n: axes(n), x: value, ...target },
      );
      continue;
    }
    place(op);
    const statements = new Statements(reader, outer);
    statements.add(op);
    body.push(...statements.body.map((stmt): PlaneStmt => ({ kind: "row", stmt })));
  }
  const tokens = args.point([TOKENS!]);
  const bounds =
    span === undefined ? {} : { span: { from: args.load(span.from, tokens), to: args.load(span.to, tokens) } };
  const column = args.axis(POSITIONS!);
  const rowAxes = [args.axis(TOKENS!), ...axes(rows)];
  return {
    kernel: {
      family: "plane",
      args: args.args(),
      extents: args.extents(),
      batch: axes(batch),
      rows: rowAxes,
      column,
      ...bounds,
      locals: args.locals(),
      body,
    },
    buffers: args.buffers(),
  };
}

type Uses = ReadonlyMap<number, readonly Op[]>;

function isPlane({ type: { dims } }: Value): boolean {
  return dims.includes(TOKENS!) && dims.includes(POSITIONS!);
}

function usesOf(ops: readonly Op[], classes: Classes): Uses {
  const uses = new Map<number, Op[]>();
  for (const op of ops) {
    for (const x of op.operands) for (const { id } of classes.roots(x)) uses.set(id, [...(uses.get(id) ?? []), op]);
  }
  return uses;
}

function lastUser(value: Value, uses: Uses): Op | undefined {
  return uses.get(value.id)?.at(-1);
}

/** The products that an op adds up, when it is one or a sum of several that nobody else reads. */
function termsOf(op: Op, own: ReadonlyMap<number, Op>, uses: Uses): readonly Op[] {
  if (!isPlane(op.results[0]!)) return [];
  if (op.name === "tensor.contract") return [op];
  if (op.name !== "math.add") return [];
  const parts = op.operands.map((x) => {
    const from = own.get(x.id);
    return from === undefined || uses.get(x.id)!.length > 1 ? [] : termsOf(from, own, uses);
  });
  return parts.every((terms) => terms.length > 0) ? parts.flat() : [];
}

function innerSums(op: Op, own: ReadonlyMap<number, Op>): Op[] {
  return op.operands.flatMap((x) => {
    const from = own.get(x.id);
    return from?.name === "math.add" ? [from, ...innerSums(from, own)] : [];
  });
}

function absorb(op: Op, absorbed: Set<Op>): void {
  if (op.name === "tensor.contract") absorbed.add(op);
}

/** Elementwise ops on planes that one statement reads once. */
function isInlined(op: Op, uses: Uses): boolean {
  const [result] = op.results;
  if (!isPlane(result!) || !(op.name.startsWith("math.") || op.name === "tensor.cast")) return false;
  const [user, ...others] = uses.get(result!.id) ?? [];
  if (user === undefined || others.length > 0) return false;
  const isRowProduct = user.name === "tensor.contract" && user.operands.every((x) => isPlane(x));
  return user.name.startsWith("math.") || user.name === "tensor.reduce" || isRowProduct;
}

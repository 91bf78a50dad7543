import { constant } from "../kernel-ir/expr.ts";
import type { Axis, Expr, PlaneKernel, PlaneStmt, Terms } from "../kernel-ir/types.ts";
import { joinDims, withoutDims } from "../tensor-ir/ops/dims.ts";
import type { DimLabel, Op, Value } from "../tensor-ir/types.ts";
import type { Built } from "./build-rows.ts";
import type { Classes } from "./classes.ts";
import { addTo } from "./grouping.ts";
import { inLocal, KernelArgs } from "./kernel-args.ts";
import type { Region } from "./planes.ts";
import { Reader } from "./reader.ts";
import { type Powers, rowsRead, Statements } from "./statements.ts";
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
  const powers: Powers = new Map();

  const product = (op: Op): Terms => {
    const [x, y] = op.operands as readonly [Value, Value];
    const [a, b] = x.type.dims.includes(TOKENS!) ? [x, y] : [y, x];
    const k = withoutDims(joinDims(a.type.dims, b.type.dims), op.results[0]!.type.dims);
    const point = args.point([...outer, POSITIONS!, ...k]);
    return { k: axes(k), a: reader.at(a, point), b: reader.at(b, point) };
  };

  const place = (op: Op): void => {
    const [result] = op.results;
    if (storage.of(result!) !== undefined) return;
    const lender = isPlane(result!) ? lenderOf(op, own, uses, inline) : undefined;
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
    if (isLeave(op)) {
      const plane = op.operands.filter((x) => isPlane(x));
      const other = op.operands.find((x) => x !== plane[0]);
      const n = withoutDims(result!.type.dims, [...outer, POSITIONS!]);
      const point = args.point([...outer, POSITIONS!, ...n]);
      const target = args.target(result!, point);
      const local = args.localName(plane[0]!);
      const value: Expr = other === undefined ? constant(1, "f32") : reader.at(other, point);
      body.push(
        result!.type.dims.includes(TOKENS!)
          ? { kind: "leave_rows", local, n: axes(n), b: value, ...target }
          : { kind: "leave_columns", local, n: axes(n), x: value, ...target },
      );
      continue;
    }
    place(op);
    const statements = new Statements(reader, outer, powers);
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
      body: leavesLast(body),
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
  const softmax = new Set<string>();
  for (const op of ops) {
    if (op.name === "nn.softmax") softmax.add(rowsRead(op));
    // Takes what the softmax found.
    if (op.name === "nn.logsumexp" && softmax.has(rowsRead(op))) continue;
    for (const x of op.operands) for (const { id } of classes.roots(x)) addTo(uses, id, op);
  }
  return uses;
}

/** A plane that the op is the last to read, those first that no product leads out of: the op's result may take its place. */
function lenderOf(op: Op, own: ReadonlyMap<number, Op>, uses: Uses, inline: ReadonlySet<Op>): Value | undefined {
  const order = [...new Set(own.values())];
  // Inlined ops run where they are read, which is once.
  const consumer = (user: Op): Op => (inline.has(user) ? consumer(uses.get(user.results[0]!.id)![0]!) : user);
  const read = (reader: Op): Value[] =>
    reader.operands.flatMap((x) => {
      const from = isPlane(x) ? own.get(x.id) : undefined;
      if (from === undefined) return [];
      return inline.has(from) ? read(from) : [x];
    });
  const last = order.indexOf(op);
  const free = read(op).filter(
    (x) =>
      inLocal(x.type.dtype) === inLocal(op.results[0]!.type.dtype) &&
      uses.get(x.id)!.every((user) => order.indexOf(consumer(user)) <= last),
  );
  return free.find((x) => !uses.get(x.id)!.some((user) => isLeave(user))) ?? free[0];
}

/** A product of a plane and something else that is no plane; a sum over rows is one with ones. */
function isLeave({ name, operands, results: [result] }: Op): boolean {
  if (isPlane(result!) || operands.filter((x) => isPlane(x)).length !== 1) return false;
  return name === "tensor.contract" || (name === "tensor.reduce" && result!.type.dims.includes(POSITIONS!));
}

/** Products lead out as late as they can, so that row statements stand next to each other: they share loops then. */
function leavesLast(body: readonly PlaneStmt[]): PlaneStmt[] {
  const done: PlaneStmt[] = [];
  let waiting: (PlaneStmt & { kind: "leave_rows" | "leave_columns" })[] = [];
  for (const stmt of body) {
    if (stmt.kind === "leave_rows" || stmt.kind === "leave_columns") {
      waiting.push(stmt);
      continue;
    }
    const written = stmt.kind === "enter" ? stmt.local : stmt.stmt.to;
    done.push(...waiting.filter(({ local }) => local === written));
    waiting = waiting.filter(({ local }) => local !== written);
    done.push(stmt);
  }
  return [...done, ...waiting];
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

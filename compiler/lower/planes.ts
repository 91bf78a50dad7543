/**
 * Values with both tokens and positions (T and S) are planes: scores, probabilities, their gradients. A region is a set of
 * ops on planes that one kernel computes row by row, so that no plane is ever stored: products lead in, row ops (softmax)
 * stay inside, products over positions or over tokens lead out. Attention is what such a region usually is, and nothing
 * here asks for its name.
 */
import { joinDims, withoutDims } from "../tensor-ir/ops/dims.ts";
import type { DimLabel, Op, Program, TensorType, Value } from "../tensor-ir/types.ts";
import { eliminateDead } from "../passes/eliminate-dead.ts";
import { builderFor } from "../passes/scope.ts";
import { Classes } from "./classes.ts";
import { addTo } from "./grouping.ts";
import type { Group, Grouped } from "./units.ts";

const [TOKENS, POSITIONS]: readonly DimLabel[] = ["T", "S"];
/** About the lowest number in f32. */
const LOWEST = -3e38;

export interface Region {
  /** In order of execution. */
  readonly ops: readonly Op[];
  /** Dims that are in the planes and in what has positions: each copy has its own keys. */
  readonly batch: readonly DimLabel[];
  /** Dims that are in the planes and nowhere with positions: rows beside the tokens. */
  readonly rows: readonly DimLabel[];
  /** Where a plane may be other than 0: the first position of each token, and the end. */
  readonly span?: { readonly from: Value; readonly to: Value };
}

type Role = "enter" | "inside" | "row" | "leave";

/** Finds the regions, and computes planes of one region again where another one needs them. */
export function planesOf(source: Program): Grouped {
  const program = rowsFirst(source);
  const classes = Classes.of(program);
  const roles = new Map<Op, Role>();
  const ranks = ranksOf(program, classes, roles);
  const repeated = repeat(program, classes, roles, ranks);
  const useful = { ...repeated, program: eliminateDead.run(repeated.program, {}) };
  return finish(useful, components(useful));
}

function isPlane({ type: { dims } }: Value): boolean {
  return dims.includes(TOKENS!) && dims.includes(POSITIONS!);
}

/**
 * Sums of planes over more than a row has are sums of the rows' sums: a region gives the rows', another kernel the rest.
 */
function rowsFirst(program: Program): Program {
  const builder = builderFor(program);
  for (const op of program.ops) {
    const [result] = op.results;
    const isSum = op.name === "tensor.contract" && op.operands.every(isPlane);
    const isReduction = op.name === "tensor.reduce" && isPlane(op.operands[0]!);
    const rows = withoutDims(joinDims(...op.operands.map((x) => x.type.dims)), [POSITIONS!]);
    if (!(isSum || isReduction) || result!.type.dims.includes(POSITIONS!) || isSame(rows, result!.type.dims)) {
      builder.push(op);
      continue;
    }
    const own = builder.value({ dtype: result!.type.dtype, dims: rows });
    builder.push({ ...op, results: [own] });
    const attrs = isReduction ? op.attrs : { kind: "sum" };
    builder.push({ name: "tensor.reduce", operands: [own], results: op.results, attrs });
  }
  return builder.finish(program.name);
}

/** What products compute in f32. */
function isFloat({ type: { dtype } }: Value): boolean {
  return dtype === "f32" || dtype === "bf16" || dtype === "f16" || dtype === "f8e4m3";
}

/** What an op does for planes; undefined when it has nothing to do with them, or nothing that a region could hold. */
function roleOf(op: Op, classes: Classes, roles: ReadonlyMap<Op, Role>): Role | undefined {
  const kind = classes.of(op);
  if (kind !== "row" && kind !== "gemm" && kind !== "columns") return undefined;
  const [result] = op.results;
  // Planes are computed in f32.
  if ([result!, ...op.operands].some(({ type }) => type.dtype === "f64")) return undefined;
  const planes = op.operands.filter((x) => isPlane(x));
  if (isPlane(result!)) {
    if (op.name === "tensor.contract") return planes.length === 0 && isFloat(result!) ? "enter" : undefined;
    const known = op.name.startsWith("math.") || op.name === "nn.softmax" || op.name === "tensor.cast";
    return known && !isMask(op, classes, roles) ? "inside" : undefined;
  }
  const { dims } = result!.type;
  const ownRoots = op.operands.flatMap((x) => classes.roots(x));
  const inRow = ownRoots.some((x) => roles.get(classes.producer(x)) === "row" && isSame(x.type.dims, dims));
  if (op.name.startsWith("math.") && inRow && dims.includes(TOKENS!)) return "row";
  if (op.name === "nn.logsumexp" && isPlane(op.operands[0]!)) return dims.includes(TOKENS!) ? "row" : undefined;
  if (op.name === "tensor.reduce" && planes.length === 1) {
    if (dims.includes(TOKENS!)) return "row";
    return dims.includes(POSITIONS!) && op.attrs["kind"] === "sum" && isFloat(result!) ? "leave" : undefined;
  }
  if (op.name !== "tensor.contract" || planes.length === 0) return undefined;
  if (planes.length === 2) return dims.includes(TOKENS!) ? "row" : undefined;
  return "leave";
}

/**
 * A plane that no product leads into, and that is the same for all copies of what reads it: it is stored, unless it is a view.
 */
function isMask(op: Op, classes: Classes, roles: ReadonlyMap<Op, Role>): boolean {
  const [result] = op.results;
  const isEntered = (x: Value): boolean =>
    classes.roots(x).some((root) => {
      const from = classes.producer(root);
      const role = roles.get(from);
      return role === "enter" || (role === "inside" && from.operands.some(isEntered));
    });
  const isLarger = ({ results: [by] }: Op): boolean =>
    by !== undefined && isPlane(by) && by.type.dims.length > result!.type.dims.length;
  return usersOf(result!, classes).some(isLarger) && !op.operands.some(isEntered);
}

/**
 * How often planes were left and entered again before an op: ops of one rank can be one kernel. -1 where no plane came
 * before.
 */
function ranksOf(program: Program, classes: Classes, roles: Map<Op, Role>): Map<Op, number> {
  const ranks = new Map<Op, number>();
  for (const op of program.ops) {
    const role = roleOf(op, classes, roles);
    if (role !== undefined) roles.set(op, role);
    const within = role !== undefined;
    const from = op.operands.map((x) => {
      const producer = classes.producer(x);
      const theirs = roles.get(producer);
      const rank = ranks.get(producer) ?? -1;
      // A view of a plane belongs to it; everything else that was made outside comes after what it was made from.
      const stays = within && theirs !== undefined && theirs !== "leave";
      return stays || theirs === undefined ? rank : rank + 1;
    });
    // Entering the planes for the first time is rank 0.
    const rank = Math.max(role === undefined ? -1 : 0, ...from);
    ranks.set(op, rank);
  }
  return ranks;
}

interface Marked {
  readonly program: Program;
  readonly roles: ReadonlyMap<Op, Role>;
  readonly ranks: ReadonlyMap<Op, number>;
  /** Planes that are 0 outside of a mask, and what an op itself does not say it of. */
  readonly masked: ReadonlyMap<number, Value>;
}

/**
 * Ops of a lower rank whose planes are read at a higher one are computed again there. Of a softmax, rows keep the log of their sum, so
 * that it is exp(x - log) then: nothing has to be known of the whole row first.
 */
function repeat(
  program: Program,
  classes: Classes,
  roles: ReadonlyMap<Op, Role>,
  ranks: ReadonlyMap<Op, number>,
): Marked {
  const builder = builderFor(program);
  const newRoles = new Map<Op, Role>();
  const newRanks = new Map<Op, number>();
  const copies = new Map<string, Value>();
  const logs = new Map<number, Value>();
  const masked = new Map<number, Value>();
  const add = (
    role: Role,
    rank: number,
    name: string,
    operands: readonly Value[],
    type: TensorType,
    attrs = {},
  ): Value => {
    const result = builder.value(type);
    const made: Op = { name, operands, results: [result], attrs };
    builder.push(made);
    newRoles.set(made, role);
    newRanks.set(made, rank);
    return result;
  };
  const scalar = (value: number): Value => builder.emit("tensor.constant", [], { dtype: "f32", dims: [] }, { value });
  /** The log of a softmax's sums; the lowest number where nothing is summed, so that powers are 0. */
  const logOf = ({ operands, results, attrs }: Op, rank: number): Value => {
    const type = { dtype: "f32", dims: withoutDims(results[0]!.type.dims, [POSITIONS!]) } as const;
    const log = add("row", rank, "nn.logsumexp", operands, type, attrs);
    return add("row", rank, "math.max", [log, scalar(LOWEST)], type);
  };
  const powers = ({ operands, results }: Op, log: Value, rank: number): Value => {
    const [x, mask] = operands.map((operand) => copyOf(operand, rank)) as [Value, Value | undefined];
    const { type } = results[0]!;
    const power = add("inside", rank, "math.exp", [add("inside", rank, "math.sub", [x, log], type)], type);
    if (mask === undefined) return power;
    const share = add("inside", rank, "math.select", [mask, power, scalar(0)], type);
    masked.set(share.id, mask);
    return share;
  };
  const copyOf = (value: Value, rank: number): Value => {
    const op = classes.producer(value);
    const role = roles.get(op);
    const viewed = classes.of(op) === "view" && op.operands.some((x) => classes.roots(x).some((r) => isLower(r, rank)));
    if (!viewed && (role === undefined || role === "leave" || ranks.get(op)! >= rank)) return value;
    const key = `${value.id} ${rank}`;
    const known = copies.get(key);
    if (known !== undefined) return known;
    const log = logs.get(value.id);
    if (log !== undefined) {
      const made = powers(op, log, rank);
      copies.set(key, made);
      return made;
    }
    const operands = op.operands.map((x) => copyOf(x, rank));
    const copy = builder.value(value.type, value.name);
    const made: Op = { ...op, operands, results: [copy] };
    builder.push(made);
    if (role !== undefined) newRoles.set(made, role);
    newRanks.set(made, rank);
    copies.set(key, copy);
    return copy;
  };
  const isLower = (root: Value, rank: number): boolean => {
    const op = classes.producer(root);
    const role = roles.get(op);
    return role !== undefined && role !== "leave" && ranks.get(op)! < rank;
  };
  for (const op of program.ops) {
    const role = roles.get(op);
    const rank = ranks.get(op)!;
    const kept = role === undefined ? op : { ...op, operands: op.operands.map((x) => copyOf(x, rank)) };
    builder.push(kept);
    if (role !== undefined) newRoles.set(kept, role);
    newRanks.set(kept, rank);
    const [result] = op.results;
    const isKept = ["f32", "bf16"].some((dtype) => [result, op.operands[0]].every((x) => x?.type.dtype === dtype));
    if (role === "inside" && op.name === "nn.softmax" && isKept) logs.set(result!.id, logOf(kept, rank));
  }
  return { program: builder.finish(program.name), roles: newRoles, ranks: newRanks, masked };
}

/** Connected ops of one rank, as far as one kernel can hold them. */
function components({ program, roles, ranks }: Marked): Region[] {
  const classes = Classes.of(program);
  const parent = new Map<Op, Op>();
  const find = (op: Op): Op => {
    let root = op;
    while ((parent.get(root) ?? root) !== root) root = parent.get(root)!;
    return root;
  };
  for (const op of program.ops) {
    if (!roles.has(op)) continue;
    parent.set(op, parent.get(op) ?? op);
    for (const x of op.operands) {
      for (const root of classes.roots(x)) {
        const from = classes.producer(root);
        const theirs = roles.get(from);
        if (theirs === undefined || theirs === "leave" || ranks.get(from) !== ranks.get(op)) continue;
        parent.set(from, parent.get(from) ?? from);
        parent.set(find(from), find(op));
      }
    }
  }
  const groups = new Map<Op, Op[]>();
  for (const op of program.ops) if (parent.has(op)) addTo(groups, find(op), op);
  return [...groups.values()].flatMap((ops) => regionOf(ops, classes, roles) ?? []);
}

/** The region that the ops are, or undefined when something in them has no place in one kernel. */
function regionOf(ops: readonly Op[], classes: Classes, roles: ReadonlyMap<Op, Role>): Region | undefined {
  const own = new Set(ops);
  if (!ops.some((op) => roles.get(op) === "enter") || !ops.some((op) => roles.get(op) === "leave")) return undefined;
  const planeDims = joinDims(...ops.flatMap((op) => op.results.filter(isPlane).map((x) => x.type.dims)));
  const extra = withoutDims(planeDims, [TOKENS!, POSITIONS!]);
  const batch: DimLabel[] = [];
  for (const op of ops) {
    const role = roles.get(op)!;
    const [result] = op.results;
    if (isPlane(result!)) {
      if (result!.type.dims.length !== planeDims.length) return undefined;
      // What is read elsewhere would have to be stored.
      if (!usersOf(result!, classes).every((user) => own.has(user))) return undefined;
    }
    if (role === "row" && !isSame(result!.type.dims, [TOKENS!, ...extra])) return undefined;
    if (role === "inside" || role === "row") continue;
    for (const { type } of [...op.operands.filter((x) => !isPlane(x)), ...op.results.filter((x) => !isPlane(x))])
      if (type.dims.includes(POSITIONS!)) batch.push(...extra.filter((label) => type.dims.includes(label)));
  }
  const batchDims = extra.filter((label) => batch.includes(label));
  const rows = withoutDims(extra, batchDims);
  if (!ops.every((op) => fits(op, roles.get(op)!, batchDims, rows))) return undefined;
  return { ops, batch: batchDims, rows };
}

/** The ops that read a value, through views. */
function usersOf(value: Value, classes: Classes): Op[] {
  return (classes.users.get(value.id) ?? []).flatMap((user) =>
    classes.of(user) === "view" ? usersOf(user.results[0]!, classes) : [user],
  );
}

function isSubset(inner: readonly DimLabel[], outer: readonly DimLabel[]): boolean {
  return inner.every((label) => outer.includes(label));
}

function isSame(a: readonly DimLabel[], b: readonly DimLabel[]): boolean {
  return isSubset(a, b) && isSubset(b, a);
}

/** Whether a product has the form that the kernel's statements have. */
function fits({ operands, results }: Op, role: Role, batch: readonly DimLabel[], rows: readonly DimLabel[]): boolean {
  const dims = results[0]!.type.dims;
  const [a, b] = operands;
  if (role === "enter") {
    const side = operands.filter((x) => x.type.dims.includes(POSITIONS!));
    const tokens = operands.filter((x) => x.type.dims.includes(TOKENS!));
    return side.length === 1 && tokens.length === 1;
  }
  if (role !== "leave") return true;
  const other = isPlane(a!) ? b : a;
  if (dims.includes(TOKENS!)) {
    // Over positions: the result keeps all rows.
    return !dims.includes(POSITIONS!) && isSubset([...batch, ...rows], dims) && other!.type.dims.includes(POSITIONS!);
  }
  return dims.includes(POSITIONS!) && !rows.some((label) => dims.includes(label));
}

/**
 * Where masks leave nothing, planes are 0: rows need not go there. And a product over tokens that sums the copies as well
 * keeps them apart first: copies are computed by different threads.
 */
function finish({ program, masked }: Marked, regions: readonly Region[]): Grouped {
  const builder = builderFor(program);
  const masks = regions.map((region) => maskedBy(region, masked));
  const wanted = new Map(masks.flatMap((mask) => (mask === undefined ? [] : [[mask.id, mask] as const])));
  const spans = new Map<number, NonNullable<Region["span"]>>();
  const regionOfOp = new Map(regions.flatMap((region) => region.ops.map((op) => [op, region] as const)));
  const replaced = new Map<Op, Op>();
  for (const op of program.ops) {
    const region = regionOfOp.get(op);
    const apart = region === undefined ? undefined : keptApart(op, region, builder);
    if (apart === undefined) builder.push(op);
    else {
      builder.push(apart);
      builder.push({ name: "tensor.reduce", operands: apart.results, results: op.results, attrs: { kind: "sum" } });
      replaced.set(op, apart);
    }
    for (const { id } of op.results) {
      const mask = wanted.get(id);
      if (mask !== undefined) spans.set(id, emitSpan(mask, builder));
    }
  }
  const groups = regions.map((region, i): Group => {
    const ops = region.ops.map((op) => replaced.get(op) ?? op);
    const mask = masks[i];
    const finished = mask === undefined ? { ...region, ops } : { ...region, ops, span: spans.get(mask.id)! };
    return { kind: "plane", ops, region: finished };
  });
  return { program: builder.finish(program.name), groups };
}

function keptApart(op: Op, { batch }: Region, builder: ReturnType<typeof builderFor>): Op | undefined {
  const [result] = op.results;
  const { dtype, dims } = result!.type;
  const missing = withoutDims(batch, dims);
  if (!dims.includes(POSITIONS!) || dims.includes(TOKENS!) || missing.length === 0) return undefined;
  const apart = { dtype, dims: [POSITIONS!, ...missing, ...withoutDims(dims, [POSITIONS!])] };
  return { ...op, results: [builder.value(apart)] };
}

/** The mask outside of which everything that leads out of a region is 0. */
function maskedBy({ ops }: Region, masked: Marked["masked"]): Value | undefined {
  const masks = new Map(masked);
  for (const op of ops) {
    const [result] = op.results;
    const from = op.operands.map((x) => masks.get(x.id));
    if (op.name === "nn.softmax" && op.operands[1] !== undefined) {
      if (withoutDims(op.operands[1].type.dims, [TOKENS!, POSITIONS!]).length > 0) return undefined;
      masks.set(result!.id, op.operands[1]);
    } else if (op.name === "math.mul" || op.name === "math.neg" || op.name === "tensor.cast") {
      const mask = from.find((found) => found !== undefined);
      if (mask !== undefined) masks.set(result!.id, mask);
    } else if (op.name === "math.div" && from[0] !== undefined) masks.set(result!.id, from[0]);
    else if ((op.name === "math.add" || op.name === "math.sub") && from[0] !== undefined && from[0] === from[1]) {
      masks.set(result!.id, from[0]);
    }
  }
  const left = ops
    .filter((op) => !isPlane(op.results[0]!) && op.operands.some((x) => isPlane(x)))
    .map((op) => {
      if (op.name === "nn.logsumexp") return op.operands[1];
      return op.operands.map((x) => masks.get(x.id)).find((mask) => mask !== undefined);
    });
  return left.every((mask) => mask !== undefined && mask === left[0]) ? left[0] : undefined;
}

function emitSpan(mask: Value, builder: ReturnType<typeof builderFor>): NonNullable<Region["span"]> {
  const scalar = (value: number): Value => builder.emit("tensor.constant", [], { dtype: "i32", dims: [] }, { value });
  const at = builder.emit("tensor.iota", [], { dtype: "i32", dims: [POSITIONS!] }, { dim: POSITIONS! });
  const plane = { dtype: "i32", dims: [TOKENS!, POSITIONS!] } as const;
  const perToken = { dtype: "i32", dims: [TOKENS!] } as const;
  const first = builder.emit("math.select", [mask, at, scalar(2 ** 31 - 1)], plane);
  const from = builder.emit("tensor.reduce", [first], perToken, { kind: "min" }, "span_from");
  const next = builder.emit("math.add", [at, scalar(1)], { dtype: "i32", dims: [POSITIONS!] });
  const last = builder.emit("math.select", [mask, next, scalar(0)], plane);
  return { from, to: builder.emit("tensor.reduce", [last], perToken, { kind: "max" }, "span_to") };
}

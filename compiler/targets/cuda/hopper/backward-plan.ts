/** Which planes are attention's backward pass that the tensor cores take: scores and the slopes of weights enter, gradients leave. */
import { isOp, walk } from "../../../kernel-ir/expr.ts";
import type { Axis, Expr, PlaneKernel, PlaneStmt } from "../../../kernel-ir/types.ts";
import {
  type AttentionPlan,
  columnRows,
  type ColumnRows,
  columnsCompared,
  comparisonsOf,
  constantOf,
  overColumns,
  reduction,
  rowsOf,
  same,
  scaledBy,
  type Scaling,
  type ScoreTerm,
  type Softmax,
  softmaxOf,
  type TensorRows,
  termOf,
  usesAxis,
} from "./attention-plan.ts";
import { CONSUMERS, depthOf } from "./backward-steps.ts";
import type { Refusal } from "./gemm-plan.ts";
import { ROWS } from "./gemm-shape.ts";
import { SHARED_BYTES } from "./schedule.ts";

/** A product of the scores, and what its operands get: a gradient that nobody wants is not there. */
export interface BackwardTerm extends ScoreTerm {
  readonly queries: ColumnRows;
  readonly dQueries?: TensorRows;
  readonly dKeys?: TensorRows;
}

export interface BackwardPlan {
  readonly kernel: PlaneKernel;
  readonly terms: readonly BackwardTerm[];
  /** Gradients of the forward pass's results, which rows have, and the values: their product is the slope of the loss by weights. */
  readonly up: ColumnRows;
  readonly values: ColumnRows;
  readonly dValues?: TensorRows;
  /** What slopes of scores are multiplied by at last. */
  readonly factor: number;
  /** What rows have already: the log of the sum of their exponentials, and of weights times their slopes; else it is found first. */
  readonly kept?: { readonly log: Expr; readonly delta: Expr };
  /** The scores and their softmax as the forward pass has them; what stands for its results are `up`. */
  readonly forward: AttentionPlan;
  readonly shape: BackwardShape;
}

export interface BackwardShape {
  readonly name: string;
  /** Blocks that are in shared memory at a time: columns where a kernel has tiles of rows, rows where it has tiles of columns. */
  readonly stages: number;
  readonly columns: number;
  readonly rows: number;
  /** Whether rows have what their softmaxes need already. */
  readonly kept: boolean;
  /** Elements of a query, part by part, and of a value. */
  readonly parts: readonly number[];
  readonly width: number;
  /** Things of columns, and of rows, that are compared. */
  readonly ranges: number;
  readonly compared: number;
  /** Whether scores have a cap. */
  readonly capped: boolean;
}

type Leave = PlaneStmt & { readonly kind: "leave_rows" | "leave_columns" };

/** The plan of a kernel that has no names of ATTENTION_RESERVED. */
export function planBackward(kernel: PlaneKernel): BackwardPlan | Refusal {
  const entered = kernel.body.flatMap((stmt) => (stmt.kind === "enter" ? [stmt] : []));
  if (entered.length !== 2 || kernel.body.slice(0, 2).some(({ kind }) => kind !== "enter"))
    return { why: `${entered.length} products enter the plane: it is no backward pass` };
  const [tokens, ...inner] = kernel.rows as [Axis, ...Axis[]];
  if (inner.some(({ extent }) => typeof extent !== "number")) return { why: "heads of a group are not counted" };
  const rowsAt = (expr: Expr, along: Axis): ColumnRows | Refusal =>
    columnRows(kernel, expr, along, [tokens], [...kernel.batch, ...inner]);
  const rest = kernel.body.slice(2);
  const weightsOf = (local: string): Weights | Refusal =>
    powersOf(kernel, local, rest) ?? softmaxOf(kernel, local, rest);
  const first = weightsOf(entered[0]!.local);
  const [scores, slopes] = "why" in first ? [entered[1]!, entered[0]!] : [entered[0]!, entered[1]!];
  const weights = "why" in first ? weightsOf(scores.local) : first;
  if ("why" in weights) return weights;
  if (!("log" in weights) && !onlySums(weights)) return { why: "weights are multiplied by more than their sum says" };
  const weight = "log" in weights ? weights.weight : scores.local;
  const slope = slopeOf(kernel, weight, slopes.local, weights, "log" in weights ? weights.tanh : undefined);
  if ("why" in slope) return slope;
  const log = "log" in weights ? weights.log : undefined;
  if ((log === undefined) !== (slope.delta === undefined))
    return { why: "rows have the log of their sum, or the sum of weights times slopes, and not both" };

  const [product, ...products] = slopes.products;
  if (product === undefined || products.length > 0) return { why: "slopes of weights are several products" };
  const weighed = termOf(kernel, product);
  if ("why" in weighed) return { why: `slopes: ${weighed.why}` };
  const up = rowsAt(product.a, weighed.queries.along);
  if ("why" in up) return up;

  const left = new Set<Leave>(slope.leaves);
  /** The gradient of an operand: what leaves as sums of the other one. */
  const gradient = (kind: Leave["kind"], local: string, other: TensorRows): TensorRows | Refusal | undefined => {
    for (const leave of left) {
      const [along, ...more] = leave.n;
      if (leave.kind !== kind || leave.local !== local || along === undefined || more.length > 0) continue;
      const factor = rowsOf(kernel, leave.kind === "leave_rows" ? leave.b : leave.x, along);
      if ("why" in factor || !isSame(factor, other)) continue;
      left.delete(leave);
      return rowsOf(kernel, { kind: "load", from: leave.to, at: leave.at, dtype: "bf16" }, along);
    }
    return undefined;
  };
  const terms: BackwardTerm[] = [];
  for (const one of scores.products) {
    const term = termOf(kernel, one);
    if ("why" in term) return term;
    const queries = rowsAt(one.a, term.queries.along);
    if ("why" in queries) return queries;
    const dQueries = gradient("leave_rows", slopes.local, term.keys);
    const dKeys = gradient("leave_columns", slopes.local, queries);
    for (const found of [dQueries, dKeys])
      if (found !== undefined && "why" in found) return { why: `gradients: ${found.why}` };
    terms.push({
      queries,
      keys: term.keys,
      ...(dQueries === undefined ? {} : { dQueries: dQueries as TensorRows }),
      ...(dKeys === undefined ? {} : { dKeys: dKeys as TensorRows }),
    });
  }
  const dValues = gradient("leave_columns", weight, up);
  if (dValues !== undefined && "why" in dValues) return { why: `gradients of values: ${dValues.why}` };
  if (left.size > 0) return { why: "something leaves that is no gradient of queries, keys or values" };
  const values = weighed.keys;
  if ([...terms.flatMap(({ queries, keys }) => [queries, keys]), up, values].some(({ matrix }) => matrix === undefined))
    return { why: "rows or columns do not lie at equal distances" };

  if (weights.seen !== undefined && !isGiven(kernel, weights.seen)) return { why: "a mask of what the plane computes" };
  const comparisons = weights.seen === undefined ? [] : comparisonsOf(kernel, weights.seen);
  const shape = shapeOf({
    name: kernel.name,
    parts: terms.map(({ keys }) => keys.along.extent),
    width: values.along.extent,
    kept: log !== undefined,
    ranges: columnsCompared(comparisons ?? []).length,
    compared: new Map((comparisons ?? []).map(({ row }) => [JSON.stringify(row), row])).size,
    capped: weights.squash !== undefined,
  });
  if ("why" in shape) return shape;
  const { scale, squash, seen } = weights;
  const softmax = "log" in weights ? NO_SOFTMAX : weights;
  const forward: AttentionPlan = {
    kernel,
    terms,
    scale,
    ...(squash === undefined ? {} : { squash }),
    ...(seen === undefined ? {} : { seen }),
    ...(comparisons === undefined ? {} : { comparisons }),
    values,
    results: up,
    peak: softmax.peak,
    sum: softmax.sum,
    kept: [],
    after: softmax.after,
    factor: softmax.factor,
    split: false,
    shape: {
      name: kernel.name,
      consumers: CONSUMERS,
      stages: shape.stages,
      columns: shape.columns,
      parts: shape.parts.map((depth) => ({ depth, gathered: false })),
      width: shape.width,
      valuesGathered: false,
      halves: false,
      ranges: shape.ranges,
    },
  };
  return {
    kernel,
    terms,
    up,
    values,
    ...(dValues === undefined ? {} : { dValues: dValues as TensorRows }),
    factor: slope.factor,
    ...(log === undefined ? {} : { kept: { log, delta: slope.delta! } }),
    forward,
    shape,
  };
}

/** A block of rows: some heads of a group, for each of them the same tokens, one head behind the other. */
export interface RowBlock {
  /** Heads that rows have beside tokens, and those of a block; blocks that have all heads of the same tokens. */
  readonly inner: number;
  readonly heads: number;
  readonly chunks: number;
  readonly tokens: number;
}

/** A tile of the copy engine has at least 8 rows: its pattern repeats there. */
export function rowBlock({ kernel, shape }: BackwardPlan): RowBlock {
  const inner = kernel.rows.slice(1).reduce((n, { extent }) => n * Number(extent), 1);
  let heads = 1;
  while (inner % (2 * heads) === 0 && shape.rows / (2 * heads) >= 8) heads *= 2;
  return { inner, heads, chunks: inner / heads, tokens: shape.rows / heads };
}

/** Sums of keys and of values have registers beside each other. */
function shapeOf(of: Omit<BackwardShape, "stages" | "columns" | "rows">): BackwardShape | Refusal {
  const elements = depthOf(of) + of.width;
  // A cap has its slopes in registers, too.
  if (elements > (of.capped ? 256 : 320))
    return { why: `keys and values of ${elements} elements: sums of them have no room in registers` };
  const [columns, rows] = [64, 64];
  const stages = Math.min(
    4,
    Math.floor((SHARED_BYTES - 8192 - CONSUMERS * ROWS * 2 * elements) / (columns * 2 * elements)),
  );
  return { ...of, stages, columns, rows };
}

/** Weights that are powers of scores less what the row has kept. */
interface Powers extends Scaling {
  readonly seen?: Expr;
  readonly log: Expr;
  /** The local that has them, and the one that has the tanh of scores with a cap. */
  readonly weight: string;
  readonly tanh?: string;
  readonly rest: readonly PlaneStmt[];
}

type Weights = Softmax | Powers;

/** Of a plane that needs none: what would be found for it. */
const NO_SOFTMAX: Pick<Softmax, "peak" | "sum" | "after" | "factor"> = {
  peak: "peak",
  sum: "sum",
  after: [],
  factor: { kind: "const", dtype: "f32", value: 1 },
};

/** `weight = exp(score - log)`, 0 where a row does not see a column; the score is what is made of `p`. */
function powersOf(kernel: PlaneKernel, p: string, body: readonly PlaneStmt[]): Powers | undefined {
  const column = kernel.column.name;
  const rest = [...body];
  const isOwn = (x: Expr): boolean =>
    same(x, { kind: "load", from: p, at: [{ kind: "axis", axis: column }], dtype: "f32" });
  let scaling: Scaling = { scale: 1 };
  for (let next = overColumns(rest[0], p, column); next !== undefined; next = overColumns(rest[0], p, column)) {
    const scaled = scaledBy(scaling, next, isOwn);
    if (scaled === undefined) break;
    scaling = scaled;
    rest.shift();
  }
  const stmt = rest.shift();
  const weight = stmt?.kind === "row" ? stmt.stmt.to : p;
  let value = overColumns(stmt, weight, column);
  let seen: Expr | undefined;
  if (value !== undefined && isOp(value, "select") && constantOf(value.operands[2]!) === 0)
    [seen, value] = value.operands as [Expr, Expr, Expr];
  const [difference] = value !== undefined && isOp(value, "exp") ? value.operands : [];
  if (difference === undefined || !isOp(difference, "sub")) return undefined;
  const [score, log] = difference.operands as [Expr, Expr];
  const scaled = scaledBy(scaling, score, isOwn);
  if (scaled === undefined || !isOfRow(kernel, log)) return undefined;
  const isTanh = scaling.squash !== undefined && scaling.scale === 1 && weight !== p;
  return { ...scaled, ...(seen === undefined ? {} : { seen }), log, weight, ...(isTanh ? { tanh: p } : {}), rest };
}

/** Whether something is loaded that a row has one of. */
function isOfRow({ args, column }: PlaneKernel, expr: Expr): boolean {
  return expr.kind === "load" && args.some(({ name }) => name === expr.from) && !usesAxis(expr, column.name);
}

/** Whether nothing is loaded but arguments. */
function isGiven({ args }: PlaneKernel, expr: Expr): boolean {
  let given = true;
  walk(expr, (part) => (given &&= part.kind !== "load" || args.some(({ name }) => name === part.from)));
  return given;
}

/** Whether weights are exponentials times what is made of their sum alone, without a sign: 1 / sum, or 0 where that is 0. */
function onlySums({ sum, after, factor }: Softmax): boolean {
  const known = new Set([sum]);
  const isOf = (expr: Expr): boolean => {
    let fits = true;
    walk(expr, (part) => {
      if (part.kind === "load") fits &&= known.has(part.from);
      else if (part.kind === "const") fits &&= typeof part.value === "number" && part.value >= 0;
      else fits &&= part.kind === "op" && ["select", "eq", "recip", "mul", "div", "cast"].includes(part.op);
    });
    return fits;
  };
  for (const { to, value } of after) if (isOf(value)) known.add(to);
  return isOf(factor);
}

interface Slope {
  readonly factor: number;
  /** The sum of weights times slopes, where rows have it. */
  readonly delta?: Expr;
  readonly leaves: readonly Leave[];
}

/**
 * `delta = sum p * dp`, where rows do not have it; `dp = p * (dp - delta) * factor`, where scores have a cap times its slope, too;
 * then sums that leave.
 *
 * @param tanh the local that has the tanh of scores
 */
function slopeOf(
  kernel: PlaneKernel,
  p: string,
  dp: string,
  { squash, rest: body }: Weights,
  tanh: string | undefined,
): Slope | Refusal {
  const column = kernel.column.name;
  const at: Expr[] = [{ kind: "axis", axis: column }];
  const sums = body[0]?.kind === "row" && body[0].stmt.kind === "reduce";
  const [assign, ...rest] = sums ? body.slice(1) : body;
  const isLoad = (expr: Expr, from: string): boolean => same(expr, { kind: "load", from, at, dtype: "f32" });
  const isProduct = (expr: Expr, a: (x: Expr) => boolean, b: (x: Expr) => boolean): boolean => {
    if (!isOp(expr, "mul")) return false;
    const [x, y] = expr.operands as [Expr, Expr];
    return (a(x) && b(y)) || (a(y) && b(x));
  };
  const sum = sums ? reduction(body[0], "sum") : undefined;
  const isWeight = (x: Expr): boolean => isLoad(x, p);
  if (sums && (sum === undefined || !isProduct(sum.value, isWeight, (x) => isLoad(x, dp))))
    return { why: "weights times their slopes are not summed" };
  const assigned = overColumns(assign, dp, column);
  const { factor, bends, value } = factorsOf(assigned, (x) => tanh !== undefined && isLoad(x, tanh));
  if (bends !== (squash === undefined ? 0 : 1)) return { why: "slopes of scores are not those of their cap" };
  let delta: Expr | undefined;
  const isFar = (x: Expr): boolean => {
    if (!isOp(x, "sub") || !isLoad(x.operands[0]!, dp)) return false;
    delta = x.operands[1]!;
    return sum === undefined ? isOfRow(kernel, delta) : delta.kind === "load" && delta.from === sum.to;
  };
  if (value === undefined || !isProduct(value, isWeight, isFar))
    return { why: "slopes of scores are no weights times the distance to that sum" };
  const leaves = rest.flatMap((stmt) => (stmt.kind === "leave_rows" || stmt.kind === "leave_columns" ? [stmt] : []));
  if (leaves.length < rest.length) return { why: "something stands behind the slopes of scores" };
  return { factor, leaves, ...(sum === undefined && delta !== undefined ? { delta } : {}) };
}

/** What a value is multiplied by at last: constants, and how often the slope of a cap, `1 - t ** 2` of a tanh that is t. */
function factorsOf(
  expr: Expr | undefined,
  isTanh: (x: Expr) => boolean,
): { readonly factor: number; readonly bends: number; readonly value: Expr | undefined } {
  if (expr?.kind !== "op" || (expr.op !== "mul" && expr.op !== "div")) return { factor: 1, bends: 0, value: expr };
  const [left, right] = expr.operands as [Expr, Expr];
  const constant = constantOf(right);
  const [one, square] = isOp(right, "sub") ? right.operands : [];
  const isSlope =
    square !== undefined && constantOf(one!) === 1 && isOp(square, "square") && isTanh(square.operands[0]!);
  if (constant === undefined && !(isSlope && expr.op === "mul")) return { factor: 1, bends: 0, value: expr };
  const { factor, bends, value } = factorsOf(left, isTanh);
  if (constant === undefined) return { factor, bends: bends + 1, value };
  return { factor: expr.op === "mul" ? factor * constant : factor / constant, bends, value };
}

/** Whether two loads are the same rows, whatever the axis along them is called. */
function isSame(a: TensorRows, b: TensorRows): boolean {
  return same([a.arg.name, a.at, a.along.extent], [b.arg.name, b.at, b.along.extent]);
}

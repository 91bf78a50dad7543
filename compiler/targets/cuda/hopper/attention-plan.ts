/** Which planes are attention that the tensor cores take: scores, a softmax over the columns that a row sees, and sums of values. */
import { isOp, known, substitute, walk } from "../../../kernel-ir/expr.ts";
import type {
  Arg,
  Axis,
  Expr,
  Local,
  PlaneKernel,
  PlaneStmt,
  Reduction,
  Stmt,
  Terms,
} from "../../../kernel-ir/types.ts";
import { linear, operandOf } from "../../operands.ts";
import type { Refusal } from "./gemm-plan.ts";
import { LINE, type Matrix } from "./tensor-maps.ts";
import { SHARED_BYTES } from "./schedule.ts";

/** Rows of a tensor, each with its elements one behind the other, at any place that an expression says. */
export interface TensorRows {
  readonly arg: Arg;
  /** The row's first element. */
  readonly at: readonly Expr[];
  /** The axis along a row, a multiple of 64 elements. */
  readonly along: Axis & { readonly extent: number };
}

/** Rows of keys or values: one for each column. */
export interface ColumnRows extends TensorRows {
  /** How the copy engine reads them; where it can't, threads gather them. */
  readonly matrix?: Matrix;
}

export interface ScoreTerm {
  readonly queries: TensorRows;
  readonly keys: ColumnRows;
}

/** A comparison of something of a column with something of a row, or the two the other way round. */
export interface Comparison {
  readonly op: "lt" | "le" | "gt" | "ge" | "eq";
  readonly column: Expr;
  readonly row: Expr;
}

export interface AttentionPlan {
  readonly kernel: PlaneKernel;
  readonly terms: readonly ScoreTerm[];
  /** What products are multiplied by; where they have a cap (`squash`), the cap. */
  readonly scale: number;
  /** Where scores are `scale * tanh(squash * product)`. */
  readonly squash?: number;
  /** Which columns of its span a row sees; all of them where there is none. */
  readonly seen?: Expr;
  /** The same as comparisons that all must hold, where it is that: whole blocks can be told from others then. */
  readonly comparisons?: readonly Comparison[];
  readonly values: ColumnRows;
  readonly results: TensorRows;
  /** The largest score, the sum, statements of single values behind it, what rows keep, and what sums of values are multiplied by. */
  readonly peak: string;
  readonly sum: string;
  readonly kept: readonly (Stmt & { kind: "assign" })[];
  readonly after: readonly (Stmt & { kind: "assign" })[];
  readonly factor: Expr;
  readonly shape: AttentionShape;
  /** Whether columns, those of a cache, are shared out among blocks. */
  readonly split: boolean;
}

export interface AttentionShape {
  readonly name: string;
  readonly consumers: 1 | 2;
  readonly stages: number;
  /** Columns of a block. */
  readonly columns: number;
  /** Elements of a query, part by part, and of a value; whether threads gather what the copy engine can't reach. */
  readonly parts: readonly { readonly depth: number; readonly gathered: boolean }[];
  readonly width: number;
  readonly valuesGathered: boolean;
  /** Values are the keys of the first part: one warpgroup has the scores, and each consumer sums one half of the values' elements. */
  readonly halves: boolean;
  /** Whether a block brings the smallest and largest of what its columns are compared by. */
  readonly ranges: number;
}

/** Rows of a consumer. */
const ROWS = 64;

/** The plan of a kernel that has no names of ATTENTION_RESERVED. */
export function planAttention(kernel: PlaneKernel): AttentionPlan | Refusal {
  const [enter, ...rest] = kernel.body;
  if (enter?.kind !== "enter") return { why: "no product comes first" };
  const entered = kernel.body.filter(({ kind }) => kind === "enter").length;
  if (entered !== 1) return { why: `${entered} products enter the plane: it is no forward pass` };
  const softmax = softmaxOf(kernel, enter.local, rest);
  if ("why" in softmax) return softmax;
  const terms: ScoreTerm[] = [];
  for (const product of enter.products) {
    const term = termOf(kernel, product);
    if ("why" in term) return term;
    terms.push(term);
  }
  const kept = softmax.rest.flatMap((stmt) => (isKept(kernel, stmt) ? [stmt.stmt] : []));
  const [leave, ...others] = softmax.rest.filter((stmt) => !isKept(kernel, stmt));
  if (others.length > 0) return { why: `${kindOf(leave!)} stands behind the softmax` };
  if (leave?.kind !== "leave_rows" || leave.local !== enter.local)
    return { why: "weights do not leave as sums of values" };
  const along = leave.n.at(-1);
  if (along === undefined || leave.n.length !== 1) return { why: `values have ${leave.n.length} dims` };
  const values = columnRows(kernel, leave.b, along);
  const results = rowsOf(kernel, { kind: "load", from: leave.to, at: leave.at, dtype: "bf16" }, along);
  if ("why" in values) return { why: `values: ${values.why}` };
  if ("why" in results) return { why: `results: ${results.why}` };
  const depth = terms.reduce((sum, { keys }) => sum + keys.along.extent, 0);
  const width = values.along.extent;
  const [first] = terms as [ScoreTerm, ...ScoreTerm[]];
  const halves = width === 512 && same(first.keys.at, values.at) && same(first.keys.arg, values.arg);
  const split = [...terms.map(({ keys }) => keys), values].some(({ arg }) => arg.shape[0] === "cache");
  if ((halves || split) && kept.length > 0) return { why: "no block has whole rows, of which something is kept" };
  if (width > 256 && !halves) return { why: `values of ${width} elements: sums of them have no room in registers` };
  if (depth > (halves ? 576 : 256)) return { why: `keys of ${depth} elements` };
  const comparisons = softmax.seen === undefined ? [] : comparisonsOf(kernel, softmax.seen);
  const ranges = comparisons === undefined ? 0 : columnsCompared(comparisons).length;
  const shape = shapeOf({
    name: kernel.name,
    parts: terms.map(({ keys }) => ({ depth: keys.along.extent, gathered: keys.matrix === undefined })),
    width,
    valuesGathered: values.matrix === undefined,
    halves,
    ranges,
  });
  if (shape === undefined) return { why: "no block of columns fits" };
  return {
    kernel,
    terms,
    scale: softmax.scale,
    ...(softmax.squash === undefined ? {} : { squash: softmax.squash }),
    ...(softmax.seen === undefined ? {} : { seen: softmax.seen }),
    ...(comparisons === undefined ? {} : { comparisons }),
    values,
    results,
    peak: softmax.peak,
    sum: softmax.sum,
    kept,
    after: softmax.after,
    factor: softmax.factor,
    shape,
    split,
  };
}

/** Whether something that a row has one of is stored in f32, for the backward pass. */
function isKept(kernel: PlaneKernel, stmt: PlaneStmt): stmt is PlaneStmt & { stmt: Stmt & { kind: "assign" } } {
  if (stmt.kind !== "row" || stmt.stmt.kind !== "assign" || stmt.stmt.axes.length > 0) return false;
  const { to } = stmt.stmt;
  return kernel.args.some(({ name, dtype }) => name === to && dtype === "f32");
}

function kindOf(stmt: PlaneStmt): string {
  return stmt.kind === "row" ? stmt.stmt.kind : stmt.kind;
}

/** Different things of columns that are compared. */
export function columnsCompared(comparisons: readonly Comparison[]): Expr[] {
  return [...new Map(comparisons.map(({ column }) => [JSON.stringify(column), column])).values()];
}

/** Elements of a query. */
export function depthOf({ parts }: Pick<AttentionShape, "parts">): number {
  return parts.reduce((sum, { depth }) => sum + depth, 0);
}

/** Whether the producer's threads gather something: then all of them run, and come to the keys' barrier when their copies have arrived. */
export function gathers({ parts, valuesGathered }: AttentionShape): boolean {
  return valuesGathered || parts.some(({ gathered }) => gathered);
}

/** Two warpgroups of rows, and as many columns as fit twice beside the queries. */
function shapeOf(of: Omit<AttentionShape, "consumers" | "stages" | "columns">): AttentionShape | undefined {
  const { width, halves } = of;
  const depth = depthOf(of);
  // A stage has half of a block's values. Products of fewer than 64 columns take as long as those of 64.
  if (halves) return { ...of, consumers: 2, stages: 5, columns: 64 };
  for (const columns of [128, 64]) {
    const queries = 2 * ROWS * 2 * Math.max(depth, width);
    const block = columns * 2 * (depth + width);
    const stages = Math.min(3, Math.floor((SHARED_BYTES - queries - 8192) / block));
    const registers = columns / 2 + columns / 4 + width / 2;
    if (stages >= 2 && registers <= 184) return { ...of, consumers: 2, stages, columns };
  }
  return undefined;
}

/** What scores are of products: `scale * product`, or inside of a cap `scale * tanh(squash * product)`. */
export interface Scaling {
  readonly scale: number;
  readonly squash?: number;
}

/** What an expression makes of values that are scaled so already; undefined where it is something else. */
export function scaledBy(before: Scaling, expr: Expr, isScore: (expr: Expr) => boolean): Scaling | undefined {
  if (isScore(expr)) return before;
  if (expr.kind !== "op") return undefined;
  const [a, b] = expr.operands as [Expr, Expr];
  const inner = scaledBy(before, a, isScore);
  if (inner === undefined) return undefined;
  if (expr.op === "tanh") return inner.squash === undefined ? { scale: 1, squash: inner.scale } : undefined;
  const factor = expr.op === "mul" || expr.op === "div" ? constantOf(b) : undefined;
  if (factor === undefined || !(factor > 0)) return undefined;
  return { ...inner, scale: expr.op === "mul" ? inner.scale * factor : inner.scale / factor };
}

export interface Softmax extends Scaling {
  readonly seen?: Expr;
  readonly peak: string;
  readonly sum: string;
  readonly after: readonly (Stmt & { kind: "assign" })[];
  readonly factor: Expr;
  /** What stands behind it. */
  readonly rest: readonly PlaneStmt[];
}

/** The statements behind the scores: a factor or a cap, the largest one, exponentials, their sum, a factor for the row. */
export function softmaxOf(kernel: PlaneKernel, local: string, body: readonly PlaneStmt[]): Softmax | Refusal {
  const column = kernel.column.name;
  const score: Expr = { kind: "load", from: local, at: [{ kind: "axis", axis: column }], dtype: "f32" };
  const isScore = (expr: Expr): boolean => same(expr, score);
  const rest = [...body];
  let scaling: Scaling = { scale: 1 };
  for (let next = overColumns(rest[0], local, column); next !== undefined; next = overColumns(rest[0], local, column)) {
    const scaled = scaledBy(scaling, next, isScore);
    if (scaled === undefined) return { why: "scores are more than scaled" };
    scaling = scaled;
    rest.shift();
  }
  const peak = reduction(rest.shift(), "max");
  if (peak === undefined) return { why: "no largest score is taken" };
  const { seen, value } = unmasked(peak.value, -Infinity);
  if (!isScore(value)) return { why: "the largest of something else than the scores is taken" };
  const raised = overColumns(rest.shift(), local, column);
  if (raised === undefined) return { why: "scores do not become exponentials" };
  const { seen: again, value: power } = unmasked(raised, 0);
  if (!same(seen, again)) return { why: "exponentials and their largest one see different columns" };
  const [difference] = isOp(power, "exp") ? power.operands : [];
  const [minuend, base] = difference !== undefined && isOp(difference, "sub") ? difference.operands : [];
  if (minuend === undefined || base === undefined || !isScore(minuend) || !isPeak(base, peak.to))
    return { why: "scores do not become exponentials of their distance to the largest one" };
  const sum = reduction(rest.shift(), "sum");
  if (sum === undefined || !isScore(sum.value)) return { why: "exponentials are not summed" };
  const after: (Stmt & { kind: "assign" })[] = [];
  let factor = ONE;
  for (let [stmt] = rest; stmt !== undefined; rest.shift(), [stmt] = rest) {
    const value_ = overColumns(stmt, local, column);
    if (value_ !== undefined) {
      const next = factorOf(value_, isScore, column);
      if (next === undefined) return { why: "weights are more than multiplied by something of their row" };
      factor = times(factor, next);
    } else if (stmt.kind === "row" && stmt.stmt.kind === "assign" && stmt.stmt.at.length === 0) after.push(stmt.stmt);
    else break;
  }
  return { ...scaling, ...(seen === undefined ? {} : { seen }), peak: peak.to, sum: sum.to, after, factor, rest };
}

/** What a statement makes of the local of each column. */
export function overColumns(stmt: PlaneStmt | undefined, local: string, column: string): Expr | undefined {
  if (stmt?.kind !== "row" || stmt.stmt.kind !== "assign") return undefined;
  const { axes, to, at, value } = stmt.stmt;
  const [own] = at;
  const fits = to === local && axes.length === 1 && axes[0]!.name === column;
  return fits && at.length === 1 && own?.kind === "axis" && own.axis === column ? value : undefined;
}

export function reduction(stmt: PlaneStmt | undefined, of: Reduction): (Stmt & { kind: "reduce" }) | undefined {
  if (stmt?.kind !== "row" || stmt.stmt.kind !== "reduce" || stmt.stmt.reduction !== of) return undefined;
  return stmt.stmt.axes.length === 0 && stmt.stmt.over.length === 1 ? stmt.stmt : undefined;
}

/** `select(not(seen), nothing, value)`, or a value alone. */
function unmasked(expr: Expr, nothing: number): { seen?: Expr; value: Expr } {
  if (!isOp(expr, "select")) return { value: expr };
  const [condition, bottom, value] = expr.operands as [Expr, Expr, Expr];
  if (!isOp(condition, "not") || constantOf(bottom) !== nothing) return { value: expr };
  return { seen: condition.operands[0]!, value };
}

/** The largest score, or 0 where it is that of no column. */
function isPeak(expr: Expr, peak: string): boolean {
  const last = isOp(expr, "select") ? expr.operands[2]! : expr;
  return last.kind === "load" && last.from === peak;
}

/** What the local of a column is multiplied by, where all that happens to it is that. */
function factorOf(expr: Expr, isScore: (expr: Expr) => boolean, column: string): Expr | undefined {
  if (isScore(expr)) return ONE;
  if (expr.kind !== "op" || !["mul", "div", "select", "cast"].includes(expr.op)) return undefined;
  const own = expr.op === "select" ? 2 : 0;
  const inner = factorOf(expr.operands[own]!, isScore, column);
  const others = expr.operands.filter((_, i) => i !== own);
  if (inner === undefined || others.some((other) => usesAxis(other, column))) return undefined;
  if (expr.op === "select" && constantOf(others[1]!) !== 0) return undefined;
  if (expr.op === "mul") return times(inner, expr.operands[1]!);
  return { ...expr, dtype: "f32", operands: expr.operands.map((operand, i) => (i === own ? inner : operand)) };
}

const ONE: Expr = { kind: "const", dtype: "f32", value: 1 };

function times(a: Expr, b: Expr): Expr {
  if (same(a, ONE)) return b;
  return same(b, ONE) ? a : { kind: "op", op: "mul", operands: [a, b], dtype: "f32" };
}

export function constantOf(expr: Expr): number | undefined {
  return expr.kind === "const" && typeof expr.value === "number" ? expr.value : undefined;
}

export function usesAxis(expr: Expr, axis: string): boolean {
  let found = false;
  walk(expr, (part) => (found ||= part.kind === "axis" && part.axis === axis));
  return found;
}

/** Conditions that all must hold, each a comparison of integers of a column and of a row. */
export function comparisonsOf(kernel: PlaneKernel, seen: Expr): Comparison[] | undefined {
  if (isOp(seen, "and")) {
    const [a, b] = seen.operands.map((operand) => comparisonsOf(kernel, operand));
    return a === undefined || b === undefined ? undefined : [...a, ...b];
  }
  if (seen.kind !== "op" || !(seen.op in TURNED)) return undefined;
  const op = seen.op as keyof typeof TURNED;
  const [left, right] = seen.operands as [Expr, Expr];
  const isColumn = (expr: Expr): boolean =>
    usesAxis(expr, kernel.column.name) && ![...kernel.rows, ...kernel.batch].some(({ name }) => usesAxis(expr, name));
  const isRow = (expr: Expr): boolean => !usesAxis(expr, kernel.column.name);
  const areWhole = [left, right].every((expr) => "dtype" in expr && expr.dtype === "i32");
  if (!areWhole) return undefined;
  if (isColumn(left) && isRow(right)) return [{ op, column: left, row: right }];
  return isRow(left) && isColumn(right) ? [{ op: TURNED[op], column: right, row: left }] : undefined;
}

const TURNED = { lt: "gt", le: "ge", gt: "lt", ge: "le", eq: "eq" } as const;

export function termOf(kernel: PlaneKernel, { k, a, b }: Terms): ScoreTerm | Refusal {
  const along = k.at(-1);
  if (along === undefined || k.length !== 1) return { why: `scores sum over ${k.length} dims` };
  const queries = rowsOf(kernel, a, along);
  if ("why" in queries) return { why: `queries: ${queries.why}` };
  const keys = columnRows(kernel, b, along);
  return "why" in keys ? { why: `keys: ${keys.why}` } : { queries, keys };
}

/** Rows whose elements are neighbors, at multiples of 16 bytes. */
export function rowsOf(kernel: PlaneKernel, expr: Expr, along: Axis): TensorRows | Refusal {
  const { extent } = along;
  if (typeof extent !== "number" || extent % LINE !== 0)
    return { why: `rows of ${extent} elements, no multiple of 64` };
  if (expr.kind !== "load") return { why: "what is computed on the way" };
  const arg = kernel.args.find(({ name }) => name === expr.from);
  if (arg === undefined) return { why: "no tensor" };
  if (arg.dtype !== "bf16") return { why: arg.dtype };
  const last = expr.at.at(-1)!;
  if (last.kind !== "axis" || last.axis !== along.name) return { why: "elements of a row are no neighbors" };
  if (expr.at.slice(0, -1).some((x) => usesAxis(x, along.name))) return { why: "a row is no row of memory" };
  const whole = arg.shape.at(-1);
  if (typeof whole !== "number" || whole % 8 !== 0) return { why: "rows do not start at multiples of 16 bytes" };
  const first = new Map([[along.name, { kind: "const", dtype: "index", value: 0 } as Expr]]);
  return { arg, at: expr.at.map((x) => substitute(x, first, () => undefined)), along: { ...along, extent } };
}

/** Rows of keys or values, or of other axes; the copy engine takes them where they lie at equal distances. */
export function columnRows(
  kernel: PlaneKernel,
  expr: Expr,
  along: Axis,
  axes: readonly Axis[] = [kernel.column],
  batch: readonly Axis[] = kernel.batch,
): ColumnRows | Refusal {
  const rows = rowsOf(kernel, expr, along);
  if ("why" in rows) return rows;
  const operand = operandOf(expr, axes, [along], kernel.args);
  if (operand.kind !== "strided") return rows;
  const { shape } = rows.arg;
  const outer = linear(axes, operand.at.outer, shape);
  const stride = batch.length === 0 ? none(operand.at.fixed) : linear(batch, operand.at.fixed, shape);
  if (outer === undefined || stride === undefined || outer <= 0) return rows;
  return { ...rows, matrix: { arg: rows.arg, outer, inner: 1, batch: stride } };
}

function none(at: readonly Expr[]): number | undefined {
  return at.every((x) => known(x) === 0) ? 0 : undefined;
}

export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Locals that a printer names: the sum and what comes of it. */
export function scalarsOf({ kernel, peak, sum, after }: AttentionPlan): Local[] {
  const names = new Set([peak, sum, ...after.map(({ to }) => to)]);
  return kernel.locals.filter(({ name }) => names.has(name));
}

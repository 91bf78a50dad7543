/** How the threads of a block share the columns of a row: which statements run along columns, how many of these a thread has. */
import { STORAGE_BYTES, type StorageType } from "../../../../runtime/program/launch.ts";
import type { Axis, RowsKernel, Stmt } from "../../../kernel-ir/types.ts";
import { knownSize } from "../../simt/axes.ts";
import { expressionsOf } from "../../../kernel-ir/expr.ts";
import { isScalar } from "./vectors.ts";

/** Columns from which on a row is wide. */
const WIDE = 128;
/** Columns from which on there are enough of them in one axis. */
const LONG = 512;
/** Iterations of loops around columns, and terms of a sum in each column. */
const FEW_OUTER = 64;
const FEW_TERMS = 16;
const FEW_RESULTS = 16;

/** Columns of several axes that are counted as one. */
const MOST_MERGED = 65_536;

/** Floats that a thread may hold of a row. */
const HELD = 128;

export interface WidePlan {
  /** Columns of most statements. */
  readonly columns: number;
  /** Neighbors that a thread moves together. */
  readonly width: number;
  readonly threads: number;
  /** Turns that a thread takes to go over a row, if it holds what it has seen; else rows are read again. */
  readonly turns?: number;
}

/** A statement along columns. */
export interface Along {
  readonly stmt: Stmt & { kind: "assign" | "reduce" };
  /** A value for each column; a sum for each column; sums over columns. */
  readonly kind: "values" | "sums" | "totals";
  /** Loops around columns: those of results, and those of terms. */
  readonly outer: readonly Axis[];
  readonly inner: readonly Axis[];
  /** The axes that columns are counted along. */
  readonly space: readonly Axis[];
}

/** @param fixed threads of a block, where it is not for the row to say */
export function planWide(kernel: RowsKernel, fixed?: number): WidePlan | undefined {
  const columns = mostColumns(kernel.body);
  if (columns === undefined) return undefined;
  const width = widthOf(kernel, columns);
  if (width === undefined) return undefined;
  const vectors = columns / width;
  const places = heldPlaces(kernel, columns);
  if (fixed !== undefined) {
    const turns = Math.ceil(vectors / fixed);
    const holds = turns <= 4 && places * turns * width <= HELD;
    return { columns, width, threads: fixed, ...(holds ? { turns } : {}) };
  }
  for (const turns of [1, 2, 4]) {
    const threads = Math.ceil(vectors / turns / 32) * 32;
    const fits = places * turns * width <= HELD;
    if (turns > 1 && !fits) break;
    const more = turns < 4 && places * turns * 2 * width <= HELD && threads > 256;
    if (threads <= 512 && !more) return { columns, width, threads, turns };
  }
  const threads = Math.ceil(vectors / 32) * 32;
  return threads <= 1024 && places * width <= 40
    ? { columns, width, threads, turns: 1 }
    : { columns, width, threads: Math.min(512, threads) };
}

/** The number of columns that most of the work is along. */
function mostColumns(body: readonly Stmt[]): number | undefined {
  const found = new Map<number, number>();
  for (const stmt of body) {
    if (stmt.kind !== "assign" && stmt.kind !== "reduce") continue;
    const over = stmt.kind === "reduce" ? stmt.over : [];
    const along = (knownSize(over) ?? 0) > FEW_TERMS ? over : stmt.axes;
    const [last, size] = [along.at(-1)?.extent, knownSize(along)];
    if (typeof last !== "number" || size === undefined) continue;
    const columns = last >= LONG ? last : size;
    found.set(columns, (found.get(columns) ?? 0) + size);
  }
  const [most] = [...found].toSorted(([, a], [, b]) => b - a);
  return most !== undefined && most[0] >= WIDE ? most[0] : undefined;
}

/** 16 bytes of the widest dtype that columns have. */
function widthOf({ args, body }: RowsKernel, columns: number): number | undefined {
  const wide = args.filter(({ shape }) => isAlong(shape, columns));
  const used = wide.filter(({ name }) => body.some((stmt) => JSON.stringify(stmt).includes(`"${name}"`)));
  const bytes = Math.max(2, ...used.map(({ dtype }) => STORAGE_BYTES[dtype as StorageType]));
  return [8, 4].find((width) => width * bytes <= 16 * (bytes === 8 ? 2 : 1) && columns % width === 0);
}

/** Whether the last dims of an array are the columns. */
function isAlong(shape: readonly (number | string)[], columns: number): boolean {
  let size = 1;
  for (const extent of shape.toReversed()) {
    if (typeof extent !== "number") return false;
    size *= extent;
    if (size >= columns) return size === columns;
  }
  return false;
}

/** Arrays along columns that several statements name, and those that one has under way. */
function heldPlaces({ args, locals, body }: RowsKernel, columns: number): number {
  const wide = [...args, ...locals].filter(({ shape }) => isAlong(shape, columns));
  const named = (name: string): number =>
    body.filter((stmt) => stmt.to === name || JSON.stringify(expressionsOf(stmt)).includes(`"from":"${name}"`)).length;
  return wide.filter(({ name }) => named(name) > 1).length + 2;
}

/** How a statement runs along columns; undefined where it does not. */
export function alongColumns(stmt: Stmt, plan: WidePlan, kernel: RowsKernel): Along | undefined {
  if (stmt.kind !== "assign" && stmt.kind !== "reduce") return undefined;
  const store = [...kernel.args, ...kernel.locals].find(({ name }) => name === stmt.to)!;
  const over = stmt.kind === "reduce" ? stmt.over : [];
  const [results, terms] = [knownSize(stmt.axes), knownSize(over)];
  if (results === undefined || terms === undefined) return undefined;
  if (terms > FEW_TERMS) {
    const few = results === 1 ? stmt.axes.length === 0 : stmt.axes.length === 1 && results <= FEW_RESULTS;
    const space = spaceOf(over, plan);
    const isSum = stmt.kind === "reduce" && (stmt.axes.length === 0 || stmt.reduction === "sum");
    if (!few || space === undefined || !isSum) return undefined;
    return { stmt, kind: "totals", outer: stmt.axes, inner: over.slice(0, over.length - space.length), space };
  }
  const space = isScalar(store) ? undefined : spaceOf(stmt.axes, plan);
  if (space === undefined) return undefined;
  const outer = stmt.axes.slice(0, stmt.axes.length - space.length);
  if (knownSize(outer)! > FEW_OUTER) return undefined;
  return { stmt, kind: stmt.kind === "assign" ? "values" : "sums", outer, inner: over, space };
}

/** The last axis, where that is the row's columns; all axes where together they are as wide. */
function spaceOf(axes: readonly Axis[], { columns, width }: WidePlan): readonly Axis[] | undefined {
  const last = axes.at(-1);
  if (last === undefined || typeof last.extent !== "number" || last.extent % width !== 0) return undefined;
  if (last.extent === columns) return [last];
  return knownSize(axes)! >= WIDE && knownSize(axes)! <= MOST_MERGED ? axes : undefined;
}

export function spaceKey(space: readonly Axis[]): string {
  return space.map(({ name, extent }) => `${name} ${extent}`).join();
}

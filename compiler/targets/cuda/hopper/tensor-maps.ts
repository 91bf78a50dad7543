/** Which operands and results the copy engine can reach: tensors of two or three dims at multiples of 16 bytes. */
import type { Extent, StorageType } from "../../../../runtime/program/launch.ts";
import type { TensorMap } from "../../../../runtime/program/grids.ts";
import { index, mergedIndices, substitute } from "../../../kernel-ir/expr.ts";
import type { Arg, Axis, Expr, GemmKernel, Product, Stmt } from "../../../kernel-ir/types.ts";
import { codesOf, EIGHT_BITS, linear, type Strided } from "../../operands.ts";
import type { CodeScales } from "./gemm-codes.ts";
import { fills, THIRDS } from "./gemm-thirds.ts";
import { isAxis, type Scale, SCALED, scaleOf, tilesOfTerms } from "./scales.ts";

/** A row of a swizzled tile. */
export const LINE_BYTES = 128;
/** Its elements of bf16. */
export const LINE = 64;

/** A matrix in memory, or one for each batch (or group). */
export interface Matrix {
  readonly arg: Arg;
  /** Elements between neighbors of rows (or columns of B), of terms, and of batches (0: all have the same). */
  readonly outer: number;
  readonly inner: number;
  readonly batch: number;
  /**
   * Where the copy engine can't follow: the indices of an element, with those axes at 0 along which elements are neighbors.
   * Threads gather lines of 16 bytes from there.
   */
  readonly gathered?: readonly Expr[];
  /** What codes in eight bits are multiplied by. */
  readonly scale?: Scale;
  /** Where terms lie in tiles of 128, each behind all rows of the one before: elements from one to the next, and how many there are. */
  readonly tiles?: { readonly stride: number; readonly count: Extent };
  /** Of an argument in f32: which of the three numbers of bf16 that make it (gemm-thirds.ts). */
  readonly third?: number;
  /** Of codes of a few bits, which threads turn to bf16: what they are multiplied by (gemm-codes.ts). */
  readonly codes?: CodeScales;
  /** Of a copy in the arena: its parameter (gemm-packing.ts). */
  readonly copy?: string;
}

/** Elements of a row of a swizzled tile. */
export function lineOf({ arg }: Matrix): number {
  return LINE_BYTES / bytesOf(arg.dtype);
}

/** Whether terms are neighbors (K-major), or rows. */
export function termsAreNeighbors({ inner }: Matrix): boolean {
  return inner === 1;
}

/** An operand as a matrix that the copy engine can read; undefined where it is none. */
export function matrixOf(
  kernel: GemmKernel,
  product: Product,
  letter: "a" | "b",
  batch: readonly Axis[],
): Matrix | undefined {
  const outer = letter === "a" ? kernel.m : kernel.n;
  const operand = stridedOf(kernel, product, letter);
  if (operand === undefined) return undefined;
  const { arg, place, scale } = operand;
  const strides = stridesOf(place, arg, outer, product.k, batch) ?? tiledOf(place, arg, outer, product.k, batch);
  if (strides === undefined) return undefined;
  const matrix = { arg, ...strides, ...(scale === undefined ? {} : { scale }) };
  return isReachable(matrix) ? matrix : undefined;
}

/** An operand in f32 that fills its argument, as three matrices of bf16; undefined where it is none. */
export function thirdsMatrices(kernel: GemmKernel, product: Product): Matrix[] | undefined {
  const { n, args } = kernel;
  const place = codesOf(product.b, n, product.k, args);
  if (place.kind !== "strided" || place.scale !== undefined) return undefined;
  const arg = args.find(({ name }) => name === place.arg)!;
  if (arg.dtype !== "f32" || arg.access !== "read" || !fills(arg, [...n, ...product.k])) return undefined;
  const strides = stridesOf(place, arg, n, product.k, []);
  const thirds = { ...arg, dtype: "bf16" } as const;
  if (strides === undefined || !isReachable({ arg: thirds, ...strides })) return undefined;
  return Array.from({ length: THIRDS }, (_, third) => ({ arg: thirds, ...strides, third }));
}

/** An operand that tensor cores take: bf16, or codes with their scales. */
function stridedOf(
  kernel: GemmKernel,
  product: Product,
  letter: "a" | "b",
): { readonly arg: Arg; readonly place: Strided; readonly scale?: Scale } | undefined {
  const outer = letter === "a" ? kernel.m : kernel.n;
  const place = codesOf(product[letter], outer, product.k, kernel.args, EIGHT_BITS);
  if (place.kind !== "strided") return undefined;
  const arg = kernel.args.find(({ name }) => name === place.arg)!;
  if (place.scale === undefined) return arg.dtype === "bf16" ? { arg, place } : undefined;
  const scale = scaleOf(place.scale, kernel.args, letter, outer, product.k);
  return scale === undefined ? undefined : { arg, place, scale };
}

/** An operand whose rows (or terms) lie anywhere, as long as terms (or rows) are neighbors and lines of 16 bytes are whole. */
export function gatheredOf(
  kernel: GemmKernel,
  product: Product,
  letter: "a" | "b",
  near: "outer" | "k",
): Matrix | undefined {
  const outer = letter === "a" ? kernel.m : kernel.n;
  const operand = stridedOf(kernel, product, letter);
  if (operand === undefined || none(operand.place.at.fixed) === undefined) return undefined;
  const { arg, place, scale } = operand;
  const line = 16 / bytesOf(arg.dtype);
  const [nearAxes, farAxes, far] =
    near === "k" ? [product.k, outer, "outer" as const] : [outer, product.k, "k" as const];
  if (linear(nearAxes, place.at[near], arg.shape) !== 1) return undefined;
  // Steps of a dim with whole lines behind it may be any: numbers in memory say which row it is.
  const steps = place.at[far].map((x, i) => (holdsLines(arg, i, line) ? index(0) : x));
  const whole = farAxes.every((axis) => {
    const alone = withoutAxes(
      steps,
      farAxes.filter((other) => other !== axis),
    );
    const stride = linear([axis], alone, arg.shape);
    return stride !== undefined && stride % line === 0;
  });
  if (!whole) return undefined;
  const [outerStride, inner] = near === "k" ? [line, 1] : [1, line];
  const more = scale === undefined ? {} : { scale };
  return { arg, outer: outerStride, inner, batch: 0, gathered: place.at[far], ...more };
}

/** Whether neighbors of a dim are whole lines apart. */
function holdsLines({ shape }: Arg, dim: number, line: number): boolean {
  const known = shape.slice(dim + 1).filter((extent) => typeof extent === "number");
  return known.reduce((n, extent) => n * extent, 1) % line === 0;
}

/** Codes in tiles of tokens: `[tile, row, token of the tile]`. */
function tiledOf(
  { at }: Strided,
  { shape }: Arg,
  outer: readonly Axis[],
  k: readonly Axis[],
  batch: readonly Axis[],
): Omit<Matrix, "arg"> | undefined {
  const [last, stride] = [at.k.at(-1)!, linear(outer, at.outer, shape)];
  const isNear = k[1] !== undefined && isAxis(last, k[1]) && tilesOfTerms(k, at.k.slice(0, -1)) === 0;
  if (batch.length > 0 || none(at.fixed) === undefined || !isNear) return undefined;
  const inner = shape.slice(1).reduce<number>((n, size) => (typeof size === "number" ? n * size : NaN), 1);
  if (shape.at(-1) !== SCALED || stride !== SCALED || Number.isNaN(inner)) return undefined;
  return { outer: stride, inner: 1, batch: 0, tiles: { stride: inner, count: shape[0]! } };
}

/** Indices with axes at 0. */
function withoutAxes(at: readonly Expr[], axes: readonly Axis[]): Expr[] {
  const zero = new Map(axes.map(({ name }) => [name, { kind: "const", dtype: "index", value: 0 } as Expr]));
  return at.map((x) => substitute(x, zero, () => undefined));
}

function stridesOf(
  { at }: Strided,
  { shape }: Arg,
  outer: readonly Axis[],
  k: readonly Axis[],
  batch: readonly Axis[],
): Omit<Matrix, "arg"> | undefined {
  const strides = [linear(outer, at.outer, shape), linear(k, at.k, shape), linear(batch, at.fixed, shape) ?? NaN];
  const [outerStride, inner, batchStride] = batch.length === 0 ? [strides[0], strides[1], none(at.fixed)] : strides;
  if (outerStride === undefined || inner === undefined || batchStride === undefined) return undefined;
  return Number.isNaN(batchStride) ? undefined : { outer: outerStride, inner, batch: batchStride };
}

function none(at: readonly Expr[]): number | undefined {
  return at.every((x) => x.kind === "const" && x.value === 0) ? 0 : undefined;
}

/** One of both strides is 1, the other ones are multiples of 16 bytes. */
function isReachable({ outer, inner, batch, arg }: Matrix): boolean {
  const whole = 16 / bytesOf(arg.dtype);
  if (inner !== 1 && outer !== 1) return false;
  const far = inner === 1 ? outer : inner;
  return far > 0 && far % whole === 0 && batch % whole === 0;
}

export function bytesOf(dtype: StorageType): number {
  return dtype === "f64" ? 8 : dtype === "f32" || dtype === "i32" ? 4 : dtype === "bf16" || dtype === "f16" ? 2 : 1;
}

/** Where a statement of the epilogue stores a matrix of results that the copy engine can write. */
export function storedMatrix(kernel: GemmKernel, stmt: Stmt & { kind: "assign" }): Matrix | undefined {
  const arg = kernel.args.find(({ name }) => name === stmt.to)!;
  if (arg.dtype !== "bf16" && arg.dtype !== "f32") return undefined;
  const place = mergedIndices(stmt.at, arg.shape);
  // Of each space: the indices with the axes of the others at 0.
  const only = (axes: readonly Axis[]): Expr[] => {
    const others = [...kernel.batch, ...kernel.m, ...kernel.n].filter((axis) => !axes.includes(axis));
    return withoutAxes(place, others);
  };
  const outer = linear(kernel.m, only(kernel.m), arg.shape);
  const inner = linear(kernel.n, only(kernel.n), arg.shape);
  const batch = kernel.batch.length === 0 ? 0 : linear(kernel.batch, only(kernel.batch), arg.shape);
  if (outer === undefined || inner !== 1 || batch === undefined) return undefined;
  const matrix = { arg, outer, inner, batch };
  return isReachable(matrix) ? matrix : undefined;
}

/** The tensor map of a matrix, innermost dim first; boxes are [neighbors, others]. */
export function tensorMap(
  { arg, outer, inner, batch, tiles, third }: Matrix,
  outerAxes: readonly Axis[],
  innerAxes: readonly Axis[],
  batchAxes: readonly Axis[],
  box: readonly [number, number],
): TensorMap {
  const [near, far, stride] = inner === 1 ? [innerAxes, outerAxes, outer] : [outerAxes, innerAxes, inner];
  const dims: Extent[][] = [tiles === undefined ? extentsOf(near) : [SCALED], extentsOf(far)];
  const strides: Extent[][] = [[stride]];
  const sizes: number[] = [...box];
  if (tiles !== undefined) {
    dims.push([tiles.count]);
    strides.push([tiles.stride]);
    sizes.push(1);
  }
  if (batch !== 0 || third !== undefined) {
    dims.push(third === undefined ? extentsOf(batchAxes) : [THIRDS]);
    strides.push(third === undefined ? [batch] : [...arg.shape]);
    sizes.push(1);
  }
  return { arg: arg.name, dtype: arg.dtype, dims, strides, box: sizes, swizzle: 128 };
}

/** Whether a statement's results of a row are neighbors in lines of 16 bytes, wherever rows lie. */
export function storedRows(kernel: GemmKernel, stmt: Stmt & { kind: "assign" }): Matrix | undefined {
  const arg = kernel.args.find(({ name }) => name === stmt.to)!;
  if (arg.dtype !== "bf16" && arg.dtype !== "f32") return undefined;
  const place = mergedIndices(stmt.at, arg.shape);
  const gathered = withoutAxes(place, kernel.n);
  if (linear(kernel.n, withoutAxes(place, [...kernel.batch, ...kernel.m]), arg.shape) !== 1) return undefined;
  const whole = [...kernel.batch, ...kernel.m].every((axis) => {
    const others = [...kernel.batch, ...kernel.m].filter((other) => other !== axis);
    const stride = linear([axis], withoutAxes(gathered, others), arg.shape);
    return stride !== undefined && (stride * bytesOf(arg.dtype)) % 16 === 0;
  });
  return whole ? { arg, outer: 8, inner: 1, batch: 0, gathered } : undefined;
}

export function extentsOf(axes: readonly Axis[]): Extent[] {
  return axes.map(({ extent }) => extent);
}

/** The parameter of a tensor map: that of the same one, or a new one after `name`. `maps` has them by their parameters. */
export function mapParameter(maps: Map<string, TensorMap>, map: TensorMap, name: string): string {
  const same = [...maps].find(([, other]) => JSON.stringify(other) === JSON.stringify(map));
  if (same !== undefined) return same[0];
  let own = name;
  for (let i = 2; maps.has(own); i++) own = `${map.arg}_map_${i}`;
  maps.set(own, map);
  return own;
}

/** The tensor map of scales of columns: those of a tile of columns in one block of terms. */
export function scaleMap({ arg, block, each }: Scale, columns: readonly Axis[], tile: number): TensorMap {
  const dims = [extentsOf(columns), [each!]];
  return { arg: arg.name, dtype: arg.dtype, dims, strides: [[block]], box: [tile, 1], swizzle: 0 };
}

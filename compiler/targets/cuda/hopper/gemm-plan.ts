/** Which matrix products go to the tensor cores by copies of the copy engine, and how they are cut. */
import { type Extent } from "../../../../runtime/program/launch.ts";
import type { Axis, GemmKernel, Stmt } from "../../../kernel-ir/types.ts";
import { walk } from "../../../kernel-ir/expr.ts";
import type { GemmLoop, GemmShape } from "./gemm-schedule.ts";
import { bytesOf, type Matrix, matrixOf, storedMatrix } from "./tensor-maps.ts";
import { chosenTile, type Tile, type TileProblem } from "./tiles.ts";

/** Terms of a block: 128 bytes of bf16. */
export const TILE_K = 64;
/** What a symbolic extent is taken for when tiles are chosen: tokens of a step of training. */
const TOKENS = 4096;
/** Columns and terms below which tiles would be mostly empty. */
const LEAST = 64;

export interface PlannedLoop {
  readonly k: readonly Axis[];
  readonly a: Matrix;
  /** Of each product, by its number. */
  readonly b: readonly { readonly product: number; readonly matrix: Matrix }[];
}

export interface StagedResult {
  readonly stmt: Stmt & { kind: "assign" };
  readonly matrix: Matrix;
  /** Columns of 128 bytes. */
  readonly columns: number;
}

export interface GemmPlan {
  readonly kernel: GemmKernel;
  readonly loops: readonly PlannedLoop[];
  readonly staged: readonly StagedResult[];
  readonly direct: readonly (Stmt & { kind: "assign" })[];
  readonly problem: TileProblem;
  readonly tile: Tile & { readonly why: string };
  readonly shape: GemmShape;
}

/** Why a kernel stays with the one for threads, in words. */
export interface Refusal {
  readonly why: string;
}

export function planGemm(kernel: GemmKernel): GemmPlan | Refusal {
  const { batch, m, n, products, groups, prologue, epilogue } = kernel;
  if (groups !== undefined) return { why: "rows have groups" };
  if (prologue !== undefined) return { why: "rows are computed first" };
  if (batch.length > 1) return { why: `${batch.length} batch dims` };
  if (sizeOf(n) < LEAST) return { why: `${sizeOf(n)} columns` };
  const loops: PlannedLoop[] = [];
  for (const [i, product] of products.entries()) {
    if (product.dtype === "f64") return { why: `${product.name} is f64` };
    if (sizeOf(product.k) < LEAST) return { why: `${sizeOf(product.k)} terms` };
    const a = matrixOf(kernel, product, "a", batch);
    const b = matrixOf(kernel, product, "b", batch);
    if (a === undefined || b === undefined)
      return { why: `${a === undefined ? "A" : "B"} of ${product.name} is no matrix that the copy engine reads` };
    const same = loops.findIndex((loop) => same_(loop.k, product.k) && same_(loop.a, a));
    if (same < 0) loops.push({ k: product.k, a, b: [{ product: i, matrix: b }] });
    else loops[same] = { ...loops[same]!, b: [...loops[same]!.b, { product: i, matrix: b }] };
  }
  const stores: (Stmt & { kind: "assign" })[] = [];
  for (const stmt of epilogue) {
    if (stmt.kind !== "assign" || stmt.axes.length > 0) return { why: "its results are summed again" };
    stores.push(stmt);
  }
  const written = new Set(stores.map(({ to }) => to));
  const again = stores.some((stmt) => {
    let reads = false;
    walk(stmt.value, (part) => (reads ||= part.kind === "load" && written.has(part.from)));
    return reads;
  });
  // What is read while it is written must be stored by the thread that reads it.
  const staged = again
    ? []
    : stores.flatMap((stmt): StagedResult[] => {
        const matrix = storedMatrix(kernel, stmt);
        return matrix === undefined ? [] : [{ stmt, matrix, columns: 128 / bytesOf(matrix.arg.dtype) }];
      });
  const direct = stores.filter((stmt) => !staged.some((one) => one.stmt === stmt));
  const problem: TileProblem = {
    m: sizeOf(m),
    n: sizeOf(n),
    loops: loops.map(({ k, b }) => ({ k: sizeOf(k), products: b.length })),
    batches: sizeOf(batch),
    elementBytes: 2,
    resultBytes: stores.reduce((sum, { to }) => sum + bytesOf(kernel.args.find(({ name }) => name === to)!.dtype), 0),
    staged: staged.length > 0,
    depth: TILE_K,
  };
  const tile = chosenTile(kernel.name, problem);
  if (tile === undefined) return { why: "no tile fits" };
  const shape: GemmShape = {
    name: kernel.name,
    consumers: tile.consumers,
    stages: tile.stages,
    tileN: tile.tileN,
    depthBytes: TILE_K * 2,
    loops: loops.map(({ b }, i): GemmLoop => ({
      count: countOf(i),
      products: b.map(({ product }) => product),
      gathers: { a: false, b: false },
    })),
    staged: staged.map(({ stmt, columns }) => ({ name: stmt.to, columns })),
    direct: direct.length > 0,
  };
  return { kernel, loops, staged, direct, problem, tile, shape };
}

/** The variable that says how many blocks of terms a loop has. */
export function countOf(loop: number): string {
  return loop === 0 ? "k_blocks" : `k_blocks_${loop}`;
}

function sizeOf(axes: readonly Axis[]): number {
  return axes.reduce((size, { extent }) => size * sizeOfExtent(extent), 1);
}

function sizeOfExtent(extent: Extent): number {
  return typeof extent === "number" ? extent : TOKENS;
}

function same_(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

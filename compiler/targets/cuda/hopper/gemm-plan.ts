/** Which matrix products go to the tensor cores by copies of the copy engine, and how they are cut. */
import { type Extent } from "../../../../runtime/program/launch.ts";
import type { Axis, Expr, GemmKernel, Groups, Stmt } from "../../../kernel-ir/types.ts";
import { walk } from "../../../kernel-ir/expr.ts";
import { bitsOf, codedOf, registersOfCodes } from "./gemm-codes.ts";
import { type Input, inputsOf } from "./gemm-inputs.ts";
import { registersOfResults } from "./gemm-pressure.ts";
import { packed, type Packed, packingPays } from "./gemm-packing.ts";
import { misfit } from "./check-schedule.ts";
import { gemmSchedule } from "./gemm-schedule.ts";
import { batchesOf, type GemmLoop, type GemmShape, slotsOf } from "./gemm-shape.ts";
import { insideGroup } from "../../operands.ts";
import { sizeOfWord } from "../../reserved.ts";
import {
  bytesOf,
  gatheredOf,
  LINE_BYTES,
  type Matrix,
  matrixOf,
  storedMatrix,
  storedRows,
  termsAreNeighbors,
  thirdsMatrices,
} from "./tensor-maps.ts";
import { SCALED } from "./scales.ts";
import { chosenFew, chosenTile, FEW_ROWS, type Tile, type TileProblem } from "./tiles.ts";

/** What a symbolic extent is taken for when tiles are chosen: tokens of a step of training. */
export const TOKENS = 4096;
/** Columns and terms below which tiles would be mostly empty. */
const LEAST = 64;
/** Of a scale. */
const SCALE_BYTES = 4;

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
  /** What staged results are computed of beside sums, where that comes through the ring. */
  readonly inputs: readonly Input[];
  readonly problem: TileProblem;
  readonly tile: Tile & { readonly why: string };
  readonly shape: GemmShape;
  /** Operands whose terms are written out in their sorted order before. */
  readonly packed?: readonly Packed[];
  /** Of few rows: how many blocks share the terms of a tile. */
  readonly parts?: number;
}

/** Why a kernel stays with the one for threads, in words. */
export interface Refusal {
  readonly why: string;
}

/**
 * @param chosen which tile it gets: what the cost model says, or was measured, when not given
 * @param packs whether sorted terms are written out
 */
export function planGemm(
  given: GemmKernel,
  chosen = (problem: TileProblem) => chosenTile(problem),
  packs: typeof packingPays = packingPays,
): GemmPlan | Refusal {
  const { m, n, groups, prologue } = given;
  const batch = given.batch.filter(({ name }) => groups?.over !== "k" || name !== groups.group.name);
  if (prologue !== undefined) return { why: "rows are computed first" };
  if (batch.length > (groups === undefined ? 1 : 0)) return { why: `${batch.length} batch dims` };
  if (n.some(({ extent }) => typeof extent === "string")) return { why: "columns that only a call knows" };
  if (sizeOf(n) < LEAST) return { why: `${sizeOf(n)} columns` };
  const own = loopsOf(given);
  if ("why" in own) return own;
  const { kernel, loops: gathering } = withCommonSums(given, own);
  const terms = groups === undefined ? 0 : sizeOf(gathering[0]!.k) / sizeOf([groups.group]);
  const gathersTerms = groups?.over === "k" && !hasTiles(gathering);
  const copies = gathersTerms && packs(kernel, gathering, terms) ? packed(kernel, gathering) : undefined;
  const loops = copies?.loops ?? gathering;
  const stores = storesOf(kernel);
  if ("why" in stores) return stores;
  if (
    groups?.over === "m" &&
    stores.some(({ value, at }) => [value, ...at].some((x) => usesAxis(x, groups.group.name)))
  )
    return { why: "its results depend on their group" };
  const staged = stagedOf(kernel, stores);
  const direct = stores.filter((stmt) => !staged.some((one) => one.stmt === stmt));
  const elementBytes = bytesOf(loops[0]!.a.arg.dtype);
  const gathers = loops.some(({ a }) => a.gathered !== undefined);
  const coded = loops[0]!.b.map(({ matrix }) => matrix).find(({ codes }) => codes !== undefined);
  const inRing = loops.some(({ b }) => b.some(({ matrix }) => matrix.scale?.each !== undefined));
  // Consumers that promote have no registers to spare for a producer that gathers inputs.
  const promotes = elementBytes === 1 && gathers;
  const inputsIn = (tile: Pick<Tile, "consumers" | "tileN">): ReturnType<typeof inputsOf> =>
    direct.length > 0 || batchesOf(staged).length !== 1 || promotes
      ? { inputs: [] }
      : inputsOf(kernel, stores, tile, Math.max(...loops.map(({ b }) => b.length)));
  const problem: TileProblem = {
    // Rows of experts: as many as they have on average when each row has one.
    m: groups?.over === "m" ? Math.max(1, Math.round(sizeOf(m) / sizeOf([groups.group]))) : sizeOf(m),
    n: sizeOf(n),
    loops: loops.map(({ k, b }) => ({
      k: groups?.over === "k" ? Math.max(1, Math.round(sizeOf(k) / sizeOf([groups.group]))) : sizeOf(k),
      products: b.length,
    })),
    batches: groups === undefined ? sizeOf(batch) : sizeOf([groups.group]),
    elementBytes,
    resultBytes: stores.reduce((sum, { to }) => sum + bytesOf(kernel.args.find(({ name }) => name === to)!.dtype), 0),
    sums: new Set(loops.flatMap(({ b }) => b.map(({ product }) => product))).size,
    slots: slotsOf(staged.map(({ matrix }) => ({ scattered: matrix.gathered !== undefined }))),
    // The gathering threads are a block behind what they asked for.
    ...(gathers ? { fewestStages: 4 } : {}),
    ...(groups === undefined ? {} : { sharedBytes: startsBytes(groups, copies !== undefined) }),
    ...(inRing ? { columnBytes: SCALE_BYTES } : {}),
    resultRegisters: (tile) => registersOfResults(kernel, staged, inputsIn(tile).inputs),
    depth: LINE_BYTES / elementBytes,
    ...(coded === undefined ? {} : { codeBytes: bitsOf(coded) / 8 }),
  };
  const tile = chosen(problem);
  if (tile === undefined) return { why: "no tile fits" };
  const { inputs, given: throughRing } = inputsIn(tile);
  const shape: GemmShape = {
    name: kernel.name,
    consumers: tile.consumers,
    stages: tile.stages,
    tileN: tile.tileN,
    depthBytes: LINE_BYTES,
    ...(elementBytes === 1 ? { columnScales: inRing ? tile.tileN : columnScales(tile.tileN) } : {}),
    ...(inRing ? { scaleBytes: SCALE_BYTES } : {}),
    loops: loops.map(({ a, b }, i): GemmLoop => ({
      count: countOf(groups?.over === "k" ? 0 : i),
      products: b.map(({ product }) => product),
      gathers: { a: a.gathered !== undefined, b: b.some(({ matrix }) => matrix.gathered !== undefined) },
      ...(coded === undefined ? {} : { codeRegisters: registersOfCodes(coded, tile.tileN) }),
    })),
    staged: staged.map(({ stmt, columns, matrix }) => ({
      name: stmt.to,
      columns,
      ...(matrix.gathered === undefined ? {} : { scattered: true }),
    })),
    direct: direct.length > 0,
    ...(groups === undefined ? {} : { startsBytes: startsBytes(groups, copies !== undefined) }),
    ...(throughRing === undefined ? {} : { given: throughRing }),
  };
  const more = copies === undefined ? {} : { packed: copies.packed };
  // Results that wait in more registers than consumers have beside a producer that reads codes ahead.
  const fault = coded === undefined ? undefined : misfit(gemmSchedule(shape));
  if (fault !== undefined) return { why: fault };
  return { kernel, loops, staged, direct, inputs, problem, tile, shape, ...more };
}

/** The plan for few rows, where tiles of their own or sharing terms pays; undefined where the other one does as well. */
export function planFew(plan: GemmPlan): GemmPlan | undefined {
  const { kernel, problem, loops } = plan;
  const terms = loops[0]!.k.every(({ extent }) => typeof extent === "number");
  const isPlain = loops.every(
    ({ a, b }) => a.gathered === undefined && b.every(({ matrix }) => matrix.third === undefined),
  );
  const calls = !terms || kernel.batch.some(({ extent }) => typeof extent === "string");
  if (kernel.groups !== undefined || !isPlain || calls || plan.shape.scaleBytes !== undefined) return undefined;
  const best = chosenFew(problem, plan.tile);
  if (best === undefined) return undefined;
  const { consumers, tileN, stages, parts, why } = best;
  const direct = [...plan.direct, ...plan.staged.map(({ stmt }) => stmt)];
  const inOrder = kernel.epilogue.flatMap((stmt) => direct.filter((one) => one === stmt));
  const scales = plan.shape.columnScales === undefined ? {} : { columnScales: columnScales(tileN) };
  const { given: _, ...shared } = plan.shape;
  const ofCodes = shared.loops.map((loop, i): GemmLoop => {
    const { codeRegisters, ...others } = loop;
    const [{ matrix }] = loops[i]!.b as [PlannedLoop["b"][0]];
    return codeRegisters === undefined ? loop : { ...others, codeRegisters: registersOfCodes(matrix, tileN) };
  });
  const shape: GemmShape = {
    ...shared,
    consumers,
    tileN,
    stages,
    loops: ofCodes,
    staged: [],
    direct: true,
    parts,
    ...scales,
  };
  const few = { ...problem, m: FEW_ROWS };
  return {
    ...plan,
    problem: few,
    staged: [],
    direct: inOrder,
    inputs: [],
    tile: { consumers, tileN, stages, why },
    shape,
    parts,
  };
}

/** Whether terms lie in tiles, each of one group where there are groups. */
export function hasTiles(loops: readonly PlannedLoop[]): boolean {
  return loops.some(({ a }) => a.tiles !== undefined);
}

/** Where groups begin among the sorted rows, and where their tiles: one for each, of those without a group, and the end. */
export function startsBytes({ over, group }: Groups, isPacked: boolean): number {
  return (over === "m" || isPacked ? 8 : 4) * (sizeOf([group]) + 2);
}

/** Products of which results need only the sum go on with each other's sums. */
function withCommonSums(kernel: GemmKernel, loops: PlannedLoop[]): { kernel: GemmKernel; loops: PlannedLoop[] } {
  const [first, second, ...others] = loops;
  const one = first?.b.length === 1 && second?.b.length === 1 && others.length === 0;
  if (!one || first.a.scale !== undefined) return { kernel, loops };
  const [kept, gone] = [first, second].map(({ b }) => kernel.products[b[0]!.product]!.name);
  const isOf = (x: Expr, name: string | undefined): boolean => x.kind === "load" && x.from === name;
  const joined = (x: Expr): Expr => {
    if (x.kind !== "op") return x;
    const [a, b] = x.operands;
    const both = (isOf(a!, kept) && isOf(b!, gone)) || (isOf(a!, gone) && isOf(b!, kept));
    if (x.op === "add" && both) return isOf(a!, kept) ? a! : b!;
    return { ...x, operands: x.operands.map(joined) };
  };
  const epilogue = kernel.epilogue.map((stmt) =>
    stmt.kind === "assign" ? { ...stmt, value: joined(stmt.value) } : stmt,
  );
  const names = (stmts: readonly Stmt[]): string[] => {
    const found: string[] = [];
    for (const stmt of stmts)
      if (stmt.kind === "assign") walk(stmt.value, (part) => part.kind === "load" && found.push(part.from));
    return found;
  };
  // Every use of one was beside a use of the other.
  const [before, after] = [names(kernel.epilogue), names(epilogue)];
  const uses = (list: readonly string[], name: string | undefined): number => list.filter((x) => x === name).length;
  if (uses(after, gone) > 0 || uses(after, kept) !== uses(before, gone)) return { kernel, loops };
  const product = first.b[0]!.product;
  return {
    kernel: { ...kernel, epilogue, products: kernel.products.filter(({ name }) => name !== gone) },
    loops: [first, { ...second, b: [{ ...second.b[0]!, product }] }],
  };
}

/** Products that share A and its terms are made in one loop. */
function loopsOf(kernel: GemmKernel): PlannedLoop[] | Refusal {
  const { groups, products } = kernel;
  const loops: PlannedLoop[] = [];
  for (const [i, given] of products.entries()) {
    const product = insideGroup(given, kernel, () => undefined);
    if (product.dtype === "f64") return { why: `${product.name} is f64` };
    if (sizeOf(product.k) < LEAST) return { why: `${sizeOf(product.k)} terms` };
    const copied = (letter: "a" | "b", batch: readonly Axis[]): Matrix | undefined =>
      matrixOf(kernel, product, letter, batch);
    // Tiles of terms of one group are copied as they are.
    const tiled = (letter: "a" | "b"): Matrix | undefined => {
      const [, inTile] = product.k;
      const matrix = inTile === undefined || usesAxis(groups!.of, inTile.name) ? undefined : copied(letter, []);
      return matrix?.tiles === undefined ? undefined : matrix;
    };
    const a =
      groups === undefined
        ? (copied("a", kernel.batch) ?? (kernel.batch.length > 0 ? undefined : gatheredOf(kernel, product, "a", "k")))
        : groups.over === "m"
          ? gatheredOf(kernel, product, "a", "k")
          : (tiled("a") ?? gatheredOf(kernel, product, "a", "outer"));
    const b =
      groups === undefined
        ? (copied("b", kernel.batch) ?? codedOf(kernel, product, kernel.batch))
        : groups.over === "m"
          ? (copied("b", [groups.group]) ?? codedOf(kernel, product, [groups.group]))
          : (tiled("b") ?? gatheredOf(kernel, product, "b", "outer"));
    const thirds = b === undefined && groups === undefined && kernel.batch.length === 0;
    const all = b === undefined ? (thirds ? thirdsMatrices(kernel, product) : undefined) : [b];
    if (a === undefined || all === undefined)
      return {
        why: `${a === undefined ? "A" : "B"} of ${product.name} is no matrix of bf16 or codes in lines of 16 bytes`,
      };
    const types = new Set([...loops.map((loop) => loop.a), a, ...all].map((x) => (x.codes ? "bf16" : x.arg.dtype)));
    if (types.size > 1) return { why: `operands are ${[...types].join(" and ")}` };
    const stored = [...all, ...loops.flatMap((loop) => loop.b.map(({ matrix }) => matrix))].map(({ codes, arg }) =>
      codes === undefined ? undefined : arg.dtype,
    );
    if (new Set(stored).size > 1) return { why: "some columns are stored as codes" };
    const scaled = [...all, ...loops.flatMap((loop) => loop.b.map(({ matrix }) => matrix))].map(
      ({ scale }) => scale?.each,
    );
    if (new Set(scaled.map((each) => each === undefined)).size > 1) return { why: "columns are scaled in two ways" };
    if (all.some((b) => (a.tiles === undefined) !== (b.tiles === undefined)))
      return { why: "terms of one operand lie in tiles" };
    if (a.scale !== undefined && ![a, ...all].every(termsAreNeighbors))
      return { why: `codes of ${product.name} whose neighbors are no terms` };
    const same = loops.findIndex((loop) => isSame(loop.k, product.k) && isSame(loop.a, a));
    const own = all.map((matrix) => ({ product: i, matrix }));
    if (same < 0) loops.push({ k: product.k, a, b: own });
    else loops[same] = { ...loops[same]!, b: [...loops[same]!.b, ...own] };
  }
  return loops;
}

function storesOf({ epilogue }: GemmKernel): (Stmt & { kind: "assign" })[] | Refusal {
  const stores: (Stmt & { kind: "assign" })[] = [];
  for (const stmt of epilogue) {
    if (stmt.kind !== "assign" || stmt.axes.length > 0) return { why: "its results are summed again" };
    stores.push(stmt);
  }
  return stores;
}

function stagedOf(kernel: GemmKernel, stores: readonly (Stmt & { kind: "assign" })[]): StagedResult[] {
  const written = new Set(stores.map(({ to }) => to));
  let again = false;
  for (const { to, value } of stores)
    walk(value, (part) => (again ||= part.kind === "load" && part.from !== to && written.has(part.from)));
  // What one statement writes and another one reads must be stored by the thread that reads it.
  if (again) return [];
  return stores.flatMap((stmt): StagedResult[] => {
    const matrix = kernel.groups?.over === "m" ? storedRows(kernel, stmt) : storedMatrix(kernel, stmt);
    return matrix === undefined ? [] : [{ stmt, matrix, columns: 128 / bytesOf(matrix.arg.dtype) }];
  });
}

/** How many numbers the columns of a tile are scaled by: tiles begin at multiples of 64 columns. */
function columnScales(tileN: number): number {
  return tileN / columnsOfScale(tileN);
}

/** Columns of a tile that surely have the same scale. */
export function columnsOfScale(tileN: number): number {
  return tileN % SCALED === 0 ? SCALED : SCALED / 2;
}

/** The variable that says how many blocks of terms a loop has. */
export function countOf(loop: number): string {
  return loop === 0 ? "k_blocks" : `k_blocks_${loop}`;
}

function sizeOf(axes: readonly Axis[]): number {
  return axes.reduce((size, { extent }) => size * sizeOfExtent(extent), 1);
}

function sizeOfExtent(extent: Extent): number {
  return typeof extent === "number" ? extent : sizeOfWord(extent, TOKENS);
}

function usesAxis(expr: Expr, axis: string): boolean {
  let found = false;
  walk(expr, (part) => (found ||= part.kind === "axis" && part.axis === axis));
  return found;
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

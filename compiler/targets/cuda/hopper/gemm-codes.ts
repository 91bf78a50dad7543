/**
 * B that is stored as codes (int8 or int4, with scales in bf16 for groups of terms), columns of a term next to each other: threads of the
 * producer read codes a block ahead, and write code times scale, rounded to bf16, to where wgmma reads it. That is what all other
 * ways to multiply many rows make of them, so sums are those of the same numbers.
 */
import type { Lines } from "../../../emit/lines.ts";
import type { Arg, Axis, GemmKernel, Product } from "../../../kernel-ir/types.ts";
import { codesOf, linear } from "../../operands.ts";
import { blocksOf } from "../scale-blocks.ts";
import type { GemmPlan } from "./gemm-plan.ts";
import { fixedSize, type Printing } from "./gemm-printing.ts";
import { codesOfProduct } from "./gemm-shape.ts";
import { LINE, type Matrix } from "./tensor-maps.ts";
import { WARPGROUP } from "./schedule.ts";

/** What codes are multiplied by: a number for each column and group of terms. */
export interface CodeScales {
  readonly arg: Arg;
  /** Terms of a group; elements between groups (0 where there is one), and between batches (or groups of rows). */
  readonly group: number;
  readonly stride: number;
  readonly batch: number;
}

/** Columns that a thread has of a term: 16 bytes of bf16. */
const TOGETHER = 8;
/** Terms that a thread has at most, which are neighbors: all have the same scales. */
const MOST_TERMS = 16;
/** Blocks before it is read that a block is asked for in the second-level cache, and bytes that are asked for at a time. */
const AHEAD = 4;
const SECTOR = 32;
const BITS: Readonly<Record<string, number>> = { i8: 8, i4: 4 };

/** B of a product as codes; undefined where it is none, or not in this form. */
export function codedOf({ n, args }: GemmKernel, product: Product, batch: readonly Axis[]): Matrix | undefined {
  const place = codesOf(product.b, n, product.k, args);
  if (place.kind !== "strided" || place.scale === undefined) return undefined;
  const of = (name: string): Arg => args.find((one) => one.name === name)!;
  const [arg, scale] = [of(place.arg), of(place.scale.arg)];
  const inner = linear(product.k, place.at.k, arg.shape);
  const groups = blocksOf(product.k, place.scale.at.k, scale);
  const [codesOfBatch, scalesOfBatch] = [
    strideOf(batch, place.at.fixed, arg),
    strideOf(batch, place.scale.at.fixed, scale),
  ];
  const near = [linear(n, place.at.outer, arg.shape), linear(n, place.scale.at.outer, scale.shape)];
  if (inner === undefined || groups === undefined || codesOfBatch === undefined || scalesOfBatch === undefined)
    return undefined;
  const { length: group, stride } = groups;
  const far = [fixedSize(n), inner, codesOfBatch, stride, scalesOfBatch];
  const fits = near.every((each) => each === 1) && far.every((each) => each % TOGETHER === 0);
  if (!fits || (stride !== 0 && group % MOST_TERMS !== 0)) return undefined;
  return { arg, outer: 1, inner, batch: codesOfBatch, codes: { arg: scale, group, stride, batch: scalesOfBatch } };
}

function strideOf(batch: readonly Axis[], at: Parameters<typeof linear>[1], { shape }: Arg): number | undefined {
  if (batch.length > 0) return linear(batch, at, shape);
  return at.every((x) => x.kind === "const" && x.value === 0) ? 0 : undefined;
}

/** Bits of a code. */
export function bitsOf({ arg }: Matrix): number {
  return BITS[arg.dtype]!;
}

/** Terms of a block that a thread has. */
function termsOf(tileN: number): number {
  return (LINE * tileN) / TOGETHER / WARPGROUP;
}

/** Registers of a thread for codes of a tile, and for their scales. */
export function registersOfCodes(matrix: Matrix, tileN: number): number {
  return (termsOf(tileN) * bitsOf(matrix)) / 4 + 4;
}

/** What the producer's threads declare. */
export function printCodeRegisters({ lines }: Printing, { loops, tile }: GemmPlan): void {
  const products = loops.flatMap(({ b }) => b.map(({ matrix }, j) => [j, matrix] as const));
  if (!products.some(([, { codes }]) => codes !== undefined)) return;
  const [chunks, terms] = [tile.tileN / TOGETHER, termsOf(tile.tileN)];
  for (const [j, matrix] of new Map(products))
    lines.add(`unsigned ${codesOfProduct(j)}[${terms}][${bitsOf(matrix) / 4}], factors${j}[4];`);
  lines.add(
    `// A thread has ${TOGETHER} columns of ${terms} terms of a block.`,
    `const int chunk = thread % ${chunks}, own_term = thread / ${chunks} * ${terms};`,
  );
}

/** The loop and the product that a step is of: `decode b1_0`. */
function placeOf(plan: GemmPlan, step: string): { loop: number; j: number; k: readonly Axis[]; matrix: Matrix } {
  const [, j, loop] = /b(\d+)_(\d+)$/.exec(step)!.map(Number) as [number, number, number];
  const { k, b } = plan.loops[loop]!;
  return { loop, j, k, matrix: b[j]!.matrix };
}

/** Where codes and scales of a tile's columns begin, and those of its first block. */
export function printBegin(plan: GemmPlan, printing: Printing, step: string): void {
  const { loop, j, matrix } = placeOf(plan, step);
  const { lines } = printing;
  const { arg, batch, codes } = matrix;
  const scales = codes!;
  const { groups } = plan.kernel;
  // Rows without a group have zeros, which may be multiplied by any numbers.
  const number = groups === undefined ? "at.batch" : "min(at.batch, GROUPS - 1)";
  const of = (stride: number): string => (stride === 0 ? "" : ` + (long long)${number} * ${stride}`);
  const type = arg.dtype === "i8" ? "signed char" : "unsigned char";
  const byte = (place: string): string => (arg.dtype === "i8" ? place : `(${place}) / 2`);
  const [tile, own] = [`codes_of_b${j}_${loop}`, `factors_of_b${j}_${loop}`];
  lines.add(
    `const ${type}* const ${tile} = ${arg.name} + ${byte(`at.n${of(batch)}`)};`,
    `const bf16* const ${own} = ${scales.arg.name} + at.n${of(scales.batch)};`,
  );
  lines.block(`for (int ahead = 1; ahead < ${AHEAD}; ahead++)`, () => printPrefetch(plan, lines, step, "ahead"));
  printReading(plan, lines, step, "0");
}

/** Codes of the next block, and what they are multiplied by; later ones come nearer. */
export function printRead(plan: GemmPlan, { lines }: Printing, step: string): void {
  printPrefetch(plan, lines, step, `k_block + ${AHEAD}`);
  printReading(plan, lines, step, "k_block + 1");
}

/** A block of the part of the terms that the cluster's block has, among all. */
function blockAt({ parts = 1 }: GemmPlan, block: string): string {
  const inPart = parts === 1 ? block : block === "0" ? "first_block" : `first_block + ${block}`;
  return inPart.includes(" ") ? `(${inPart})` : inPart;
}

function printReading(plan: GemmPlan, lines: Lines, step: string, block: string): void {
  const { loop, j, k, matrix } = placeOf(plan, step);
  const { inner, codes } = matrix;
  const { group, stride } = codes!;
  const { tile, kernel, shape } = plan;
  const terms = termsOf(tile.tileN);
  const size = fixedSize(k);
  const isFirst = block === "0" && (plan.parts ?? 1) === 1;
  const first = isFirst ? "own_term" : `${blockAt(plan, block)} * TILE_K + own_term`;
  const inside = [
    ...(block === "0" ? [] : [`${block} < ${shape.loops[loop]!.count}`]),
    ...(fixedSize(kernel.n) % tile.tileN === 0 ? [] : [`at.n + chunk * ${TOGETHER} < n_end`]),
  ].join(" && ");
  const count = size % LINE === 0 ? String(terms) : `max(0, min(${terms}, ${size} - first))`;
  const pitch = (inner * bitsOf(matrix)) / 8;
  const ofGroup = stride === 0 ? "" : ` + (long long)(first / ${group}) * ${stride}`;
  lines.block("", () => {
    lines.add(
      `const int first = ${first};`,
      `const int count = ${inside === "" ? count : `${inside} ? ${count} : 0`};`,
      `read_codes(${codesOfProduct(j)}, codes_of_b${j}_${loop} + (long long)first * ${pitch} + chunk * ${bitsOf(matrix)}, ${pitch}, count);`,
      `read_factors(factors${j}, factors_of_b${j}_${loop} + chunk * ${TOGETHER}${ofGroup}, count > 0);`,
    );
  });
}

/** Asks for a block in the second-level cache: from memory, codes would come later than a block is multiplied. */
function printPrefetch(plan: GemmPlan, lines: Lines, step: string, block: string): void {
  const { loop, j, k, matrix } = placeOf(plan, step);
  const { group, stride } = matrix.codes!;
  const { tile, kernel, shape } = plan;
  const pitch = (matrix.inner * bitsOf(matrix)) / 8;
  const first = `${blockAt(plan, block)} * TILE_K`;
  const isWhole = fixedSize(kernel.n) % tile.tileN === 0;
  const bytes = (each: number): string =>
    isWhole ? String((tile.tileN * each) / 8) : `(n_end - at.n) ${each < 8 ? `/ ${8 / each}` : `* ${each / 8}`}`;
  const rows = fixedSize(k) % LINE === 0 ? String(LINE) : `${fixedSize(k)} - first`;
  const groups = stride === 0 ? 1 : Math.ceil(LINE / group);
  const lasts = fixedSize(k) % LINE === 0 ? String(groups) : `(${fixedSize(k)} - first + ${group - 1}) / ${group}`;
  const bits = bitsOf(matrix);
  lines.block(`if (${block} < ${shape.loops[loop]!.count})`, () => {
    lines.add(
      `const int first = ${first};`,
      `prefetch_rows<TILE_K, ${(tile.tileN * bits) / 8 / SECTOR}>(codes_of_b${j}_${loop} + (long long)first * ${pitch}, ${pitch}, thread, ${rows}, ${bytes(bits)});`,
    );
    if (stride === 0) return;
    lines.add(
      `prefetch_rows<${groups}, ${(tile.tileN * 2) / SECTOR}>(factors_of_b${j}_${loop} + (long long)(first / ${group}) * ${stride}, ${stride * 2}, thread, ${lasts}, ${bytes(16)});`,
    );
  });
}

/** Code times scale to shared memory, as bf16. */
export function printDecode(plan: GemmPlan, { lines }: Printing, step: string): void {
  const { j, matrix } = placeOf(plan, step);
  const lineOfTerms = plan.tile.tileN === LINE ? "" : ` + chunk / ${LINE / TOGETHER} * ${2 * LINE * LINE}`;
  const own = plan.tile.tileN === LINE ? "chunk" : `chunk % ${LINE / TOGETHER}`;
  lines.add(
    `write_codes<${bitsOf(matrix)}>(shared.b${j}[stage]${lineOfTerms}, own_term, ${own}, ${codesOfProduct(j)}, factors${j});`,
  );
}

/**
 * Products of few rows, whose time is that of reading the other operand once: eight warps of a block share the terms of 32 or 64 columns,
 * each thread reads 8 or 16 bytes at a time. Products of bf16 are made by tensor cores, whose 16 rows are the columns here. Rows of
 * groups (experts) are taken by the block of the first row of each group, eight at a time.
 */
import type { GemmKernel } from "../../kernel-ir/types.ts";
import { knownSize } from "../simt/axes.ts";
import type { Part } from "../simt/dialect.ts";
import type { FewRows } from "../simt/few-rows.ts";
import { EIGHT, KEPT, stagedTerms, type Stream, streamOf, THREADS } from "./few-rows-plan.ts";
import { FewRowsPrinter } from "./few-rows-text.ts";

/** Columns that few blocks have. */
const FEW_COLUMNS = 1024;
/** Blocks that keep all multiprocessors of a large GPU busy. */
const ENOUGH_BLOCKS = 96;
/** So few blocks, and bytes of each from which on a tile whose terms are shared is faster: 1 x 576 x 7,168 on an H200. */
const LONELY_BLOCKS = 32;
const LONELY_BYTES = 256 * 1024;
/** Bytes of shared memory that sums may take; a block has 48 KiB without asking for more. */
const SUM_BYTES = 47 * 1024;

/** The entry point for up to 64 rows. */
export const SOME_ROWS = "some";

/** Whether one row leaves most multiprocessors idle, each of few blocks with much to read. */
export function isLonely(kernel: GemmKernel, { columns }: FewRows): boolean {
  const { n, products, batch } = kernel;
  const blocks = Math.ceil(knownSize(n)! / columns) * (knownSize(batch) ?? Infinity);
  const bytes = products.reduce((sum, { k }) => sum + knownSize(k)! * columns * 2, 0);
  return blocks <= LONELY_BLOCKS && bytes >= LONELY_BYTES;
}

/** How the products of a kernel are made of few rows; not at all where an operand is not read in lines of memory. */
export function fewRowsOf(kernel: GemmKernel, part?: Part): FewRows[] {
  const { n, groups, products } = kernel;
  const size = knownSize(n);
  if (size === undefined || groups?.over === "k") return [];
  const streams: Stream[] = [];
  for (const i of products.keys()) {
    const stream = streamOf(kernel, i);
    if (stream === undefined) return [];
    streams.push(stream);
  }
  const staged = streams.every(({ mma }) => mma) ? 0 : EIGHT * stagedTerms(products.length) * 4;
  const bytes = (columns: number): number => columns * EIGHT * KEPT * 4 * products.length + staged;
  const room = SUM_BYTES / (part?.parts ?? 1);
  if (bytes(32) > room) return [];
  // Of groups, as many as a row has, where that is known.
  const own = [...kernel.batch, ...(groups === undefined ? [] : kernel.m)];
  const batches = knownSize(own.filter(({ extent }) => typeof extent === "number"))!;
  // Products of different rows are read one behind the other, and the sums of all of them wait in registers.
  const sameRows = new Set(products.map(({ a, k }) => JSON.stringify([a, k]))).size === 1;
  const wide = streams.every(({ mma }) => mma) && products.length <= 2 && sameRows && bytes(64) <= room;
  const columns = wide && Math.ceil(size / 64) * batches >= ENOUGH_BLOCKS ? 64 : 32;
  const fits = streams.every(({ weights }) => weights.outer !== 1 || size % (columns / 8) === 0);
  if (!fits) return [];
  const way = (name: string, most: number, eights: number): FewRows => {
    const shape = { name, columns, eights };
    const print: FewRows["print"] = (frame, parts) => new FewRowsPrinter(frame, kernel, streams, shape, parts).print();
    return { name, most, threads: THREADS, rows: EIGHT * eights, columns, print };
  };
  if (groups !== undefined) return [way("few", EIGHT * (groups.group.extent as number), 1)];
  // Without tensor cores, every eight rows read all again: from the cache, where that is little.
  if (!streams.every(({ mma }) => mma)) return [way("few", size <= FEW_COLUMNS ? 8 * EIGHT : 2 * EIGHT, 1)];
  return [way("few", EIGHT, 1), way(SOME_ROWS, 8 * EIGHT, 4)];
}

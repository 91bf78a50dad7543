/** Operands that the copy engine can't reach: threads copy lines of 16 bytes from wherever rows, or terms, lie. */
import type { Axis } from "../../../kernel-ir/types.ts";
import type { Printing } from "./gemm-printing.ts";
import { bytesOf, LINE_BYTES, type Matrix } from "./tensor-maps.ts";

/** Terms of a block that a warp gathers: a quarter of them. */
const TERMS_OF_WARP = 16;

/**
 * In front of a loop: where rows that a tile needs lie, which stay the same.
 * @param order the array of sorted rows' numbers, where there are groups
 */
export function printRows(
  printing: Printing,
  m: readonly Axis[],
  matrix: Matrix,
  tile: number,
  order: string | undefined,
  name: string,
): void {
  const { lines } = printing;
  const count = tile / ROWS_AT_ONCE;
  const [end, row] =
    order === undefined ? ["m_end", (at: string) => at] : ["at.end", (at: string) => `${order}[${at}]`];
  lines.add(
    "// Where this thread's rows begin, in lines of 16 bytes: those beyond the end are as the last one.",
    `int ${name}[${count}];`,
    "#pragma unroll",
  );
  lines.block(`for (int i = 0; i < ${count}; i++)`, () => {
    lines.add(`const int row = ${row(`min(at.m + thread / 8 + i * ${ROWS_AT_ONCE}, ${end} - 1)`)};`);
    printing.unpack(m, "row", matrix.gathered!);
    lines.add(
      `${name}[i] = (int)((${printing.offset(matrix.arg.name, matrix.gathered!)}) / ${elementsOf(matrix)}) + thread % 8;`,
    );
  });
}

/** Elements of a line of 16 bytes. */
export function elementsOf({ arg }: Matrix): number {
  return 16 / bytesOf(arg.dtype);
}

/** Rows that the threads of a warpgroup copy at a time, eight of them 128 bytes. */
const ROWS_AT_ONCE = 16;

/**
 * Copies of 128 bytes of rows.
 * @param rows what `printRows` made
 * @param from how many lines behind the begin of rows they lie
 * @param bytes 16, or 0 where there is nothing
 * @param thread the name of the thread's number
 */
export function printGatherRows(
  { lines }: Printing,
  matrix: Matrix,
  to: string,
  tile: number,
  rows: string,
  from: string,
  bytes: string,
  thread = "thread",
): void {
  lines.add("#pragma unroll");
  lines.block(`for (int i = 0; i < ${tile / ROWS_AT_ONCE}; i++)`, () => {
    lines.add(
      `unsigned char* const line_to = ${to} + i * ${ROWS_AT_ONCE * LINE_BYTES} + ${thread} / 8 * ${LINE_BYTES} + (${thread} % 8 ^ ${thread} / 8 % 8) * 16;`,
    );
    const place = `(long long)(${rows}[i] + ${from}) * ${elementsOf(matrix)}`;
    lines.add(`cp_async_16(line_to, ${matrix.arg.name} + ${place}, ${bytes});`);
  });
}

/** In front of a loop over blocks of sorted terms: the first one of each lane. */
export function printFirstTerms({ lines }: Printing, order: string): void {
  lines.add(
    `// A warp gathers ${TERMS_OF_WARP} terms of a block. Its lanes know where they lie, and look for those of the next block in time.`,
    `int sorted = at.first + warp * ${TERMS_OF_WARP} + lane % ${TERMS_OF_WARP};`,
    `int next = sorted < at.end ? ${order}[sorted] : -1;`,
  );
}

/** In each turn of that loop. */
export function printTerms({ lines }: Printing, order: string): void {
  lines.add(
    "const int term = next, lane_now = anew(lane);",
    "sorted += TILE_K;",
    `next = sorted < at.end ? ${order}[sorted] : -1;`,
  );
}

/** Copies of terms whose rows (or columns) are neighbors: 64 of these lie behind each other in shared memory. */
export function printGatherTerms(
  printing: Printing,
  k: readonly Axis[],
  matrix: Matrix,
  to: string,
  tile: number,
  first: string,
  end: string | undefined,
): void {
  const { lines } = printing;
  const lanes = tile / 8;
  printing.unpack(k, "term", matrix.gathered!);
  lines.add(
    `const int place = term < 0 ? -1 : (int)((${printing.offset(matrix.arg.name, matrix.gathered!)}) / 8);  // in lines of 16 bytes`,
    "#pragma unroll",
  );
  lines.block(`for (int i = 0; i < ${(TERMS_OF_WARP * lanes) / 32}; i++)`, () => {
    lines.add(`const int own = (i * 32 + lane_now) / ${lanes}, line = (i * 32 + lane_now) % ${lanes};`);
    lines.add("const int from = __shfl_sync(0xffffffffu, place, own);");
    const inside = end === undefined ? "" : ` && ${first} + line * 8 < ${end}`;
    lines.add(`const bool there = from >= 0${inside};`);
    lines.add(
      `unsigned char* const line_to = ${to} + line / 8 * ${LINE_BYTES} * TILE_K + (warp * ${TERMS_OF_WARP} + own) * ${LINE_BYTES} + (line ^ own) % 8 * 16;`,
    );
    lines.add(
      `cp_async_16(line_to, ${matrix.arg.name} + (there ? (long long)from * 8 + ${first} + line * 8 : 0), there ? 16 : 0);`,
    );
  });
}

/**
 * Columns of a long cache, shared out among blocks: with few rows, as a step of generation has them, there are fewer tiles than
 * multiprocessors. Each share keeps its sums, largest scores and sums of exponentials in memory, and another entry point combines them
 * (flash-decoding; the rule for how many there are is that of FlashAttention's `num_splits_heuristic`).
 */
import type { Entry, Scratch } from "../../../../runtime/program/grids.ts";
import { Lines } from "../../../emit/lines.ts";
import type { Axis } from "../../../kernel-ir/types.ts";
import { CUDA_DIALECT } from "../dialect.ts";
import { parametersOf, signature } from "../file.ts";
import { storageType } from "../language.ts";
import { tidied } from "../tidy.ts";
import { type AttentionPlan, scalarsOf } from "./attention-plan.ts";
import { AttentionText } from "./attention-text.ts";
import { extentsOf } from "./tensor-maps.ts";

/** Multiprocessors of an H100 or H200 (SXM). */
export const PROCESSORS = 132;
/** Tiles and shares of them, at most: two waves. */
export const MOST_SHARES = 2 * PROCESSORS;
/** Blocks of columns that are worth a share of their own: what it keeps is about as much as it reads of them. */
export const LEAST_BLOCKS = 4;
/** Percent of the most that any number of shares keeps busy; the fewest shares that reach it are taken. */
export const GOOD = 85;

/** Threads of a block that combines, each with four neighboring results, and blocks of them at a time. */
const COMBINERS = 128;
const COMBINING = 8 * PROCESSORS;

/** The entry point that combines. */
const COMBINE = "combine";

/**
 * Shares of a tile's columns.
 * @param blocks of columns that a tile has, about
 */
export function sharesOf(tiles: number, blocks: number): number {
  const most = Math.max(1, Math.min(Math.floor(MOST_SHARES / tiles), Math.floor(blocks / LEAST_BLOCKS)));
  // Thousandths, as integers, as the device computes them.
  const busy = (n: number): number =>
    Math.floor((tiles * n * 1000) / (Math.ceil((tiles * n) / PROCESSORS) * PROCESSORS));
  const all = Array.from({ length: most }, (_, i) => i + 1);
  const best = Math.max(...all.map(busy));
  return all.find((n) => busy(n) * 100 >= best * GOOD)!;
}

/** The same on the device: tiles of the launch, and columns of a tile's tokens when all tokens have as many. */
export function sharesCall({ kernel, shape }: AttentionPlan, tileRows: number): string {
  const [tokens, ...others] = kernel.rows as [Axis, ...Axis[]];
  const heads = others.reduce((n, { extent }) => (typeof extent === "number" ? n * extent : n), 1);
  const own = `min(${tokens.extent}, ${Math.max(1, Math.ceil(tileRows / heads))})`;
  const columns = `(long long)${kernel.column.extent} * ${own} / max(1, ${tokens.extent})`;
  const rule = [PROCESSORS, MOST_SHARES, LEAST_BLOCKS, GOOD].join(", ");
  return `shares_of(row_tiles${kernel.batch.length === 0 ? "" : " * heads"}, (int)(${columns} / ${shape.columns}), ${rule})`;
}

/** Sums of shares, and of each row the largest score and the sum of exponentials. */
export function splitScratch(width: number, tileRows: number): Scratch[] {
  return [
    { shape: [MOST_SHARES, tileRows, width], each: false, dtype: "f32" },
    { shape: [MOST_SHARES, tileRows, 2], each: false, dtype: "f32" },
  ];
}

/** The rows of a tile's share among all that are kept. */
export const KEPT_ROWS = "((at.head * row_tiles + at.m / ROWS) * shares + share) * ROWS";

/** Stores the sums of the thread's rows, from `row` of the tile and `first` of their elements on. */
export function keepSums(row: string, first: string, width: number, sums: string): string {
  return `keep_share(partials + (${KEPT_ROWS} + ${row}) * ${width} + ${first}column, ${width}, ${sums});`;
}

/** Stores the largest score and the sum of exponentials of the thread's rows. */
export function keepMarks(row: string): string {
  return `keep_marks(marks + (${KEPT_ROWS} + ${row}) * 2, peaks, total);`;
}

/** The file of the entry point that combines, and what a table says of it. */
export function printCombine(
  plan: AttentionPlan,
  tileRows: number,
  scratch: readonly Scratch[],
  before: NonNullable<Entry["before"]>,
  header: readonly string[],
): { readonly text: string; readonly entry: Omit<Entry, "only" | "file"> } {
  const { kernel, shape, sum, after, factor, results } = plan;
  const { width } = shape;
  const lines = new Lines();
  const names = CUDA_DIALECT.names([...kernel.args, ...scalarsOf(plan)]);
  const text = new AttentionText(plan, lines, names);
  const together = Math.max(1, Math.floor((4 * COMBINERS) / width));
  lines.add(...header.map((line) => `// ${line}`.trimEnd()), '#include "dsk_sm90.cuh"', "");
  lines.add(`constexpr int ROWS = ${tileRows};`, "// Of a score, for powers of 2.");
  lines.add(`constexpr float SCALE = ${(plan.scale * Math.LOG2E).toPrecision(9)}f;`, "");
  const parameters = [
    "int items",
    "int items_before",
    ...parametersOf(kernel),
    ...scratch.slice(0, -2).map(({ dtype = "i32" }, i) => `${storageType(dtype)}* unused_${i}`),
    "const float* __restrict__ partials",
    "const float* __restrict__ marks",
  ];
  const head = `extern "C" __global__ void __launch_bounds__(${COMBINERS}, 4) ${kernel.name}_${COMBINE}`;
  lines.block(signature(head, parameters), () => {
    lines.add(`const int m_end = ${text.rowCount}, heads = ${text.headCount}, row_tiles = (m_end + ROWS - 1) / ROWS;`);
    lines.add(`const int shares = ${sharesCall(plan, tileRows)};`, "if (shares == 1) return;  // results are there");
    lines.add(`const int own = threadIdx.x / ${width / 4}, column = threadIdx.x % ${width / 4} * 4;`);
    lines.add(`if (own >= ${together}) return;`);
    const tiles = `(m_end + ${together - 1}) / ${together}`;
    lines.block(`for (int item = blockIdx.x; item < ${tiles} * heads; item += gridDim.x)`, () => {
      lines.add(`const int m = item % (${tiles}) * ${together} + own, head = item / (${tiles});`);
      lines.add("if (m >= m_end) continue;");
      lines.add("const long long first = (long long)(head * row_tiles + m / ROWS) * shares * ROWS + m % ROWS;");
      lines.add("float largest = -infinity();");
      lines.add("for (int i = 0; i < shares; i++) largest = fmaxf(largest, marks[(first + (long long)i * ROWS) * 2]);");
      lines.add("const float base = largest == -infinity() ? 0.0f : largest * SCALE;");
      lines.add(`float ${sum} = 0.0f, sums[4] = {};`, "#pragma unroll 4");
      lines.block("for (int i = 0; i < shares; i++)", () => {
        lines.add("const long long place = first + (long long)i * ROWS;");
        lines.add("const float weight = power_of_2(marks[place * 2] * SCALE - base);");
        lines.add(`const float4 kept = *reinterpret_cast<const float4*>(partials + place * ${width} + column);`);
        lines.add(`${sum} += weight * marks[place * 2 + 1];`);
        const parts = ["x", "y", "z", "w"];
        lines.add(`${parts.map((part, i) => `sums[${i}] += weight * kept.${part}`).join(", ")};`);
      });
      text.unpackBatch("head");
      text.unpackRows("m");
      const scalars = text.plane.scalars([...after.map(({ value }) => value), factor]);
      for (const { to, value } of after) lines.add(`const float ${to} = ${scalars.print(value)};`);
      lines.add(`const float factor = ${scalars.print(factor)};`);
      lines.add(`bf16* const to = ${text.plane.place(results)} + column;`);
      lines.add(
        "*reinterpret_cast<uint2*>(to) = uint2{pack_bf16(sums[0] * factor, sums[1] * factor), pack_bf16(sums[2] * factor, sums[3] * factor)};",
      );
    });
  });
  const workgroups = [{ of: extentsOf(kernel.batch) }, { of: extentsOf(kernel.rows), by: together }];
  return {
    text: tidied(lines.text()),
    entry: { name: COMBINE, workgroupSize: COMBINERS, workgroups, most: COMBINING, before },
  };
}

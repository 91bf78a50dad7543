/**
 * Products of groups (experts): rows, or terms, are sorted by their group first; threads gather them from where they lie. What
 * stands here is printed for kernels with groups only.
 */
import type { Scratch } from "../../../../runtime/program/grids.ts";
import type { Axis, GemmKernel, Groups } from "../../../kernel-ir/types.ts";
import type { Printing } from "./gemm-printing.ts";
import { bytesOf, LINE_BYTES, type Matrix, termsAreNeighbors } from "./tensor-maps.ts";

/** Threads of a block that sorts: each block finds the rows of one group. */
export const SORTERS = 256;

/** What is sorted: all rows, or all terms. */
export function sortedAxes({ m, products, groups }: GemmKernel): readonly Axis[] {
  return groups!.over === "m" ? m : products[0]!.k;
}

/** Arrays in the arena: the sorted rows' numbers, and where groups begin among them. */
export function groupScratch(kernel: GemmKernel): Scratch[] {
  const { group } = kernel.groups!;
  const count = group.extent as number;
  return [
    { shape: sortedAxes(kernel).map(({ extent }) => extent), each: false, dtype: "i32" },
    { shape: [count + 2], each: false, dtype: "i32" },
  ];
}

/** `place_of` with groups: those of rows are found by where their tiles begin; those of terms are batches. */
export function groupRaster({ over, group }: Groups, raster: number): string[] {
  const count = group.extent as number;
  if (over === "k")
    return [
      "// A tile's terms are those of its group, from `first` to `end` in their order.",
      "struct Place {",
      "  int m, n, batch, first, end;",
      "};",
      "DSK_INLINE Place place_of(int tile, int rows, int columns, const int* starts) {",
      "  const int group = tile / (rows * columns), i = tile % (rows * columns);",
      `  const int first = i / (${raster} * columns) * ${raster}, height = min(${raster}, rows - first), j = i - first * columns;`,
      "  return {(first + j % height) * TILE_M, j / height * TILE_N, group, starts[group], starts[group + 1]};",
      "}",
    ];
  return [
    "// A tile has rows of one group, from `m` in their order to `end` at most. The tiles of a group begin at starts / TILE_M",
    "// + group: that leaves each enough of them, whatever the groups before have. The last group are rows without one.",
    "struct Place {",
    "  int m, n, batch, end;",
    "};",
    "DSK_INLINE Place place_of(int tile, int rows, int columns, const int* starts) {",
    `  const int first = tile / (${raster} * columns) * ${raster}, height = min(${raster}, rows - first), j = tile - first * columns;`,
    "  const int row = first + j % height;",
    `  int group = 0, above = ${count + 1};`,
    "  while (group + 1 < above) {",
    "    const int middle = (group + above) / 2;",
    "    if (starts[middle] / TILE_M + middle <= row) group = middle;",
    "    else above = middle;",
    "  }",
    "  const int m = starts[group] + (row - starts[group] / TILE_M - group) * TILE_M;",
    "  return {m, j / height * TILE_N, group, starts[group + 1]};",
    "}",
  ];
}

/** The body of the entry point that sorts: block g counts rows of groups before g, then writes down its own in their order. */
export function printSort(kernel: GemmKernel, printing: Printing, order: string, starts: string): void {
  const { lines } = printing;
  const groups = kernel.groups!;
  const count = groups.group.extent as number;
  const axes = sortedAxes(kernel);
  lines.add("__shared__ int counts[8];");
  lines.add("const int own = blockIdx.x, thread = threadIdx.x, warp = thread / 32, lane = thread % 32;");
  lines.add(`const int sorted_end = ${axes.map(({ extent }) => String(extent)).join(" * ")};`);
  lines.add(`// The group of a row; ${count} for none.`);
  lines.block(
    "const auto group_of = [&](int i)",
    () => {
      printing.unpack(axes, "i", [groups.of]);
      lines.add(`const int group = ${printing.scalars([groups.of]).print(groups.of)};`);
      lines.add(`return group < 0 || group >= ${count} ? ${count} : group;`);
    },
    "};",
  );
  lines.add("int before = 0;");
  lines.add(`for (int i = thread; i < sorted_end; i += ${SORTERS}) before += group_of(i) < own;`);
  lines.add("int at = over_block<Sum, 256>(before);");
  lines.add(`if (thread == 0) ${starts}[own] = at;`);
  lines.add(`if (thread == 0 && own == ${count}) ${starts}[own + 1] = sorted_end;`);
  lines.block(`for (int first = 0; first < sorted_end; first += ${SORTERS})`, () => {
    lines.add("const bool mine = first + thread < sorted_end && group_of(first + thread) == own;");
    lines.add("const unsigned found = __ballot_sync(0xffffffffu, mine);");
    lines.add("if (lane == 0) counts[warp] = __popc(found);", "__syncthreads();");
    lines.add("int all = 0, earlier = 0;");
    lines.block("for (int i = 0; i < 8; i++)", () => {
      lines.add("earlier += i < warp ? counts[i] : 0;", "all += counts[i];");
    });
    lines.add(
      `if (mine) ${order}[at + earlier + __popc(found & ((1u << lane) - 1))] = first + thread;`,
      "at += all;",
      "__syncthreads();",
    );
  });
}

/** Elements of a line of 16 bytes. */
function elementsOf({ arg }: Matrix): number {
  return 16 / bytesOf(arg.dtype);
}

/** Lines of 16 bytes that a thread copies: of how many rows, and how they follow each other. */
function linesOf(
  matrix: Matrix,
  tile: number,
  terms: number,
): { rows: number; lines: number; step: number; count: number } {
  const [rows, length] = termsAreNeighbors(matrix) ? [tile, terms] : [terms, tile];
  const lines = length / elementsOf(matrix);
  const step = 128 / lines;
  return { rows, lines, step, count: rows / step };
}

/** In front of a loop over terms: where the rows of A lie, which stay the same. */
export function printRowOffsets(
  printing: Printing,
  m: readonly Axis[],
  matrix: Matrix,
  tile: number,
  terms: number,
  order: string,
  loop: string,
): void {
  const { lines } = printing;
  const { step, count } = linesOf(matrix, tile, terms);
  lines.add("// Where this thread's rows of A begin; -1 where there is none.", `long long from_${loop}[${count}];`);
  lines.add("#pragma unroll");
  lines.block(`for (int i = 0; i < ${count}; i++)`, () => {
    lines.add(`const int at_row = at.m + thread / ${128 / step} + i * ${step};`);
    lines.add(`const int row = ${order}[min(at_row, at.end - 1)];`);
    printOffset(printing, m, matrix, "row", `from_${loop}[i]`);
    lines.add(`if (at_row >= at.end || at.batch == GROUPS) from_${loop}[i] = -1;`);
  });
}

function printOffset(
  printing: Printing,
  axes: readonly Axis[],
  { arg, gathered }: Matrix,
  row: string,
  to: string,
): void {
  printing.unpack(axes, row, gathered!);
  printing.lines.add(`${to} = ${printing.offset(arg.name, gathered!)};`);
}

/** Copies of rows whose terms are neighbors, with the offsets that `printRowOffsets` made. */
export function printGatherRows(
  { lines }: Printing,
  matrix: Matrix,
  to: string,
  tile: number,
  terms: number,
  k: string,
  loop: string,
): void {
  const { step, count } = linesOf(matrix, tile, terms);
  lines.add("#pragma unroll");
  lines.block(`for (int i = 0; i < ${count}; i++)`, () => {
    const lanes = 128 / step;
    lines.add(
      `const int own = thread / ${lanes} + i * ${step}, line = thread % ${lanes}, k = k_block * TILE_K + line * ${elementsOf(matrix)};`,
    );
    lines.add(`const long long from = k < ${k} && from_${loop}[i] >= 0 ? from_${loop}[i] + k : -1;`);
    lines.add(`unsigned char* const line_to = ${to} + own * 128 + (line ^ own % 8) * 16;`);
    lines.add(`cp_async_16(line_to, ${matrix.arg.name} + (from < 0 ? 0 : from), from < 0 ? 0 : 16);`);
  });
}

/** Copies of terms whose rows (or columns) are neighbors: 64 of these lie behind each other in shared memory. */
export function printGatherTerms(
  printing: Printing,
  k: readonly Axis[],
  matrix: Matrix,
  to: string,
  tile: number,
  terms: number,
  order: string,
  first: string,
  end: string,
): void {
  const { lines } = printing;
  const { step, count } = linesOf(matrix, tile, terms);
  const lanes = 128 / step;
  lines.block(`for (int i = 0; i < ${count}; i++)`, () => {
    lines.add(`const int own = thread / ${lanes} + i * ${step}, line = thread % ${lanes};`);
    lines.add(
      `const int at_term = at.first + k_block * TILE_K + own, outer = ${first} + line * ${elementsOf(matrix)};`,
    );
    lines.add(`const bool there = at_term < at.end && outer < ${end};`);
    lines.add(`const int term = there ? ${order}[at_term] : 0;`);
    lines.add("long long from;");
    printOffset(printing, k, matrix, "term", "from");
    lines.add(
      `unsigned char* const line_to = ${to} + line / 8 * ${LINE_BYTES * terms} + own * 128 + (line ^ own) % 8 * 16;`,
    );
    lines.add(`cp_async_16(line_to, ${matrix.arg.name} + from + (there ? outer : 0), there ? 16 : 0);`);
  });
}

/** Copies of staged rows to where they lie: a warp has those that it staged, eight lanes a row. */
export function printScatter(
  printing: Printing,
  m: readonly Axis[],
  matrix: Matrix,
  columns: number,
  order: string,
): void {
  const { lines } = printing;
  const { arg, gathered } = matrix;
  const type = arg.dtype === "f32" ? "float" : arg.dtype;
  lines.add("#pragma unroll");
  lines.block("for (int i = 0; i < 4; i++)", () => {
    lines.add("const int own = warp * 16 + i * 4 + lane / 8, line = lane % 8, at_row = at.m + part * 64 + own;");
    lines.add(`const int n = at.n + slice * ${columns} + line * ${columns / 8};`);
    lines.block("if (at_row < at.end && n < n_end)", () => {
      lines.add(`const int m = ${order}[at_row];`);
      printing.unpack(m, "m", gathered!);
      lines.add(`${type}* const to = ${arg.name} + (${printing.offset(arg.name, gathered!)}) + n;`);
      lines.add(
        "*reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(shared.staged[part][stored] + own * 128 + (line ^ own % 8) * 16);",
      );
    });
  });
}

/**
 * Products of groups (experts): rows, or terms, are sorted by their group first, and gathered from where they lie
 * (gemm-gathers.ts). What stands here is printed for kernels with groups only.
 */
import type { Scratch } from "../../../../runtime/program/grids.ts";
import type { Lines } from "../../../emit/lines.ts";
import type { Axis, GemmKernel, Groups, Product } from "../../../kernel-ir/types.ts";
import { printSortOfGroups } from "../sort.ts";
import type { Printing } from "./gemm-printing.ts";
import { LINE_BYTES, type Matrix } from "./tensor-maps.ts";

/** What is sorted: all rows, or all terms; of these, where they lie in tiles of one group each, the tiles. */
function sortedAxes({ m, products, groups }: GemmKernel, ofTiles: boolean): readonly Axis[] {
  const [{ k }] = products as readonly [Product];
  return groups!.over === "m" ? m : ofTiles ? k.slice(0, 1) : k;
}

/** Arrays in the arena: the sorted rows' numbers, and where groups begin among them. */
export function groupScratch(kernel: GemmKernel, ofTiles: boolean): Scratch[] {
  const { group } = kernel.groups!;
  const count = group.extent as number;
  return [
    { shape: sortedAxes(kernel, ofTiles).map(({ extent }) => extent), each: false, dtype: "i32" },
    { shape: [count + 2], each: false, dtype: "i32" },
  ];
}

/** `place_of` with groups: those of rows have as many tiles as their rows need; those of terms are batches. */
export function groupRaster({ over }: Groups, raster: number, isPacked: boolean): string[] {
  if (isPacked)
    return [
      "// A tile's terms are the blocks of its group, from `first` to `end`; a group of none has one that lies outside.",
      "struct Place {",
      "  int m, n, batch, first, end;",
      "};",
      "DSK_INLINE Place place_of(int tile, int rows, int columns, const int* tiles) {",
      "  const int group = tile / (rows * columns), i = tile % (rows * columns);",
      `  const int first = i / (${raster} * columns) * ${raster}, height = min(${raster}, rows - first), j = i - first * columns;`,
      "  const bool none = tiles[group] == tiles[group + 1];",
      "  return {(first + j % height) * TILE_M, j / height * TILE_N, group, none ? -1 : tiles[group], none ? 0 : tiles[group + 1]};",
      "}",
    ];
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
    "// A tile has rows of one group, from `m` in their order to `end` at most; `tiles` rows of tiles are before those of a group.",
    `// What runs at once shares A and B in the second-level cache: ${raster} rows of a group's tiles follow each other column by column.`,
    "// The last group are rows without one.",
    "struct Place {",
    "  int m, n, batch, end;",
    "};",
    "DSK_INLINE Place place_of(int tile, int columns, const int* starts, const int* tiles) {",
    "  int group = 0, above = GROUPS + 1;",
    "  while (group + 1 < above) {",
    "    const int middle = (group + above) / 2;",
    "    if (tiles[middle] * columns <= tile) group = middle;",
    "    else above = middle;",
    "  }",
    "  const int rows = tiles[group + 1] - tiles[group], i = tile - tiles[group] * columns;",
    `  const int first = i / (${raster} * columns) * ${raster}, height = min(${raster}, rows - first), j = i - first * columns;`,
    "  return {starts[group] + (first + j % height) * TILE_M, j / height * TILE_N, group, starts[group + 1]};",
    "}",
  ];
}

/**
 * What a block does first: it notes where groups begin and, for groups of rows, how many rows of tiles are before each.
 * @param tile how many of them a tile has, when tiles are counted
 */
export function printStarts(lines: Lines, starts: string, tile: string | undefined): void {
  lines.add(`for (int i = threadIdx.x; i < GROUPS + 2; i += blockDim.x) shared.starts[i] = ${starts}[i];`);
  if (tile === undefined) return;
  lines.block("if (threadIdx.x < 32)", () => {
    lines.add("int before = 0;");
    lines.block("for (int first = 0; first < GROUPS + 2; first += 32)", () => {
      lines.add(`const int group = first + lane, next = min(group, GROUPS) + 1;`);
      lines.add(
        `const int own = group > GROUPS ? 0 : (${starts}[next] - ${starts}[next - 1] + ${tile} - 1) / ${tile};`,
        "int sum = own;",
      );
      lines.block("for (int distance = 1; distance < 32; distance *= 2)", () => {
        lines.add("const int below = __shfl_up_sync(0xffffffffu, sum, distance);");
        lines.add("if (lane >= distance) sum += below;");
      });
      lines.add("if (group < GROUPS + 2) shared.tiles[group] = before + sum - own;");
      lines.add("before += __shfl_sync(0xffffffffu, sum, 31);");
    });
  });
}

/** The body of the entry point that sorts. */
export function printSort(
  kernel: GemmKernel,
  printing: Printing,
  order: string,
  starts: string,
  ofTiles: boolean,
): void {
  const { of, group } = kernel.groups!;
  const axes = sortedAxes(kernel, ofTiles);
  const size = axes.map(({ extent }) => String(extent)).join(" * ");
  printing.lines.add("const int thread = threadIdx.x;");
  const sorting = { size, groups: group.extent as number, order, starts, thread: "thread", lane: "lane" };
  printSortOfGroups(printing.lines, sorting, () => {
    printing.unpack(axes, "i", [of]);
    return printing.scalars([of]).print(of);
  });
}

/** In front of a loop over tiles of terms, and in each turn: which tile it is, -1 of a group that has none. The next one is on its way. */
export function printFirstTile({ lines }: Printing, order: string): void {
  lines.add(`int next = at.first < at.end ? ${order}[at.first] : -1;  // the tile of terms that comes next`);
}

export function printTile({ lines }: Printing, order: string): void {
  lines.add(
    "const int block = next, behind = at.first + k_block + 1;",
    `if (behind < at.end) next = ${order}[behind];`,
  );
}

/** The rows that a lane copies: a warp has those that it staged, eight lanes a row. */
export function printScattered({ lines }: Printing, order: string): void {
  lines.add("// Rows that this lane copies, or -1.", "int scattered[4];", "#pragma unroll");
  lines.block("for (int i = 0; i < 4; i++)", () => {
    lines.add("const int at_row = at.m + part * 64 + warp * 16 + i * 4 + lane / 8;");
    lines.add(`scattered[i] = at_row < at.end ? ${order}[at_row] : -1;`);
  });
}

/** Copies of a warp's staged rows to where they lie; `at.n + slice * 64` is their first column, or further. */
export function printScatter(printing: Printing, m: readonly Axis[], matrix: Matrix, n: string, columns: number): void {
  const { lines } = printing;
  const { arg, gathered } = matrix;
  const type = arg.dtype === "f32" ? "float" : arg.dtype;
  lines.add("#pragma unroll");
  lines.block("for (int i = 0; i < 4; i++)", () => {
    lines.add("const int own = warp * 16 + i * 4 + lane / 8, line = lane % 8, m = anew(scattered[i]);");
    lines.add(`const int n = ${n} + line * ${columns / 8};`);
    lines.block("if (m >= 0 && n < n_end)", () => {
      printing.unpack(m, "m", gathered!);
      lines.add(`${type}* const to = ${arg.name} + (${printing.offset(arg.name, gathered!)}) + n;`);
      lines.add(
        `*reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(shared.staged[part] + own * ${LINE_BYTES} + (line ^ own % 8) * 16);`,
      );
    });
  });
}

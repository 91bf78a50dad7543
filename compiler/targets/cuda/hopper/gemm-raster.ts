/** The order of tiles: where the one with a number lies. */
import { groupRaster } from "./gemm-groups.ts";
import type { GemmPlan } from "./gemm-plan.ts";
import { fewRaster } from "./gemm-split.ts";

/** Rows of tiles that follow each other column by column. */
const RASTER = 8;

/** The function `place_of`. */
export function rasterOf({ kernel: { groups }, parts, packed }: GemmPlan): string[] {
  if (parts !== undefined) return fewRaster();
  return groups === undefined ? denseRaster() : groupRaster(groups, RASTER, packed !== undefined);
}

function denseRaster(): string[] {
  return [
    `// What runs at once shares A and B in the second-level cache: ${RASTER} rows of tiles follow each other column by column.`,
    "struct Place {",
    "  int m, n, batch;",
    "};",
    "DSK_INLINE Place place_of(int tile, int rows, int columns) {",
    "  const int batch = tile / (rows * columns), i = tile % (rows * columns);",
    `  const int first = i / (${RASTER} * columns) * ${RASTER}, height = min(${RASTER}, rows - first), j = i - first * columns;`,
    "  return {(first + j % height) * TILE_M, j / height * TILE_N, batch};",
    "}",
  ];
}

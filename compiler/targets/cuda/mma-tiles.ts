/**
 * Tiles of matrix products of bf16 for the tensor cores that every GPU from sm_80 on has (mma.m16n8k16, sums in f32): what Hopper's
 * own way does not take, and all of them elsewhere. Operands are computed to shared memory, whatever expressions they are.
 */
import { dtypeOf } from "../../kernel-ir/expr.ts";
import type { Kernel } from "../../kernel-ir/types.ts";
import { DEPTH, TILE, type Tiles } from "../simt/tiles.ts";
import { TILES } from "./tiles.ts";

/** Elements of a row in shared memory: 80 bytes bring eight rows of a matrix to different banks. */
const PITCH = DEPTH + 8;

/** Whether all operands are bf16, so that tensor cores lose nothing. */
export function multipliesBf16(kernel: Kernel): boolean {
  if (kernel.family !== "gemm") return false;
  return kernel.products.every(({ a, b, dtype }) => dtype !== "f64" && dtypeOf(a) === "bf16" && dtypeOf(b) === "bf16");
}

/** Rows of the tile that a warp has; a thread has as many sums as it would have by itself. */
function rowsOfWarp(rows: number): number {
  return 4 * rows;
}

// Most products of these have an entry point for Hopper; that for other GPUs takes no memory beside it.
const { enough: _, ...TILES_OF_ALL } = TILES;

export const MMA_TILES: Tiles = {
  ...TILES_OF_ALL,
  operands(frame) {
    for (const letter of ["a", "b"])
      frame.share(`tile_${letter}`, `__shared__ __align__(16) bf16 tile_${letter}[${TILE}][${PITCH}];`);
  },
  sums: ({ lines }, i, rows) => lines.add(`float p${i}[${rowsOfWarp(rows) / 16}][8][4] = {};`),
  load({ lines }, { letter, threads, alongTerms, term, element }) {
    // Neighboring threads read neighboring elements.
    const [k, r] = alongTerms ? [`i % ${DEPTH}`, `i / ${DEPTH}`] : [`i / ${TILE}`, `i % ${TILE}`];
    lines.add("#pragma unroll 4");
    lines.block(`for (int i = lane; i < ${DEPTH * TILE}; i += ${threads})`, () => {
      lines.add(`const int k = ${k};`, `const int r = ${r};`, `const int at = ${term("k")};`);
      lines.add(`tile_${letter}[r][k] = bf16(${element("r")});`);
    });
  },
  multiply({ lines }, product, rows) {
    const own = rowsOfWarp(rows);
    lines.add("#pragma unroll");
    lines.block(`for (int k = 0; k < ${DEPTH}; k += 16)`, () => {
      lines.add(`unsigned rows_of_a[${own / 16}][4];`, "#pragma unroll");
      lines.add(`for (int i = 0; i < ${own / 16}; i++)`);
      lines.add(
        `  ldmatrix_x4(rows_of_a[i], &tile_a[lane / 32 * ${own} + i * 16 + lane % 16][k + lane % 32 / 16 * 8]);`,
      );
      lines.add("#pragma unroll");
      lines.block("for (int j = 0; j < 4; j++)", () => {
        lines.add("unsigned columns_of_b[4];  // 16 columns: 8 with the first 8 terms and the others, then the next 8");
        lines.add("ldmatrix_x4(columns_of_b, &tile_b[j * 16 + lane % 32 / 16 * 8 + lane % 8][k + lane / 8 % 2 * 8]);");
        lines.add("#pragma unroll");
        lines.block(`for (int i = 0; i < ${own / 16}; i++)`, () => {
          lines.add(`mma_m16n8k16_bf16(p${product}[i][j * 2], rows_of_a[i], columns_of_b[0], columns_of_b[1]);`);
          lines.add(`mma_m16n8k16_bf16(p${product}[i][j * 2 + 1], rows_of_a[i], columns_of_b[2], columns_of_b[3]);`);
        });
      });
    });
  },
  results(frame, products, rows, call) {
    const { lines } = frame;
    const numbers = Array.from({ length: products }, (_, i) => i);
    const own = rowsOfWarp(rows);
    const warps = TILE / own;
    for (const i of numbers) frame.share(`slab${i}`, `__shared__ float slab${i}[${warps * 8}][${TILE + 4}];`);
    lines.add("// Eight rows of each warp at a time go through shared memory, so that neighbors store neighbors.");
    lines.add("#pragma unroll");
    lines.block(`for (int pass = 0; pass < ${own / 8}; pass++)`, () => {
      lines.add("__syncthreads();", "#pragma unroll");
      lines.block("for (int j = 0; j < 16; j++)", () => {
        const row = "lane / 32 * 8 + lane % 32 / 4";
        for (const i of numbers)
          lines.add(
            `slab${i}[${row}][j / 2 * 8 + lane % 4 * 2 + j % 2] = p${i}[pass / 2][j / 2][pass % 2 * 2 + j % 2];`,
          );
      });
      lines.add("__syncthreads();", "#pragma unroll 1");
      lines.block(`for (int i = lane; i < ${warps * 8 * TILE}; i += ${warps * 32})`, () => {
        lines.add(`const int own = i / ${TILE};`, `const int c = i % ${TILE};`);
        const sums = numbers.map((i) => `slab${i}[own][c]`);
        lines.add(call(`own / 8 * ${own} + pass * 8 + own % 8`, "c", sums));
      });
    });
  },
};

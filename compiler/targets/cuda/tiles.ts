/** Tiles of matrix products in CUDA C++: arrays in registers, whose loops the compiler takes apart. */
import { COLUMNS, DEPTH, TILE, type Tiles, TOGETHER } from "../simt/tiles.ts";
import { valueType } from "./language.ts";

/** Elements of a row of a tile in shared memory: a multiple of four that brings rows to other banks. */
const PITCH = TILE + 4;
/** Elements that a thread waits for at once; fewer where it has more than one address for each, which would not fit into registers. */
const AHEAD = 16;
const FEW_AHEAD = 8;

export const TILES: Tiles = {
  enough: 512,
  sumsOfRows: ({ lines }, i, dtype) => lines.add(`${valueType(dtype)} sum${i}[${TOGETHER}] = {};`),
  sumOfRow: (i, row) => `sum${i}[${row}]`,
  eachRow(frame, body) {
    const text = frame.capture(body).trimEnd().split("\n");
    const head = `for (int r = 0; r < ${TOGETHER}; r++)`;
    frame.lines.add("#pragma unroll");
    if (text.length === 1) frame.lines.add(`${head} if (r < rows) ${text[0]}`);
    else frame.lines.block(head, () => frame.lines.block("if (r < rows)", () => frame.lines.add(...text)));
  },
  addToRows({ lines }, i, element, _loads, b) {
    lines.add("#pragma unroll", `for (int r = 0; r < ${TOGETHER}; r++) sum${i}[r] += ${element("r")} * ${b};`);
  },
  operands(frame, dtype) {
    for (const letter of ["a", "b"])
      frame.share(`tile_${letter}`, `__shared__ __align__(16) ${valueType(dtype)} tile_${letter}[${DEPTH}][${PITCH}];`);
  },
  place: () => {},
  sums: ({ lines }, i, rows, dtype) => lines.add(`${valueType(dtype)} p${i}[${rows}][${COLUMNS}] = {};`),
  load({ lines }, { letter, threads, alongTerms, term, element, loads, varies }) {
    // Neighboring threads read neighboring elements; of neighboring terms eight, and four rows, so that a warp stores to 32 banks.
    const [k, r] = alongTerms
      ? [`i / 32 % ${DEPTH / 8} * 8 + i % 8`, `i / ${4 * DEPTH} * 4 + i / 8 % 4`]
      : [`i / ${TILE}`, `i % ${TILE}`];
    lines.add(`#pragma unroll ${loads > 1 || varies ? FEW_AHEAD : AHEAD}`);
    lines.block(`for (int i = lane; i < ${DEPTH * TILE}; i += ${threads})`, () => {
      lines.add(`const int k = ${k};`, `const int r = ${r};`, `const int at = ${term("k")};`);
      lines.add(`tile_${letter}[k][r] = ${element("r")};`);
    });
  },
  multiply({ lines }, i) {
    lines.add(`for (int k = 0; k < ${DEPTH}; k++) add_products(p${i}, &tile_a[k][own_m], &tile_b[k][own_n]);`);
  },
  results(frame, products, rows, call) {
    const { lines, dialect, kernel } = frame;
    const numbers = Array.from({ length: products }, (_, i) => i);
    const blocks = TILE / rows;
    const threads = blocks * (TILE / COLUMNS);
    const wide = kernel.family === "gemm" && kernel.products.some(({ dtype }) => dialect.wide(dtype) === "f64");
    const type = wide ? "double" : "float";
    lines.add(
      "// One row of each thread at a time goes through the memory of the tiles, so that neighbors store neighbors.",
    );
    for (const i of numbers) {
      const [tile, row] = [Math.floor((i * blocks) / DEPTH), (i * blocks) % DEPTH];
      if (tile > 1) frame.share(`slab${i}`, `__shared__ ${type} slab${i}[${blocks}][${PITCH}];`);
      else lines.add(`${type} (*const slab${i})[${PITCH}] = tile_${"ab"[tile]}${row === 0 ? "" : ` + ${row}`};`);
    }
    lines.add("#pragma unroll");
    lines.block(`for (int r = 0; r < ${rows}; r++)`, () => {
      lines.add("__syncthreads();");
      for (const i of numbers)
        lines.add(`for (int c = 0; c < ${COLUMNS}; c++) slab${i}[own_m / ${rows}][own_n + c] = p${i}[r][c];`);
      lines.add("__syncthreads();", "#pragma unroll 1");
      lines.block(`for (int i = lane; i < ${blocks * TILE}; i += ${threads})`, () => {
        lines.add(`const int own = i / ${TILE};`, `const int c = i % ${TILE};`);
        lines.add(
          call(
            `own * ${rows} + r`,
            "c",
            numbers.map((i) => `slab${i}[own][c]`),
          ),
        );
      });
    });
  },
};

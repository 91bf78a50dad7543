/** Products of vectors of four in WGSL: a tile's operands are arrays of them. */
import type { Lines } from "../../emit/lines.ts";
import { COLUMNS, DEPTH, TILE, type Tiles } from "../simt/tiles.ts";

/** Vectors of a row of a tile. */
const QUADS = TILE / 4;

export const TILES: Tiles = {
  sumsOfRows: ({ lines }, i) => lines.add(`var sum${i} = vec4<f32>();`),
  sumOfRow: (i, row) => (typeof row === "number" ? `sum${i}.${"xyzw"[row]}` : `sum${i}[${row}]`),
  eachRow: ({ lines }, body) => lines.block("for (var r = 0; r < rows; r++)", body),
  addToRows: ({ lines }, i, element, loads, b) => lines.add(`sum${i} += ${four(lines, element("e"), loads)} * ${b};`),
  staged: {
    terms: DEPTH * QUADS,
    rows({ lines }, threads, count, element, loads) {
      lines.block(`for (var i = lane; i < ${count}; i += ${threads})`, () => {
        lines.add("let k = first + i;");
        lines.add(`tile_a[i] = ${four(lines, element("e"), loads)};`);
      });
    },
    add: ({ lines }, i, b) => lines.add(`sum${i} += tile_a[j] * ${b};`),
  },
  operands(frame) {
    for (const letter of ["a", "b"])
      frame.share(`tile_${letter}`, `var<workgroup> tile_${letter}: array<vec4<f32>, ${DEPTH * QUADS}>;`);
  },
  place(frame) {
    frame.index("quad_m", "own_m / 4");
    frame.index("quad_n", "own_n / 4");
  },
  sums({ lines }, i, rows) {
    for (let r = 0; r < rows; r++) lines.add(`var p${i}_${r} = vec4<f32>();`, `var q${i}_${r} = vec4<f32>();`);
  },
  load({ lines }, { letter, threads, alongTerms, term, element, loads }) {
    // Neighboring threads read neighboring words.
    const [k, quad] = alongTerms ? [`i % ${DEPTH}`, `i / ${DEPTH}`] : [`i / ${QUADS}`, `i % ${QUADS}`];
    lines.block(`for (var i = lane; i < ${DEPTH * QUADS}; i += ${threads})`, () => {
      lines.add(`let k = ${k};`, `let quad = ${quad};`, `let at = ${term("k")};`);
      lines.add(`tile_${letter}[k * ${QUADS} + quad] = ${four(lines, element("quad * 4 + e"), loads)};`);
    });
  },
  multiply({ lines }, i, rows) {
    lines.block(`for (var k = 0; k < ${DEPTH}; k++)`, () => {
      lines.add(`let b0 = tile_b[k * ${QUADS} + quad_n];`, `let b1 = tile_b[k * ${QUADS} + quad_n + 1];`);
      for (let r = 0; r < rows; r++) {
        if (r % 4 === 0) lines.add(`let a${r / 4} = tile_a[k * ${QUADS} + quad_m${r === 0 ? "" : ` + ${r / 4}`}];`);
        const a = `a${Math.floor(r / 4)}.${"xyzw"[r % 4]}`;
        lines.add(`p${i}_${r} += ${a} * b0;`, `q${i}_${r} += ${a} * b1;`);
      }
    });
  },
  results({ lines }, products, rows, call) {
    const all = Array.from({ length: rows }, (_, r) => r);
    const numbers = Array.from({ length: products }, (_, i) => i);
    for (const i of numbers)
      lines.add(`var sums${i} = array(${all.map((r) => `array(p${i}_${r}, q${i}_${r})`).join(", ")});`);
    lines.block(`for (var r = 0; r < ${rows}; r++)`, () =>
      lines.block(`for (var c = 0; c < ${COLUMNS}; c++)`, () =>
        lines.add(
          call(
            "own_m + r",
            "own_n + c",
            numbers.map((i) => `sums${i}[r][c / 4][c % 4]`),
          ),
        ),
      ),
    );
  },
};

/** Four elements of an operand, numbered `e`. */
function four(lines: Lines, element: string, loads: number): string {
  if (loads <= 2) return `vec4<f32>(${["0", "1", "2", "3"].map((e) => element.replaceAll(/\be\b/g, e)).join(", ")})`;
  // A loop: compilers take long over many reads of memory next to each other.
  lines.add("var x: vec4<f32>;");
  lines.block("for (var e = 0; e < 4; e++)", () => lines.add(`x[e] = ${element};`));
  return "x";
}

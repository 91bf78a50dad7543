/** What stands before the kernels of attention's backward pass: the header of a file, and its functions for tiles and products. */
import type { Lines } from "../../../emit/lines.ts";
import { originLines } from "../../../kernel-ir/print.ts";
import type { BackwardPlan } from "./backward-plan.ts";
import { CONSUMERS, depthOf } from "./backward-steps.ts";
import type { Side } from "./backward-text.ts";
import { ROWS } from "./gemm-shape.ts";
import { type Wgmma, wgmmaName } from "./wgmma.ts";

/** Bytes of the other side that the second-level cache keeps for heads that run at once. */
const CACHE_BYTES = 32 * 2 ** 20;
/** Rows, or columns, of a tile. */
export const TILE = CONSUMERS * ROWS;

export class BackwardFrame {
  readonly #plan: BackwardPlan;
  readonly #side: Side;

  constructor(plan: BackwardPlan, side: Side) {
    this.#plan = plan;
    this.#side = side;
  }

  get #ofRows(): boolean {
    return this.#side === "rows";
  }

  /** Columns, or rows, of a block. */
  get block(): number {
    const { rows, columns } = this.#plan.shape;
    return this.#ofRows ? columns : rows;
  }

  header(): string[] {
    const { kernel, kept, shape } = this.#plan;
    const { width, stages } = shape;
    const depth = depthOf(shape);
    const shapes = kernel.args.map((arg) => `${arg.access} ${arg.name}: ${arg.dtype}[${arg.shape.join(", ")}]`);
    return [
      this.#ofRows
        ? `${kernel.name}, rows: attention's backward pass for the tensor cores of sm_90a: ${kept === undefined ? "statistics, and " : ""}gradients of queries`
        : `${kernel.name}, columns: attention's backward pass for the tensor cores of sm_90a: gradients of keys and values`,
      ...originLines(kernel),
      ...shapes.map((text) => `  ${text}`),
      `Scores of ${depth} terms, values of ${width}: ${this.#ofRows ? 2 * (kept === undefined ? 3 * depth + 2 * width : 2 * depth + width) : 4 * (depth + width)} FLOP for each row and column that it sees.`,
      `Tiles of ${TILE} ${this.#side}, blocks of ${this.block} ${this.#ofRows ? "columns" : "rows"}, ${stages} of them in shared memory.`,
    ];
  }

  get #scoreProduct(): Wgmma {
    return { n: this.block, aTurned: false, bTurned: false };
  }

  /** Products of weights, of so many columns. */
  #weighed(n: number): Wgmma {
    return { n, aInRegisters: true, aTurned: false, bTurned: true };
  }

  get #sums(): number[] {
    const { shape } = this.#plan;
    return [...new Set([depthOf(shape), ...(this.#ofRows ? [] : [shape.width])])];
  }

  get wgmmas(): Wgmma[] {
    return [this.#scoreProduct, ...this.#sums.map((n) => this.#weighed(n))];
  }

  /** The tile with a number, some heads at a time. */
  place(): string[] {
    const { shape } = this.#plan;
    const elements = depthOf(shape) + shape.width;
    const [first, others, count] = this.#ofRows ? ["m", "columns", "row_tiles"] : ["n", "rows", "column_tiles"];
    const place = this.#ofRows ? "(row_tiles - 1 - i / count) * ROWS" : "i / count * COLUMNS";
    return [
      `// Heads that run at once share the second-level cache: as many as have what blocks load in ${CACHE_BYTES / 2 ** 20} MiB. Of these the`,
      this.#ofRows
        ? "// last rows come first, since they mostly see the most columns."
        : "// first columns come first, since mostly the most rows see them.",
      `struct Place { int ${first}, head; };`,
      "struct Span { int first, end; };",
      `DSK_INLINE Place place_of(int tile, int ${count}, int heads, int ${others}) {`,
      `  const int together = max(1, min(heads, (int)(${CACHE_BYTES}ll / (${2 * elements}ll * max(1, ${others})))));`,
      `  const int group = tile / (together * ${count}), i = tile % (together * ${count});`,
      "  const int count = min(together, heads - group * together);",
      `  return {${place}, group * together + i % count};`,
      "}",
    ];
  }

  /** Functions for the products of a block. */
  products(lines: Lines): void {
    lines.add(
      "// A consumer's own 64 rows times those of a block: `depth` terms in lines of 64.",
      `DSK_INLINE void multiply(float (&scores)[${this.block / 2}], const unsigned char* own, const unsigned char* block, int depth) {`,
      "  const Descriptor a = wgmma_descriptor(own, 0, 1024), b = wgmma_descriptor(block, 0, 1024);",
      "#pragma unroll",
      "  for (int k = 0; k < depth / 16; k++) {",
      `    const int own_behind = k / 4 * ${ROWS * 128} + k % 4 * 32, behind = k / 4 * ${this.block * 128} + k % 4 * 32;`,
      `    ${wgmmaName(this.#scoreProduct)}(scores, wgmma_behind(a, own_behind), wgmma_behind(b, behind), k > 0);`,
      "  }",
      "}",
    );
    for (const n of this.#sums)
      lines.add(
        "",
        "// Weights, or slopes of scores, times the rows of a block.",
        `DSK_INLINE void add_to(float (&sums)[${n / 2}], const unsigned (&weights)[${this.block / 16}][4], const unsigned char* block, int adds) {`,
        `  const Descriptor b = wgmma_descriptor(block, ${this.block * 128}, 1024);`,
        "#pragma unroll",
        `  for (int k = 0; k < ${this.block / 16}; k++) ${wgmmaName(this.#weighed(n))}(sums, weights[k], wgmma_behind(b, k * 2048), adds || k > 0);`,
        "}",
      );
  }
}

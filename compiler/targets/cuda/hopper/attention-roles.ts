/** What the roles of an attention kernel print by themselves: those of FlashAttention-3; latent-roles.ts has those of latent values. */
import type { Lines } from "../../../emit/lines.ts";
import { type AttentionPlan, depthOf } from "./attention-plan.ts";
import { keepMarks, keepSums } from "./attention-split.ts";
import type { AttentionText } from "./attention-text.ts";
import { ROWS } from "./gemm-shape.ts";
import type { Role, Step } from "./schedule.ts";
import { type Wgmma, wgmmaName } from "./wgmma.ts";

export interface AttentionRoles {
  /** Elements of values that a consumer sums. */
  readonly width: number;
  readonly wgmmas: readonly Wgmma[];
  /** Functions for the products of a block. */
  products(): void;
  /** In front of a role's steps. */
  prologue(role: Role): void;
  /** In front of a tile's steps, and of those of a block in a loop. */
  tile(role: Role): void;
  block(role: Role): void;
  gather(step: Step & { kind: "gather" }, to: string): void;
  /** Terms of keys, or elements of values, that a stage has which holds so. */
  terms(holds: string): { readonly from: number; readonly to: number };
  multiply(step: Step & { kind: "multiply" }): void;
  compute(step: Step & { kind: "compute" }): void;
}

/** The line in front of where a thread's first sum lies. */
export const SUMS_LIE =
  "// Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.";
export const ROW = "const int row = warp * 16 + lane / 4, column = lane % 4 * 2;";

/** Products of which B is keys, `depth` terms in lines of 64. */
export class FlashRoles implements AttentionRoles {
  readonly #plan: AttentionPlan;
  readonly #lines: Lines;
  readonly #text: AttentionText;

  constructor(plan: AttentionPlan, lines: Lines, text: AttentionText) {
    this.#plan = plan;
    this.#lines = lines;
    this.#text = text;
  }

  get width(): number {
    return this.#plan.shape.width;
  }

  get #scoreProduct(): Wgmma {
    return { n: this.#plan.shape.columns, aTurned: false, bTurned: false };
  }

  get #valueProduct(): Wgmma {
    return { n: this.width, aInRegisters: true, aTurned: false, bTurned: true };
  }

  get wgmmas(): Wgmma[] {
    return [this.#scoreProduct, this.#valueProduct];
  }

  products(): void {
    const { columns } = this.#plan.shape;
    this.#lines.add(
      "// Queries times keys: `depth` terms in lines of 64.",
      "DSK_INLINE void add_scores(float (&scores)[COLUMNS / 2], const unsigned char* queries, const unsigned char* keys, int depth, int adds) {",
      "  const Descriptor a = wgmma_descriptor(queries, 0, 1024), b = wgmma_descriptor(keys, 0, 1024);",
      "#pragma unroll",
      "  for (int k = 0; k < depth / 16; k++) {",
      `    const int queries_behind = k / 4 * ${ROWS * 128} + k % 4 * 32, keys_behind = k / 4 * ${columns * 128} + k % 4 * 32;`,
      `    ${wgmmaName(this.#scoreProduct)}(scores, wgmma_behind(a, queries_behind), wgmma_behind(b, keys_behind), adds || k > 0);`,
      "  }",
      "}",
      "",
      "// Weights times values.",
      "DSK_INLINE void add_values(float (&sums)[WIDTH / 2], const unsigned (&weights)[COLUMNS / 16][4], const unsigned char* values, int adds) {",
      `  const Descriptor b = wgmma_descriptor(values, ${columns * 128}, 1024);`,
      "#pragma unroll",
      "  for (int k = 0; k < COLUMNS / 16; k++)",
      `    ${wgmmaName(this.#valueProduct)}(sums, weights[k], wgmma_behind(b, k * 2048), adds || k > 0);`,
      "}",
    );
  }

  prologue(role: Role): void {
    if (role.name === "producer") {
      this.#text.mask.ranges();
      return this.#text.gathers();
    }
    this.#lines.add(
      "const int part = warpgroup - 1;",
      SUMS_LIE,
      ROW,
      "float scores[COLUMNS / 2], sums[WIDTH / 2];",
      "unsigned weights[COLUMNS / 16][4];",
    );
  }

  tile(role: Role): void {
    if (role.name === "consumer") this.#text.mask.rows();
  }

  block(): void {
    // Labels say which block.
  }

  gather({ buffer, holds }: Step & { kind: "gather" }, to: string): void {
    if (buffer === "q") this.#text.queries(to);
    else this.#lines.add(`gather_${buffer}(${firstColumn(holds)}, at.head, ${to});`);
  }

  terms(holds: string): { readonly from: number; readonly to: number } {
    const { parts, width } = this.#plan.shape;
    return { from: 0, to: holds.startsWith("v") ? width : parts[Number(holds[1])]!.depth };
  }

  multiply({ into, b }: Step & { kind: "multiply" }): void {
    const { parts } = this.#plan.shape;
    const { buffer, holds = "" } = b as { buffer: string; holds?: string };
    if (into === "sums") {
      const adds = holds.includes("-1") ? "block > 1" : "blocks > 1";
      return this.#lines.add(`add_values(sums, weights, shared.v[value], ${adds});`);
    }
    const term = Number(buffer.slice(1));
    const before = depthOf({ parts: parts.slice(0, term) }) * ROWS * 2;
    const queries = `${this.#text.queriesAt}${before === 0 ? "" : ` + ${before}`}`;
    this.#lines.add(
      `add_scores(scores, ${queries}, shared.${buffer}[key], ${parts[term]!.depth}, ${term === 0 ? 0 : 1});`,
    );
  }

  compute(step: Step & { kind: "compute" }): void {
    const text = this.#text;
    switch (step.name) {
      case "ranges of columns":
        return text.mask.rangesAt(firstColumn(written(step)));
      case "exponentials":
        return text.exponentials(firstColumn(written(step)));
      case "weights":
        return text.weights();
      case "rescale":
        return text.rescale();
      case "results":
        if (!this.#plan.split) return text.stage();
        this.#lines.block("if (shares > 1)", () => {
          const row = `part * ${ROWS} + row`;
          this.#lines.add(keepSums(row, "", this.width, "sums"), keepMarks(row));
        });
        return this.#lines.block("else", () => text.stage());
      default:
        if (!this.#plan.split) return text.store();
        return this.#lines.block("if (shares == 1)", () => text.store());
    }
  }
}

/** Of the block that a label names: `{block}` is the last one where a tile's last values are meant. */
export function firstColumn(label: string): string {
  if (label.includes("{block-1}")) return "span.first + (block - 1) * COLUMNS";
  if (label.includes("{block+1}")) return "span.first + (block + 1) * COLUMNS";
  if (!label.includes("{block}")) return "span.first";
  return `span.first + ${label.startsWith("v[") ? "(blocks - 1)" : "block"} * COLUMNS`;
}

/** The label of the first thing that a step writes. */
export function written({ writes = [] }: Step & { kind: "compute" }): string {
  return writes[0]!.holds;
}

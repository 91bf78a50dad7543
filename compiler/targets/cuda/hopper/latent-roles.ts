/** What the roles of a kernel of latent attention print by themselves: latent-schedule.ts says who they are. */
import type { Lines } from "../../../emit/lines.ts";
import { walk } from "../../../kernel-ir/expr.ts";
import type { Expr } from "../../../kernel-ir/types.ts";
import { type AttentionPlan, type ColumnRows, depthOf, gathers, usesAxis } from "./attention-plan.ts";
import { type AttentionRoles, firstColumn, ROW, SUMS_LIE, written } from "./attention-roles.ts";
import { keepMarks, keepSums } from "./attention-split.ts";
import type { AttentionText } from "./attention-text.ts";
import { ROWS } from "./gemm-shape.ts";
import { HELD } from "./latent-schedule.ts";
import type { Role, Step } from "./schedule.ts";
import { LINE } from "./tensor-maps.ts";
import { type Wgmma, wgmmaName } from "./wgmma.ts";

/** Products of scores with A in shared memory and in registers, and those of values: a kernel of 512 threads has none of 256 columns. */
const VALUES: Wgmma = { n: 128, aTurned: false, bTurned: true };

export class LatentRoles implements AttentionRoles {
  readonly #plan: AttentionPlan;
  readonly #lines: Lines;
  readonly #text: AttentionText;
  /** What is looked up for each row that is gathered. */
  readonly #found: readonly Expr[];

  constructor(plan: AttentionPlan, lines: Lines, text: AttentionText) {
    this.#plan = plan;
    this.#lines = lines;
    this.#text = text;
    const found = new Map<string, Expr>();
    for (const { keys } of plan.terms)
      if (keys.matrix === undefined)
        for (const at of keys.at)
          walk(at, (part) => {
            if (part.kind === "load") found.set(JSON.stringify(part), part);
          });
    this.#found = [...found.values()];
  }

  get width(): number {
    return this.#plan.shape.width / 2;
  }

  get #scores(): Wgmma {
    return { n: this.#plan.shape.columns, aTurned: false, bTurned: false };
  }

  get wgmmas(): Wgmma[] {
    return [this.#scores, { ...this.#scores, aInRegisters: true }, VALUES];
  }

  products(): void {
    const line = this.#plan.shape.columns * 128;
    this.#lines.add(
      "// Queries times keys: terms of queries in registers, then `depth` terms in lines of 64.",
      "DSK_INLINE void add_held(float (&scores)[COLUMNS / 2], const unsigned (&queries)[HELD / 16][4], const unsigned char* keys, int from, int to) {",
      "  const Descriptor b = wgmma_descriptor(keys, 0, 1024);",
      "#pragma unroll",
      "  for (int k = from / 16; k < to / 16; k++)",
      `    ${wgmmaName({ ...this.#scores, aInRegisters: true })}(scores, queries[k], wgmma_behind(b, (k - from / 16) / 4 * ${line} + k % 4 * 32), k > 0);`,
      "}",
      "DSK_INLINE void add_scores(float (&scores)[COLUMNS / 2], const unsigned char* queries, const unsigned char* keys, int depth) {",
      "  const Descriptor a = wgmma_descriptor(queries, 0, 1024), b = wgmma_descriptor(keys, 0, 1024);",
      "#pragma unroll",
      "  for (int k = 0; k < depth / 16; k++)",
      `    ${wgmmaName(this.#scores)}(scores, wgmma_behind(a, k / 4 * ${ROWS * 128} + k % 4 * 32), wgmma_behind(b, k / 4 * ${line} + k % 4 * 32), 1);`,
      "}",
      "",
      "// Weights times values.",
      `DSK_INLINE void add_values(float (&sums)[WIDTH / ${VALUES.n}][${VALUES.n / 2}], const unsigned char* weights, const unsigned char* values) {`,
      `  const Descriptor a = wgmma_descriptor(weights, 0, 1024), b = wgmma_descriptor(values, ${line}, 1024);`,
      "#pragma unroll",
      "  for (int k = 0; k < COLUMNS / 16; k++)",
      "#pragma unroll",
      `    for (int i = 0; i < WIDTH / ${VALUES.n}; i++)`,
      `      ${wgmmaName(VALUES)}(sums[i], wgmma_behind(a, k * 32), wgmma_behind(b, k * 2048 + i * ${(VALUES.n / LINE) * line}), 1);`,
      "}",
    );
  }

  prologue({ name }: Role): void {
    const lines = this.#lines;
    if (name === "producer") return gathers(this.#plan.shape) ? this.#lookUp() : undefined;
    if (name === "consumer") lines.add("const int part = warpgroup - 2;");
    lines.add(...(name === "scorer" ? [SUMS_LIE] : []), ROW);
    if (name === "consumer") return lines.add(`float sums[WIDTH / ${VALUES.n}][${VALUES.n / 2}];`);
    lines.add("float scores[COLUMNS / 2];", "unsigned queries[HELD / 16][4];");
  }

  /** What is needed of a block's columns is read while those of the block before are gathered: eight threads have one row. */
  #lookUp(): void {
    const lines = this.#lines;
    const text = this.#text;
    const found = this.#found.map((_, i) => `found_${i}[COLUMNS / 16]`);
    lines.add("// Where rows of a block lie.", `int ${found.join(", ")};`);
    lines.block(
      "const auto look_up = [&](int first)",
      () => {
        lines.add("#pragma unroll");
        lines.block("for (int i = 0; i < COLUMNS / 16; i++)", () => {
          lines.add(
            `const int ${text.plane.column} = min(first + i * 16 + thread / 8, ${text.plane.columnCount} - 1);`,
          );
          const scalars = text.plane.scalars(this.#found);
          for (const [i, expr] of this.#found.entries()) lines.add(`found_${i}[i] = ${scalars.print(expr)};`);
        });
      },
      "};",
    );
  }

  /** Rows of a block, from where was looked up; of values a half. */
  #gather(rows: ColumnRows, holds: string, to: string): void {
    const names = this.#found.map((_, i) => ({ kind: "axis", axis: `row${i}` }) as const);
    const replaced = (expr: Expr): Expr => {
      const i = this.#found.findIndex((found) => JSON.stringify(found) === JSON.stringify(expr));
      if (i >= 0) return names[i]!;
      return expr.kind === "op" ? { ...expr, operands: expr.operands.map(replaced) } : expr;
    };
    const at = rows.at.map(replaced);
    const used = names.filter(({ axis }) => at.some((expr) => usesAxis(expr, axis)));
    const parameters = used.length === 0 ? "int, int" : "int, int i";
    this.#text.gatherRows(to, "first", { ...rows, at }, this.terms(holds), parameters, () => {
      for (const name of used) this.#text.name(name, `found_${names.indexOf(name)}[i]`);
    });
  }

  /** Of values a stage has one half. */
  terms(holds: string): { readonly from: number; readonly to: number } {
    const { parts, width } = this.#plan.shape;
    if (!holds.startsWith("k0")) return { from: 0, to: parts[Number(holds[1])]!.depth };
    return holds.endsWith(",0]") ? { from: 0, to: width / 2 } : { from: width / 2, to: width };
  }

  tile({ name }: Role): void {
    if (name === "scorer") this.#text.mask.rows();
    if (name === "producer") this.#text.unpackBatch("at.head");
  }

  block({ name }: Role): void {
    if (name === "producer") this.#lines.add("const int first = span.first + block * COLUMNS;");
  }

  gather({ buffer, holds }: Step & { kind: "gather" }, to: string): void {
    if (buffer === "q") this.#text.queries(to, HELD);
    else this.#gather(this.#plan.terms[Number(buffer.slice(1))]!.keys, holds, to);
  }

  multiply({ a, b, into }: Step & { kind: "multiply" }): void {
    const { parts, columns, width } = this.#plan.shape;
    const { buffer, holds = "" } = b as { buffer: string; holds?: string };
    const lines = this.#lines;
    if (into === "sums") return lines.add("add_values(sums, shared.p[weight], shared.k0[half]);");
    const half = width / 2;
    if ("registers" in a) {
      const [from, to] = holds.endsWith(",0]") ? [0, half] : [half, HELD];
      return lines.add(`add_held(scores, queries, shared.k0[half], ${from}, ${to});`);
    }
    const part = Number(buffer.slice(1));
    const before = depthOf({ parts: parts.slice(0, part) }) - HELD;
    const [queries, keys, depth] =
      part === 0
        ? ["shared.q", `shared.k0[half] + ${columns * (HELD - half) * 2}`, width - HELD]
        : [`shared.q + ${before * ROWS * 2}`, `shared.${buffer}[rest]`, parts[part]!.depth];
    lines.add(`add_scores(scores, ${queries}, ${keys}, ${depth});`);
  }

  compute(step: Step & { kind: "compute" }): void {
    const lines = this.#lines;
    const text = this.#text;
    switch (step.name) {
      case "look up":
        return lines.add(`look_up(${written(step).includes("+1") ? "first + COLUMNS" : "span.first"});`);
      case "ranges of columns":
        return lines.block("if (warp == 0)", () => text.mask.findRanges("shared.ranges[rest]", "first"));
      case "exponentials":
        return text.exponentials(firstColumn(written(step)));
      case "queries":
        return this.#queries();
      case "weights":
        lines.add("stage_rows(shared.p[weight], scores, warp, lane);");
        return this.#factors("rescale");
      case "last factors":
        if (this.#plan.split) lines.add(`if (shares > 1) ${keepMarks("row")}`);
        text.factors();
        return this.#factors("factor");
      case "no sums":
        return lines.add("clear(sums);");
      case "rescale":
        return lines.add(`scale_rows(sums, ${FACTORS.join(", ")});`);
      default:
        if (!this.#plan.split) return this.#results();
        lines.block("if (shares > 1)", () =>
          lines.add(keepSums("row", "part * WIDTH + ", this.#plan.shape.width, "sums")),
        );
        lines.block("else", () => this.#results());
        return lines.add("__syncwarp();  // all lanes have their factors");
    }
  }

  /** Rows of A: of each 16 terms two neighbors, and two 8 behind them, of both rows. */
  #queries(): void {
    const lines = this.#lines;
    const text = this.#text;
    lines.add("#pragma unroll");
    lines.block("for (int r = 0; r < 2; r++)", () => {
      lines.add("const int flat = min(at.m + row + r * 8, m_end - 1);");
      text.unpackRows("flat");
      lines.add(`load_row(queries, r, ${text.plane.place(this.#plan.terms[0]!.queries)} + column);`);
    });
  }

  #factors(name: string): void {
    this.#lines.add(
      `if (lane % 4 == 0) shared.factors[weight][row] = ${name}[0], shared.factors[weight][row + 8] = ${name}[1];`,
    );
  }

  /** Results to memory: two neighbors of each thread, 16 bytes of four. */
  #results(): void {
    const lines = this.#lines;
    const text = this.#text;
    lines.add(`const float factor[2] = {${FACTORS.join(", ")}};`, "#pragma unroll");
    lines.block("for (int r = 0; r < 2; r++)", () => {
      lines.add("const int flat = min(at.m + row + r * 8, m_end - 1);");
      text.unpackRows("flat");
      const to = `${text.plane.place(this.#plan.results)} + part * WIDTH + column`;
      lines.add(`if (at.m + row + r * 8 < m_end) store_row(${to}, sums, r, factor[r]);`);
    });
    if (!this.#plan.split) lines.add("__syncwarp();  // all lanes have their factors");
  }
}

/** Those of a thread's two rows. */
const FACTORS = ["shared.factors[weight][row]", "shared.factors[weight][row + 8]"];

/** What a kernel does with the sums of its products: staged results, and those that threads store by themselves. */
import { walk } from "../../../kernel-ir/expr.ts";
import type { Expr, Stmt } from "../../../kernel-ir/types.ts";
import type { Scalars } from "../../scalars.ts";
import { stored } from "../language.ts";
import { printScatter } from "./gemm-groups.ts";
import type { Operands } from "./gemm-operands.ts";
import type { GemmPlan, StagedResult } from "./gemm-plan.ts";
import { isWhole, type Printing } from "./gemm-printing.ts";
import { ROWS } from "./gemm-schedule.ts";
import type { Step } from "./schedule.ts";
import { tensorMap } from "./tensor-maps.ts";

export class Epilogue {
  readonly #plan: GemmPlan;
  readonly #printing: Printing;
  readonly #operands: Operands;
  readonly #order: string;

  constructor(plan: GemmPlan, printing: Printing, operands: Operands, order: string) {
    this.#plan = plan;
    this.#printing = printing;
    this.#operands = operands;
    this.#order = order;
    for (const result of plan.staged) if (result.matrix.gathered === undefined) this.#mapOf(result);
  }

  #mapOf({ matrix, columns }: StagedResult): string {
    const { m, n, batch } = this.#plan.kernel;
    return this.#operands.map(tensorMap(matrix, m, n, batch, [columns, ROWS]));
  }

  /** Whether it asks where a sum lies. */
  get places(): { rows: boolean; columns: boolean } {
    const { direct, staged } = this.#plan;
    const reads = staged.map(({ stmt }) => this.#reads(stmt.value));
    const always = direct.length > 0 || staged.some(({ matrix }) => matrix.arg.dtype === "f32");
    return { rows: always || reads.some(({ m }) => m), columns: always || reads.some(({ n }) => n) };
  }

  /** Whether staged results read memory by their row. */
  get readsRows(): boolean {
    return this.#plan.staged.some(({ stmt }) => this.#reads(stmt.value).m);
  }

  /** Whether rows leave one by one. */
  get scatters(): boolean {
    return this.#plan.staged.some(({ matrix }) => matrix.gathered !== undefined);
  }

  /** A step `stage TO`, `scatter TO` or `finish`. */
  compute(name: string): void {
    const staged = this.#plan.staged.find(({ stmt }) => name.endsWith(` ${stmt.to}`));
    if (staged === undefined) this.#finish();
    else if (name.startsWith("scatter"))
      printScatter(this.#printing, this.#plan.kernel.m, staged.matrix, staged.columns);
    else this.#stage(staged);
  }

  store({ holds }: Step & { kind: "store" }, from: string): void {
    const staged = this.#plan.staged.find(({ stmt }) => holds.startsWith(`${stmt.to}[`))!;
    const batched = staged.matrix.batch !== 0;
    const place = [`at.n + slice * ${staged.columns}`, `at.m + part * ${ROWS}`, ...(batched ? ["at.batch"] : [])];
    this.#printing.lines.add(
      `tma_store_${batched ? "3d" : "2d"}(&${this.#mapOf(staged)}, ${from}, ${place.join(", ")});`,
    );
  }

  /** A statement, with what `scalars` knows. */
  assign({ to, at, value }: Stmt & { kind: "assign" }, scalars: Scalars): void {
    const { lines, names } = this.#printing;
    const text = scalars.print(value);
    const offset = names.offset(to, at, (x) => scalars.print(x));
    lines.add(`${to}[${offset}] = ${stored(names.store(to).dtype, text)};`);
  }

  /** Expressions at row `m` and column `n`, with sum number `i` of each product. */
  #scalars(exprs: readonly Expr[]): Scalars {
    const { kernel } = this.#plan;
    const products = new Set<string>();
    for (const expr of exprs) walk(expr, (part) => part.kind === "load" && products.add(part.from));
    for (const [axes, at] of [
      [kernel.batch, "at.batch"],
      [kernel.m, "m"],
      [kernel.n, "n"],
    ] as const)
      this.#printing.unpack(axes, at, exprs);
    for (const [i, { name }] of kernel.products.entries())
      if (products.has(name)) this.#printing.lines.add(`const float ${name} = sums${this.#sums(i)}[i];`);
    return this.#printing.scalars(exprs);
  }

  /** Where the sums of a product are: in the order of loops. */
  #sums(product: number): number {
    return this.#plan.loops.flatMap(({ b }) => b.map((one) => one.product)).indexOf(product);
  }

  /** Results that threads store by themselves. */
  #finish(): void {
    const { lines } = this.#printing;
    lines.add("#pragma unroll");
    lines.block(`for (int i = 0; i < TILE_N / 2; i++)`, () => {
      const row = `at.m + part * ${ROWS} + row + i / 2 % 2 * 8`;
      const rows = this.#plan.kernel.groups?.over === "m";
      lines.add(`const int ${rows ? "at_row" : "m"} = ${row}, n = at.n + i / 4 * 8 + column + i % 2;`);
      lines.block(rows ? "if (at_row < at.end && n < n_end)" : "if (m < m_end && n < n_end)", () => {
        if (rows) lines.add(`const int m = ${this.#order}[at_row];`);
        for (const stmt of this.#plan.direct)
          lines.block("", () => this.assign(stmt, this.#scalars([stmt.value, ...stmt.at])));
      });
    });
  }

  /** 64 rows and 128 bytes of columns of results, as the swizzled copy to memory takes them. */
  #stage({ stmt, matrix, columns }: StagedResult): void {
    const { lines } = this.#printing;
    const reads = this.#reads(stmt.value);
    // Columns beyond the end are not stored, and must not be read: as many at once as lie inside together. ptxas takes four times
    // as long when it is asked for each.
    const together = !reads.n ? 0 : this.#inside(matrix.arg.dtype === "f32" ? 8 : 16);
    const inside = (unit: number, first: string, body: () => void): void => {
      if (unit === together) lines.block(`if (${first} < n_end)`, body);
      else body();
    };
    const pair = (index: string): void => {
      lines.add("#pragma unroll");
      lines.block("for (int j = 0; j < 2; j++)", () => {
        lines.add(`const int i = ${index};`);
        if (reads.m) lines.add("const int m = i / 2 % 2 == 0 ? m_low : m_high;");
        if (reads.n) lines.add("const int n = at.n + i / 4 * 8 + column + i % 2;");
        inside(1, "n", () => lines.add(`pair[j] = ${this.#scalars([stmt.value]).print(stmt.value)};`));
      });
    };
    if (matrix.arg.dtype === "f32") {
      lines.add("#pragma unroll");
      lines.block(`for (int f = 0; f < ${columns / 4}; f++)`, () => {
        lines.add("// 8 columns behind each other; of them rows 8 apart in turn.", "float pair[2] = {};");
        inside(8, `at.n + slice * ${columns} + f / 2 * 8`, () => pair(`slice * ${columns / 2} + f * 2 + j`));
        lines.add("const int own = row + f % 2 * 8, chunk = f / 2 * 2 + column / 4;");
        lines.add(
          "float* const to = reinterpret_cast<float*>(shared.staged[part][stored] + own * 128 + (chunk ^ own % 8) * 16);",
        );
        lines.add("to[column % 4] = pair[0];", "to[column % 4 + 1] = pair[1];");
      });
      return;
    }
    lines.add("#pragma unroll");
    lines.block(`for (int c = 0; c < ${columns / 16}; c++)`, () => {
      lines.add("unsigned packed[4] = {};  // 8 x 8 results each: rows 8 apart, then columns");
      inside(16, `at.n + slice * ${columns} + c * 16`, () => {
        lines.add("#pragma unroll");
        lines.block("for (int e = 0; e < 4; e++)", () => {
          lines.add("float pair[2] = {};");
          inside(8, `at.n + slice * ${columns} + c * 16 + e / 2 * 8`, () =>
            pair(`slice * ${columns / 2} + c * 8 + e * 2 + j`),
          );
          lines.add("packed[e] = pack_bf16(pair[0], pair[1]);");
        });
      });
      lines.add("const int own = warp * 16 + lane % 16, chunk = c * 2 + lane / 16;");
      lines.add(
        "stmatrix_x4(shared.staged[part][stored] + own * 128 + (chunk ^ own % 8) * 16, packed[0], packed[1], packed[2], packed[3]);",
      );
    });
  }

  /** Columns that are inside or outside together: 0 where all of a tile always are inside, else `most`, 8 or 1. */
  #inside(most: number): number {
    const { kernel, tile } = this.#plan;
    return isWhole(kernel.n, tile.tileN) ? 0 : ([most, 8].find((unit) => isWhole(kernel.n, unit)) ?? 1);
  }

  /** Whether an expression reads memory by its row, or by its column. */
  #reads(expr: Expr): { m: boolean; n: boolean } {
    const { m, n } = this.#plan.kernel;
    const found = { m: false, n: false };
    walk(expr, (part) => {
      if (part.kind !== "axis") return;
      found.m ||= m.some(({ name }) => name === part.axis);
      found.n ||= n.some(({ name }) => name === part.axis);
    });
    return found;
  }
}

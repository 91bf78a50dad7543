/** What a kernel does with the sums of its products: staged results, and those that threads store by themselves. */
import { walk } from "../../../kernel-ir/expr.ts";
import type { Expr, Stmt } from "../../../kernel-ir/types.ts";
import type { Scalars } from "../../scalars.ts";
import { stored } from "../language.ts";
import { printScatter } from "./gemm-groups.ts";
import type { Operands } from "./gemm-operands.ts";
import type { GemmPlan, StagedResult } from "./gemm-plan.ts";
import { isWhole, type Printing } from "./gemm-printing.ts";
import { printInputPairs, withInputs } from "./gemm-inputs.ts";
import { batchesOf, registersOfResult, resultsOf, ROWS, SLICE } from "./gemm-shape.ts";
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
    const reads = staged.map((result) => this.#reads(this.#valueOf(result)));
    const always = direct.length > 0 || staged.some(({ matrix }) => matrix.arg.dtype === "f32");
    return { rows: always || reads.some(({ m }) => m), columns: always || reads.some(({ n }) => n) };
  }

  /** Whether staged results read memory by their row. */
  get readsRows(): boolean {
    return this.#plan.staged.some((result) => this.#reads(this.#valueOf(result)).m);
  }

  /** Whether rows leave one by one. */
  get scatters(): boolean {
    return this.#plan.staged.some(({ matrix }) => matrix.gathered !== undefined);
  }

  /** With elements of inputs in variables. */
  #valueOf({ stmt }: StagedResult): Expr {
    return withInputs(stmt.value, this.#plan.inputs);
  }

  /** A step `results TO, ...`, `stage TO`, `scatter TO` or `finish`. */
  compute(name: string): void {
    const [does, ...names] = name.split(/,? /);
    const results = names.map((to) => this.#plan.staged.find(({ stmt }) => stmt.to === to)!);
    const [first] = results;
    if (does === "finish") this.#finish();
    else if (does === "results") this.#results(results);
    else if (does === "stage") this.#stage(first!, "shared.staged[part][stored]");
    else this.#scatter(first!);
  }

  store({ holds }: Step & { kind: "store" }, from: string): void {
    const staged = this.#plan.staged.find(({ stmt }) => holds.startsWith(`${stmt.to}[`))!;
    const batched = staged.matrix.batch !== 0;
    const place = [columnOf(staged), `at.m + part * ${ROWS}`, ...(batched ? ["at.batch"] : [])];
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
    const all = this.#plan.loops.flatMap(({ b }) => b.map((one) => one.product));
    return [...new Set(all)].indexOf(product);
  }

  /** Results that threads store by themselves. */
  #finish(): void {
    const { lines } = this.#printing;
    const rows = this.#plan.kernel.groups?.over === "m";
    // Of a tile's parts each has some of the columns.
    const [count, first] = (this.#plan.parts ?? 1) > 1 ? ["SHARE * 2", "at.part * SHARE * 8 + "] : ["TILE_N / 4", ""];
    lines.add("#pragma unroll");
    lines.block("for (int r = 0; r < 2; r++)", () => {
      lines.add(`const int ${rows ? "at_row" : "m"} = at.m + part * ${ROWS} + row + r * 8;`);
      lines.block(rows ? "if (at_row < at.end)" : "if (m < m_end)", () => {
        if (rows) lines.add(`const int m = ${this.#order}[at_row];`);
        lines.add("#pragma unroll");
        lines.block(`for (int j = 0; j < ${count}; j++)`, () => {
          lines.add(`const int i = j / 2 * 4 + r * 2 + j % 2, n = at.n + ${first}i / 4 * 8 + column + j % 2;`);
          lines.block("if (n < n_end)", () => {
            for (const stmt of this.#plan.direct)
              lines.block("", () => this.assign(stmt, this.#scalars([stmt.value, ...stmt.at])));
          });
        });
      });
    });
  }

  /** Of 64 columns, all results that are computed together: what they share is computed once. */
  #results(results: readonly StagedResult[]): void {
    const { lines } = this.#printing;
    const { inputs, tile } = this.#plan;
    const values = results.map((result) => this.#valueOf(result));
    const reads = values.map((value) => this.#reads(value));
    const [rows, columns] = [reads.some(({ m }) => m), reads.some(({ n }) => n)];
    // Columns beyond the end are not stored, and must not be read: as many at once as lie inside together. ptxas takes four times
    // as long when it is asked for each.
    const together = columns ? this.#inside : 0;
    for (const [i, { columns: own }] of results.entries()) {
      const empty = together > 0 ? " = {}" : "";
      if (own === SLICE) lines.add(`unsigned ${resultsOf(i)}[${registersOfResult(own)}]${empty};  // pairs of columns`);
      else lines.add(`float ${resultsOf(i)}[${registersOfResult(own)}]${empty};`);
    }
    const pair = (): void => {
      printInputPairs(this.#printing, inputs, tile.consumers * ROWS);
      lines.add(`float ${results.map((_, i) => `pair${i}[2] = {}`).join(", ")};`, "#pragma unroll");
      lines.block("for (int j = 0; j < 2; j++)", () => {
        lines.add(`const int i = slice * ${SLICE / 2} + c * 2 + j;`);
        if (rows) lines.add("const int m = c % 2 == 0 ? m_low : m_high;");
        if (columns) lines.add("const int n = at.n + i / 4 * 8 + column + j;");
        for (const { name } of inputs) lines.add(`const float ${name} = unpack_bf16(${name}_pair, j);`);
        const print = (): void => {
          const scalars = this.#scalars(values);
          for (const [i, value] of values.entries()) lines.add(`pair${i}[j] = ${scalars.print(value)};`);
        };
        if (together === 1) lines.block("if (n < n_end)", print);
        else print();
      });
      for (const [i, { columns: own }] of results.entries())
        if (own === SLICE) lines.add(`${resultsOf(i)}[c] = pack_bf16(pair${i}[0], pair${i}[1]);`);
        else lines.add(`${resultsOf(i)}[c * 2] = pair${i}[0], ${resultsOf(i)}[c * 2 + 1] = pair${i}[1];`);
    };
    lines.add("#pragma unroll");
    if (together < 8) lines.block(`for (int c = 0; c < ${SLICE / 4}; c++)`, pair);
    else
      lines.block(`for (int first = 0; first < ${SLICE}; first += ${together})`, () => {
        lines.add(`if (at.n + slice * ${SLICE} + first >= n_end) break;`, "#pragma unroll");
        lines.block(`for (int c = first / 4; c < first / 4 + ${together / 4}; c++)`, pair);
      });
    if (inputs.length > 0) lines.add("__syncwarp();  // the inputs were read");
  }

  /** The name of a result's registers. */
  #registersOf(result: StagedResult): string {
    for (const batch of batchesOf(this.#plan.staged)) {
      const i = batch.indexOf(result);
      if (i >= 0) return resultsOf(i);
    }
    throw new Error(`${result.stmt.to} is not staged`);
  }

  /** 64 rows and 128 bytes of columns of results, as the swizzled copy to memory takes them. */
  #stage(result: StagedResult, slot: string): void {
    const { lines } = this.#printing;
    const from = this.#registersOf(result);
    lines.add("#pragma unroll");
    if (result.matrix.arg.dtype === "f32") {
      lines.block(`for (int f = 0; f < ${result.columns / 4}; f++)`, () => {
        lines.add("// 8 columns behind each other; of them rows 8 apart in turn.");
        lines.add("const int own = row + f % 2 * 8, chunk = f / 2 * 2 + column / 4;");
        lines.add(`float* const to = reinterpret_cast<float*>(${slot} + own * 128 + (chunk ^ own % 8) * 16);`);
        const at = `piece * ${result.columns / 2} + f * 2`;
        lines.add(`to[column % 4] = ${from}[${at}];`, `to[column % 4 + 1] = ${from}[${at} + 1];`);
      });
      return;
    }
    lines.block(`for (int c = 0; c < ${SLICE / 16}; c++)`, () => {
      lines.add("// 8 x 8 results each: rows 8 apart, then columns.");
      lines.add("const int own = warp * 16 + lane % 16, chunk = c * 2 + lane / 16;");
      const four = [0, 1, 2, 3].map((e) => `${from}[c * 4${e === 0 ? "" : ` + ${e}`}]`);
      lines.add(`stmatrix_x4(${slot} + own * 128 + (chunk ^ own % 8) * 16, ${four.join(", ")});`);
    });
  }

  /** A warp stages its own rows, and copies them to where they lie. */
  #scatter(result: StagedResult): void {
    const { lines } = this.#printing;
    lines.add("__syncwarp();  // what was staged before is copied");
    this.#stage(result, "shared.staged[part]");
    lines.add("__syncwarp();");
    printScatter(this.#printing, this.#plan.kernel.m, result.matrix, columnOf(result), result.columns);
  }

  /** Columns that are inside or outside together: 0 where all of a tile always are inside, else 16, 8 or 1. */
  get #inside(): number {
    const { kernel, tile } = this.#plan;
    return isWhole(kernel.n, tile.tileN) ? 0 : ([16, 8].find((unit) => isWhole(kernel.n, unit)) ?? 1);
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

/** The first column of what is staged. */
function columnOf({ columns }: StagedResult): string {
  return `at.n + slice * ${SLICE}${columns === SLICE ? "" : ` + piece * ${columns}`}`;
}

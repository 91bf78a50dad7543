/** Which columns rows see, in an attention kernel with tiles of rows: spans, comparisons by whole blocks, any other condition. */
import type { Axis, Expr } from "../../../kernel-ir/types.ts";
import { type AttentionPlan, type Comparison, gathers, usesAxis } from "./attention-plan.ts";
import { Compared, endsOf, INFIX, type PlaneText, printRanges, sizeText } from "./plane-text.ts";

export class AttentionMask {
  readonly #plan: AttentionPlan;
  readonly #text: PlaneText;
  readonly #compared: Compared;
  /** The place of the block in the ring, and a consumer's first row. */
  readonly #ring: string;
  readonly #firstRow: string;

  constructor(plan: AttentionPlan, text: PlaneText, ring: string, firstRow: string) {
    this.#plan = plan;
    this.#text = text;
    this.#compared = new Compared(plan.comparisons ?? []);
    this.#ring = ring;
    this.#firstRow = firstRow;
  }

  /** The columns that a tile's rows see: those of its tokens together. */
  spans(): void {
    const { kernel } = this.#plan;
    const lines = this.#text.lines;
    const { span, rows } = kernel;
    if (span === undefined)
      return lines.add(`const auto span_of = [&](int) { return Span{0, ${this.#text.columnCount}}; };`);
    lines.add("// Columns that rows from m on see; of empty spans none.");
    lines.block(
      "const auto span_of = [&](int m)",
      () => {
        const [tokens, ...others] = rows as [Axis, ...Axis[]];
        const each =
          others.length === 0 ? "" : ` / ${others.length === 1 ? sizeText(others) : `(${sizeText(others)})`}`;
        const token = this.#text.axis(tokens.name);
        const last = each === "" ? "min(m + ROWS, m_end) - 1" : `(min(m + ROWS, m_end) - 1)${each}`;
        lines.add("int low = 0x7fffffff, high = 0;");
        lines.block(`for (int ${token} = m${each} + lane; ${token} <= ${last}; ${token} += 32)`, () => {
          const scalars = this.#text.scalars([span.from, span.to]);
          lines.add(`const int from = ${scalars.print(span.from)}, to = ${scalars.print(span.to)};`);
          lines.add("if (from < to) low = min(low, from), high = max(high, to);");
        });
        lines.add("low = __reduce_min_sync(0xffffffffu, low), high = __reduce_max_sync(0xffffffffu, high);");
        lines.add("return low < high ? Span{low, high} : Span{0, 0};");
      },
      "};",
    );
  }

  /** A function for the smallest and largest of what columns of a block are compared by. */
  ranges(): void {
    const lines = this.#text.lines;
    if (this.#compared.columns.length === 0) return;
    lines.add("// The smallest and largest of what columns from `first` on are compared by.");
    lines.block(
      "const auto find_ranges = [&](int first, int* ranges)",
      () => {
        if (gathers(this.#plan.shape)) lines.add("if (warp > 0) return;");
        this.findRanges("ranges", "first");
      },
      "};",
    );
  }

  /** The smallest and largest of each thing that columns of a block are compared by. */
  findRanges(to: string, first: string): void {
    printRanges(this.#text, this.#compared, { columns: "COLUMNS", first, end: this.#text.columnCount, to });
  }

  rangesAt(first: string): void {
    this.#text.lines.add(`find_ranges(${first}, shared.ranges[${this.#ring}]);`);
  }

  /** A consumer's rows: what each thread's two see. @param softmax whether their largest scores and sums have to be found */
  rows(softmax = true): void {
    const { kernel, seen, comparisons } = this.#plan;
    const { span, rows } = kernel;
    const lines = this.#text.lines;
    this.#text.unpack(kernel.batch, "at.head");
    const needed = [...(span === undefined ? [] : [span.from, span.to]), ...this.#compared.rows];
    lines.add("// Of the thread's two rows, 8 apart; those beyond the end are the last one.");
    lines.add(`int from[2], to[2]${this.#compared.rows.map((_, i) => `, row_${i}[2]`).join("")};`);
    const tokens = seen !== undefined && comparisons === undefined;
    const asked = rows.filter(({ name }) => seen !== undefined && usesAxis(seen, name));
    if (tokens) for (const { name } of asked) lines.add(`int ${this.#text.axis(name)}_of[2];`);
    lines.add("#pragma unroll");
    lines.block("for (int r = 0; r < 2; r++)", () => {
      if (needed.length > 0 || tokens) {
        lines.add(`const int flat = min(${this.#firstRow} + row + r * 8, m_end - 1);`);
        this.#text.unpack(rows, "flat");
      }
      const scalars = this.#text.scalars(needed);
      const [from, to] =
        span === undefined ? ["0", this.#text.columnCount] : [span.from, span.to].map((x) => scalars.print(x));
      const { split } = this.#plan;
      lines.add(`from[r] = ${split ? `max(${from}, span.first)` : from};`);
      lines.add(`to[r] = ${split ? `min(${to}, span.end)` : to};`);
      for (const [i, expr] of this.#compared.rows.entries()) lines.add(`row_${i}[r] = ${scalars.print(expr)};`);
      if (tokens) for (const { name } of asked) lines.add(`${this.#text.axis(name)}_of[r] = ${this.#text.axis(name)};`);
    });
    if (softmax) lines.add("float peaks[2] = {-infinity(), -infinity()}, total[2] = {}, rescale[2];");
    this.#hide();
  }

  #hide(): void {
    const { seen, comparisons } = this.#plan;
    const lines = this.#text.lines;
    lines.add("// Columns that a row does not see have the score of minus infinity. Of most blocks rows see all.");
    lines.block(
      "const auto hide = [&](int first)",
      () => {
        const surely = this.#surely();
        if (surely !== undefined)
          lines.add(
            "bool all = true;",
            "#pragma unroll",
            "for (int r = 0; r < 2; r++)",
            `  all = all && ${surely.slice(0, 2).join(" && ")}${surely.length > 2 ? " &&" : ";"}`,
            ...(surely.length > 2 ? [`        ${surely.slice(2).join(" && ")};`] : []),
            "if (__all_sync(0xffffffffu, all)) return;",
          );
        if (seen !== undefined && comparisons === undefined) return this.#hideByMask(seen);
        this.#loadColumns();
        lines.add("#pragma unroll");
        lines.block("for (int j = 0; j < COLUMNS / 4; j++)", () => {
          // Made anew for each block: the places of all columns would fill registers from one to the next.
          lines.add("const int behind = j / 2 * 8 + anew(column) + j % 2;", "const int s = first + behind;");
          for (const i of this.#compared.columns.keys())
            lines.add(`const int column_${i} = __shfl_sync(0xffffffffu, columns_${i}[j / 8], behind % 32);`);
          const holds = (comparisons ?? []).map(
            (one) => `!(${this.#holds(one, `column_${this.#compared.columnOf(one)}`)})`,
          );
          lines.add(
            "#pragma unroll",
            "for (int r = 0; r < 2; r++)",
            `  if (${["s < from[r]", "s >= to[r]", ...holds].join(" || ")})`,
            "    scores[j / 2 * 4 + r * 2 + j % 2] = -infinity();",
          );
        });
      },
      "};",
    );
  }

  /** Where a mask is no comparison, it is asked for each row and column, without branches. */
  #hideByMask(mask: Expr): void {
    const { rows, column } = this.#plan.kernel;
    const lines = this.#text.lines;
    lines.block(
      "hide_where(scores, [&](int behind, int r)",
      () => {
        lines.add("const int s = first + behind + column;");
        for (const name of rows.filter((axis) => usesAxis(mask, axis.name)).map((axis) => this.#text.axis(axis.name)))
          lines.add(`const int ${name} = ${name}_of[r];`);
        if (usesAxis(mask, column.name))
          lines.add(`const int ${this.#text.column} = min(s, ${this.#text.columnCount} - 1);`);
        lines.add(`return (s < from[r]) | (s >= to[r]) | !(${this.#text.scalars([mask]).print(mask)});`);
      },
      "});",
    );
  }

  /** What columns of a block are compared by: each lane has some of it, and all get it by shuffles. */
  #loadColumns(): void {
    const lines = this.#text.lines;
    if (this.#compared.columns.length === 0) return;
    lines.add(
      `int ${this.#compared.columns.map((_, i) => `columns_${i}[COLUMNS / 32]`).join(", ")};`,
      "#pragma unroll",
    );
    lines.block("for (int j = 0; j < COLUMNS / 32; j++)", () => {
      const column = this.#text.column;
      lines.add(`const int ${column} = min(first + j * 32 + lane, ${this.#text.columnCount} - 1);`);
      const scalars = this.#text.scalars(this.#compared.columns);
      for (const [i, expr] of this.#compared.columns.entries()) lines.add(`columns_${i}[j] = ${scalars.print(expr)};`);
    });
  }

  #holds(one: Comparison, column: string): string {
    return `${column} ${INFIX[one.op]} row_${this.#compared.rowOf(one)}[r]`;
  }

  /** Whether row r sees every column of a block: said by the smallest and largest of what columns are compared by. */
  #surely(): string[] | undefined {
    const { seen, comparisons } = this.#plan;
    if (seen !== undefined && comparisons === undefined) return undefined;
    const range = (one: Comparison, end: 0 | 1): string =>
      `shared.ranges[${this.#ring}][${2 * this.#compared.columnOf(one) + end}]`;
    const tests = (comparisons ?? []).flatMap((one) => endsOf(one.op).map((end) => this.#holds(one, range(one, end))));
    return ["first >= from[r]", "first + COLUMNS <= to[r]", ...tests];
  }
}

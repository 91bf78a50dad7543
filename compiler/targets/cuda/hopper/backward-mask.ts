/** What a kernel with tiles of columns knows of rows of a block, and which columns they see. */
import type { Axis, Expr } from "../../../kernel-ir/types.ts";
import { usesAxis } from "./attention-plan.ts";
import { type BackwardPlan, rowBlock } from "./backward-plan.ts";
import { ROWS } from "./gemm-shape.ts";
import { Compared, endsOf, INFIX, type PlaneText, printRanges } from "./plane-text.ts";

/** A consumer's first column. */
const FIRST = `at.n + part * ${ROWS}`;

export class BackwardMask {
  readonly #plan: BackwardPlan;
  readonly #text: PlaneText;
  readonly #compared: Compared;
  /** Base, and sum of weights times slopes, of a row that has kept them and is unpacked. */
  readonly #kept: () => [base: string, delta: string];

  constructor(plan: BackwardPlan, text: PlaneText, kept: () => [base: string, delta: string]) {
    this.#plan = plan;
    this.#text = text;
    this.#compared = new Compared(plan.forward.comparisons ?? []);
    this.#kept = kept;
  }

  /** A function for what is known of rows of a block. */
  describe(): void {
    const { kernel } = this.#plan;
    const lines = this.#text.lines;
    const names = this.#seenNames;
    lines.add(
      "// Of rows from `first` on: statistics, what they see and are compared by, beyond the end nothing; then the ends of it.",
    );
    lines.block(
      `const auto describe = [&](int first, ${kernel.rows.length > 1 ? "int first_member, " : ""}int head, float* known, int* seen)`,
      () => {
        if (this.#plan.kept !== undefined) this.#text.unpack(kernel.batch, "head");
        lines.add("#pragma unroll");
        lines.block("for (int i = lane; i < ROWS; i += 32)", () => {
          const [token, ...others] = kernel.rows as [Axis, ...Axis[]];
          const { inner } = rowBlock(this.#plan);
          const here = this.#text.axis(token.name);
          lines.add(`const bool inside = first + ${this.#behind("i")} < ${token.extent};`);
          this.#unpackRow("i", () => true);
          const row = others.length === 0 ? here : `${here} * ${inner} + member`;
          if (this.#plan.kept === undefined)
            lines.add(`const float* own = statistics + (head * (long long)m_end + ${row}) * 2;`);
          const [base, delta] = this.#plan.kept === undefined ? ["own[0]", "own[1]"] : this.#kept();
          lines.add(`known[2 * i] = inside ? ${base} : 0.0f;`, `known[2 * i + 1] = inside ? ${delta} : 0.0f;`);
          const { span } = kernel;
          const scalars = this.#text.scalars([
            ...(span === undefined ? [] : [span.from, span.to]),
            ...this.#compared.rows,
          ]);
          const [from, to] = span === undefined ? ["0", "n_end"] : [span.from, span.to].map((x) => scalars.print(x));
          lines.add(`const int from = ${from}, to = inside ? ${to} : 0;`);
          for (const [r, expr] of this.#compared.rows.entries())
            lines.add(`const int row_${r} = ${scalars.print(expr)};`);
          for (const [k, name] of names.entries()) lines.add(`seen[${k} * ROWS + i] = ${name};`);
        });
        // From memory: the producer has few registers.
        lines.add(
          "__syncwarp();",
          "#pragma unroll 1",
          `for (int k = 0; k < ${names.length}; k++)`,
          `  find_range<ROWS>(seen + ${names.length} * ROWS + 2 * k, lane, [&](int i) { return seen[k * ROWS + i]; });`,
          "__syncwarp();",
        );
      },
      "};",
    );
  }

  /** The token of row `i` of a block, counted from the block's first one. */
  #behind(i: string): string {
    const { tokens } = rowBlock(this.#plan);
    return this.#plan.kernel.rows.length === 1 ? i : `${i} % ${tokens}`;
  }

  /** The axes of row `i` of a block that begins with the token `first` of the head `first_member`; beyond the end those of the last one. */
  #unpackRow(i: string, isUsed: (axis: Axis) => boolean): void {
    const [token, ...others] = this.#plan.kernel.rows as [Axis, ...Axis[]];
    if (isUsed(token))
      this.#text.lines.add(
        `const int ${this.#text.axis(token.name)} = min(first + ${this.#behind(i)}, ${token.extent} - 1);`,
      );
    if (!others.some(isUsed)) return;
    this.#text.lines.add(`const int member = first_member + ${i} / ${rowBlock(this.#plan).tokens};`);
    this.#text.unpack(others, "member");
  }

  /** What a consumer's columns are compared by, the smallest and the largest of it. */
  ranges(): void {
    const columns = { columns: String(ROWS), first: FIRST, end: "n_end", to: "shared.ranges[part]" };
    this.#text.lines.block("if (warp == 0)", () => printRanges(this.#text, this.#compared, columns));
  }

  /** What is known of each row of a block, in the order in which it lies in memory. */
  get #seenNames(): string[] {
    return ["from", "to", ...this.#compared.rows.map((_, i) => `row_${i}`)];
  }

  /** Whether rows of a block see all of the consumer's columns: comparisons of the smallest and largest of both. */
  get #surely(): string[] {
    const names = this.#seenNames;
    const row = (name: string, end: 0 | 1): string => `seen[${names.length} * ROWS + ${2 * names.indexOf(name) + end}]`;
    const compared = this.#compared.comparisons.flatMap((one) => {
      return endsOf(one.op).map((end) => {
        const column = `shared.ranges[part][${2 * this.#compared.columnOf(one) + end}]`;
        return `${column} ${INFIX[one.op]} ${row(`row_${this.#compared.rowOf(one)}`, end === 0 ? 1 : 0)}`;
      });
    });
    return [`${FIRST} >= ${row("from", 1)}`, `${FIRST} + ${ROWS} <= ${row("to", 0)}`, ...compared];
  }

  /** A consumer's function that hides its columns from rows that do not see them. */
  columns(): void {
    const { kernel, forward } = this.#plan;
    const lines = this.#text.lines;
    const { seen, comparisons } = forward;
    const mask = comparisons === undefined ? seen : undefined;
    this.#text.unpack(kernel.batch, "at.head");
    const most = mask === undefined ? " Of most blocks rows see all." : "";
    lines.add(`// A row that does not see a column has the score of minus infinity there.${most}`);
    const first = kernel.rows.length > 1 ? "int first, int first_member, " : "int first, ";
    lines.block(
      `const auto hide = [&](${mask === undefined ? "" : first}const int* seen)`,
      () => (mask === undefined ? this.#hideByComparisons() : this.#hideByMask(mask)),
      "};",
    );
  }

  #hideByComparisons(): void {
    const lines = this.#text.lines;
    const names = this.#seenNames;
    const surely = this.#surely;
    lines.add(
      ...surely.map((test, i) => {
        const rest = i + 1 < surely.length ? " &&" : ") return;";
        return i === 0 ? `if (${test}${rest}` : `    ${test}${rest}`;
      }),
    );
    lines.add("const int mine = anew(thread);");
    lines.add(
      `int s[2]${this.#compared.columns.map((_, i) => `, column_${i}[2]`).join("")};  // of the thread's two columns, 8 apart`,
    );
    lines.add("#pragma unroll");
    lines.block("for (int r = 0; r < 2; r++)", () => {
      lines.add(`s[r] = ${FIRST} + mine / 32 * 16 + mine % 32 / 4 + r * 8;`);
      if (this.#compared.columns.length > 0) lines.add(`const int ${this.#text.column} = min(s[r], n_end - 1);`);
      const scalars = this.#text.scalars(this.#compared.columns);
      for (const [i, expr] of this.#compared.columns.entries()) lines.add(`column_${i}[r] = ${scalars.print(expr)};`);
    });
    lines.add("#pragma unroll");
    lines.block("for (int j = 0; j < ROWS / 4; j++)", () => {
      lines.add("const int own = j / 2 * 8 + column + j % 2;");
      const loads = names.map((name, k) => `${name} = seen[${k} * ROWS + own]`);
      lines.add(`const int ${loads.join(", ")};`, "#pragma unroll");
      const hides = this.#compared.comparisons.map(
        (one) => `!(column_${this.#compared.columnOf(one)}[r] ${INFIX[one.op]} row_${this.#compared.rowOf(one)})`,
      );
      lines.add(
        "for (int r = 0; r < 2; r++)",
        `  if (${["s[r] < from", "s[r] >= to", ...hides].join(" || ")}) scores[j / 2 * 4 + r * 2 + j % 2] = -infinity();`,
      );
    });
  }

  /** Where a mask is no comparison, it is asked for each row and column, without branches. */
  #hideByMask(mask: Expr): void {
    const { column } = this.#plan.kernel;
    const lines = this.#text.lines;
    lines.add("const int mine = anew(thread);");
    lines.add(`const int n = ${FIRST} + mine / 32 * 16 + mine % 32 / 4;`);
    lines.block(
      "hide_where(scores, [&](int behind, int r)",
      () => {
        lines.add("const int own = behind + column, s = n + r * 8;");
        this.#unpackRow("own", ({ name }) => usesAxis(mask, name));
        if (usesAxis(mask, column.name)) lines.add(`const int ${this.#text.column} = min(s, n_end - 1);`);
        const sees = this.#text.scalars([mask]).print(mask);
        lines.add(`return (s < seen[own]) | (s >= seen[ROWS + own]) | !(${sees});`);
      },
      "});",
    );
  }
}

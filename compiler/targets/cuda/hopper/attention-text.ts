/** What threads of an attention kernel compute by themselves: rows and what they see, exponentials, results. */
import { Lines } from "../../../emit/lines.ts";
import type { Axis, Expr, PlaneKernel } from "../../../kernel-ir/types.ts";
import { type Names, Scalars } from "../../scalars.ts";
import { cudaLanguage } from "../language.ts";
import {
  type AttentionPlan,
  type ColumnRows,
  columnsCompared,
  type Comparison,
  gathers,
  type TensorRows,
  usesAxis,
} from "./attention-plan.ts";
import { ROWS } from "./gemm-schedule.ts";
import { LINE } from "./tensor-maps.ts";

const INFIX = { lt: "<", le: "<=", gt: ">", ge: ">=", eq: "==" } as const;

export class AttentionText {
  readonly #plan: AttentionPlan;
  #lines: Lines;
  readonly #names: Names;
  /** Different things of columns, and of rows, that are compared. */
  readonly #columns: readonly Expr[];
  readonly #rows: readonly Expr[];
  /** The place of the block in the ring. */
  readonly #ring: string;
  #fresh = 0;

  constructor(plan: AttentionPlan, lines: Lines, names: Names, ring = "key") {
    this.#plan = plan;
    this.#ring = ring;
    this.#lines = lines;
    this.#names = names;
    const { comparisons = [] } = plan;
    this.#columns = columnsCompared(comparisons);
    this.#rows = [...new Map(comparisons.map(({ row }) => [JSON.stringify(row), row])).values()];
  }

  get tileRows(): number {
    const { consumers, halves } = this.#plan.shape;
    return halves ? ROWS : ROWS * consumers;
  }

  /** Where a consumer's rows begin, and its queries. */
  get #firstRow(): string {
    return this.#plan.shape.halves ? "at.m" : `at.m + part * ${ROWS}`;
  }

  get queriesAt(): string {
    return "shared.q[part]";
  }

  get rowCount(): string {
    return sizeText(this.#plan.kernel.rows);
  }

  get headCount(): string {
    return sizeText(this.#plan.kernel.batch);
  }

  /** Gives an axis a value. */
  name({ axis }: { readonly axis: string }, value: string): void {
    this.#lines.add(`const int ${this.#names.axis(axis)} = ${value};`);
  }

  /** The variable of a column. */
  get column(): string {
    return this.#names.axis(this.#plan.kernel.column.name);
  }

  get columnCount(): string {
    return String(this.#plan.kernel.column.extent);
  }

  /** The columns that a tile's rows see: those of its tokens together. */
  spans(): void {
    const { kernel } = this.#plan;
    const lines = this.#lines;
    const { span, rows } = kernel;
    if (span === undefined) return lines.add(`const auto span_of = [&](int) { return Span{0, ${this.columnCount}}; };`);
    lines.add("// Columns that rows from m on see; of empty spans none.");
    lines.block(
      "const auto span_of = [&](int m)",
      () => {
        const [tokens, ...others] = rows as [Axis, ...Axis[]];
        const each =
          others.length === 0 ? "" : ` / ${others.length === 1 ? sizeText(others) : `(${sizeText(others)})`}`;
        const token = this.#names.axis(tokens.name);
        const last = each === "" ? "min(m + ROWS, m_end) - 1" : `(min(m + ROWS, m_end) - 1)${each}`;
        lines.add("int low = 0x7fffffff, high = 0;");
        lines.block(`for (int ${token} = m${each} + lane; ${token} <= ${last}; ${token} += 32)`, () => {
          const scalars = this.scalars([span.from, span.to]);
          lines.add(`const int from = ${scalars.print(span.from)}, to = ${scalars.print(span.to)};`);
          lines.add("if (from < to) low = min(low, from), high = max(high, to);");
        });
        lines.add("low = __reduce_min_sync(0xffffffffu, low), high = __reduce_max_sync(0xffffffffu, high);");
        lines.add("return low < high ? Span{low, high} : Span{0, 0};");
      },
      "};",
    );
  }

  /** Of a tile, or of a share of its columns. */
  blocks(): void {
    const all = "span_of(at.m)";
    this.#lines.add(
      `const Span span = ${this.#plan.split ? `share_of(${all}, share, shares, COLUMNS)` : all};`,
      "const int blocks = max(1, (span.end - span.first + COLUMNS - 1) / COLUMNS);  // one where rows see nothing",
    );
  }

  /** A function for each ring whose rows threads gather. */
  gathers(): void {
    const { terms, values } = this.#plan;
    for (const [i, { keys }] of terms.entries()) if (keys.matrix === undefined) this.#gather(`gather_k${i}`, keys);
    if (values.matrix === undefined) this.#gather("gather_v", values);
  }

  /** A function that gathers rows of a block. */
  #gather(name: string, rows: ColumnRows): void {
    this.#lines.block(
      `const auto ${name} = [&](int first, int head, unsigned char* to)`,
      () => {
        this.unpackBatch("head");
        this.gatherRows("to", "first", rows, { from: 0, to: rows.along.extent }, "int own, int", () =>
          this.#lines.add(`const int ${this.column} = min(first + own, ${this.columnCount} - 1);`),
        );
      },
      "};",
    );
  }

  /**
   * Gathers the rows of a block's columns, which lie anywhere; beyond the end they are 0.
   *
   * @param terms of the row, multiples of 64
   * @param before prints where a row lies
   */
  gatherRows(
    to: string,
    first: string,
    rows: ColumnRows,
    terms: { readonly from: number; readonly to: number },
    parameters: string,
    before: () => void,
  ): void {
    const head = `gather_rows<COLUMNS, ${(terms.to - terms.from) / LINE}>(${to}, thread, ${this.columnCount} - ${first}`;
    this.call(head, parameters, () => {
      before();
      return `${this.place(rows)}${terms.from === 0 ? "" : ` + ${terms.from}`}`;
    });
  }

  /** A call whose last argument is a function with these parameters, in one line where that has room. */
  call(head: string, parameters: string, body: () => string): void {
    const outer = this.#lines;
    const inner = new Lines();
    this.#lines = inner;
    const value = body();
    this.#lines = outer;
    const statements = [
      ...inner
        .text()
        .split("\n")
        .filter((line) => line !== ""),
      `return ${value};`,
    ];
    const whole = `${head}, [&](${parameters}) { ${statements.join(" ")} });`;
    if (whole.length <= 166) outer.add(whole);
    else outer.block(`${head}, [&](${parameters})`, () => outer.add(...statements), "});");
  }

  /** A function for the smallest and largest of what columns of a block are compared by. */
  ranges(): void {
    const lines = this.#lines;
    if (this.#columns.length === 0) return;
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
    for (const [i, expr] of this.#columns.entries())
      this.call(`find_range<COLUMNS>(${to}${i === 0 ? "" : ` + ${2 * i}`}, lane`, "int i", () => {
        this.#lines.add(`const int ${this.column} = min(${first} + i, ${this.columnCount} - 1);`);
        return this.scalars([expr]).print(expr);
      });
  }

  rangesAt(first: string): void {
    this.#lines.add(`find_ranges(${first}, shared.ranges[${this.#ring}]);`);
  }

  /** A consumer's rows: what each thread's two see. @param softmax whether their largest scores and sums have to be found */
  rows(softmax = true): void {
    const { kernel, seen, comparisons } = this.#plan;
    const { span, rows } = kernel;
    const lines = this.#lines;
    this.#unpack(kernel.batch, "at.head");
    const needed = [...(span === undefined ? [] : [span.from, span.to]), ...this.#rows];
    lines.add("// Of the thread's two rows, 8 apart; those beyond the end are the last one.");
    lines.add(`int from[2], to[2]${this.#rows.map((_, i) => `, row_${i}[2]`).join("")};`);
    const tokens = seen !== undefined && comparisons === undefined;
    const asked = rows.filter(({ name }) => seen !== undefined && usesAxis(seen, name));
    if (tokens) for (const { name } of asked) lines.add(`int ${this.#names.axis(name)}_of[2];`);
    lines.add("#pragma unroll");
    lines.block("for (int r = 0; r < 2; r++)", () => {
      if (needed.length > 0 || tokens) {
        lines.add(`const int flat = min(${this.#firstRow} + row + r * 8, m_end - 1);`);
        this.unpackRows("flat");
      }
      const scalars = this.scalars(needed);
      const [from, to] =
        span === undefined ? ["0", this.columnCount] : [span.from, span.to].map((x) => scalars.print(x));
      const { split } = this.#plan;
      lines.add(`from[r] = ${split ? `max(${from}, span.first)` : from};`);
      lines.add(`to[r] = ${split ? `min(${to}, span.end)` : to};`);
      for (const [i, expr] of this.#rows.entries()) lines.add(`row_${i}[r] = ${scalars.print(expr)};`);
      if (tokens)
        for (const { name } of asked) lines.add(`${this.#names.axis(name)}_of[r] = ${this.#names.axis(name)};`);
    });
    if (softmax) lines.add("float peaks[2] = {-infinity(), -infinity()}, total[2] = {}, rescale[2];");
    this.#hide();
  }

  #hide(): void {
    const { seen, comparisons } = this.#plan;
    const lines = this.#lines;
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
          lines.add("const int behind = j / 2 * 8 + column + j % 2;", "const int s = first + behind;");
          for (const i of this.#columns.keys())
            lines.add(`const int column_${i} = __shfl_sync(0xffffffffu, columns_${i}[j / 8], behind % 32);`);
          const holds = (comparisons ?? []).map((one) => `!(${this.#holds(one, `column_${this.#columnOf(one)}`)})`);
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
    const lines = this.#lines;
    lines.block(
      "hide_where(scores, [&](int behind, int r)",
      () => {
        lines.add("const int s = first + behind + column;");
        for (const name of rows.filter((axis) => usesAxis(mask, axis.name)).map((axis) => this.#names.axis(axis.name)))
          lines.add(`const int ${name} = ${name}_of[r];`);
        if (usesAxis(mask, column.name))
          lines.add(`const int ${this.#names.axis(column.name)} = min(s, ${this.columnCount} - 1);`);
        lines.add(`return (s < from[r]) | (s >= to[r]) | !(${this.scalars([mask]).print(mask)});`);
      },
      "});",
    );
  }

  /** What columns of a block are compared by: each lane has some of it, and all get it by shuffles. */
  #loadColumns(): void {
    const lines = this.#lines;
    if (this.#columns.length === 0) return;
    lines.add(`int ${this.#columns.map((_, i) => `columns_${i}[COLUMNS / 32]`).join(", ")};`, "#pragma unroll");
    lines.block("for (int j = 0; j < COLUMNS / 32; j++)", () => {
      const column = this.#names.axis(this.#plan.kernel.column.name);
      lines.add(`const int ${column} = min(first + j * 32 + lane, ${this.columnCount} - 1);`);
      const scalars = this.scalars(this.#columns);
      for (const [i, expr] of this.#columns.entries()) lines.add(`columns_${i}[j] = ${scalars.print(expr)};`);
    });
  }

  #columnOf({ column }: Comparison): number {
    return this.#columns.findIndex((expr) => JSON.stringify(expr) === JSON.stringify(column));
  }

  #holds({ op, row }: Comparison, column: string): string {
    const i = this.#rows.findIndex((expr) => JSON.stringify(expr) === JSON.stringify(row));
    return `${column} ${INFIX[op]} row_${i}[r]`;
  }

  /** Whether row r sees every column of a block: said by the smallest and largest of what columns are compared by. */
  #surely(): string[] | undefined {
    const { seen, comparisons } = this.#plan;
    if (seen !== undefined && comparisons === undefined) return undefined;
    const range = (one: Comparison, end: 0 | 1): string =>
      `shared.ranges[${this.#ring}][${2 * this.#columnOf(one) + end}]`;
    const tests = (comparisons ?? []).flatMap((one) => {
      const ends =
        one.op === "eq" ? ([0, 1] as const) : one.op === "lt" || one.op === "le" ? ([1] as const) : ([0] as const);
      return ends.map((end) => this.#holds(one, range(one, end)));
    });
    return ["first >= from[r]", "first + COLUMNS <= to[r]", ...tests];
  }

  /** Queries of the consumer's rows into swizzled lines of 64 elements, from a term on; rows beyond the end are 0. */
  queries(to: string, first = 0): void {
    const { terms } = this.#plan;
    this.#eachRow((place) => {
      const lines = this.#lines;
      lines.add(`const int bytes = ${this.#firstRow} + own < m_end ? 16 : 0;`);
      let line = -first / LINE;
      for (const { queries } of terms) {
        const from = this.#pointer(queries);
        for (let x = 0; x < queries.along.extent; x += LINE, line++) {
          if (line < 0) continue;
          lines.add(
            `cp_async_16(${to}${line === 0 ? "" : ` + ${line * ROWS * 128}`} + ${place}, ${from}${x === 0 ? "" : ` + ${x}`}, bytes);`,
          );
        }
      }
    });
  }

  /** Eight threads for the 128 bytes of a line of each row. */
  #eachRow(body: (place: string) => void): void {
    const lines = this.#lines;
    lines.add("#pragma unroll");
    lines.block("for (int i = 0; i < 4; i++)", () => {
      lines.add("const int own = i * 16 + thread / 8, chunk = thread % 8;");
      lines.add("const int place = own * 128 + (chunk ^ own % 8) * 16;");
      lines.add(`const int flat = min(${this.#firstRow} + own, m_end - 1);`);
      this.unpackRows("flat");
      body("place");
    });
  }

  /** The thread's 16 bytes of the first line of a row. */
  #pointer(rows: TensorRows): string {
    const place = this.place(rows);
    const name = `p${this.#fresh++}`;
    const type = rows.arg.access === "read" ? "const bf16*" : "bf16*";
    this.#lines.add(`${type} ${name} = ${place} + chunk * 8;`);
    return name;
  }

  /** Where a row begins. */
  place(rows: TensorRows): string {
    const scalars = this.scalars(rows.at);
    return `${rows.arg.name} + ${this.#names.offset(rows.arg.name, rows.at, (x) => scalars.print(x))}`;
  }

  exponentials(first: string): void {
    this.squash();
    this.#lines.add(`hide(${first});`, "exponentiate(scores, peaks, total, rescale, SCALE);");
  }

  /** Scores inside of a cap, before some are hidden. */
  squash(): void {
    if (this.#plan.squash !== undefined) this.#lines.add("squash(scores, SQUASH);");
  }

  weights(): void {
    this.#lines.add("pack_rows(weights, scores);");
  }

  rescale(): void {
    this.#lines.add("#pragma unroll", "for (int i = 0; i < WIDTH / 2; i++) sums[i] *= rescale[i / 2 % 2];");
    this.weights();
  }

  /** Sums of values times a factor of the row, rounded, in the lines that held queries. */
  stage(): void {
    const lines = this.#lines;
    this.factors();
    lines.add("#pragma unroll");
    lines.block("for (int c = 0; c < WIDTH / 16; c++)", () => {
      lines.add("unsigned packed[4];  // 8 x 8 results each: rows 8 apart, then columns", "#pragma unroll");
      lines.add("for (int e = 0; e < 4; e++)");
      lines.add(
        "  packed[e] = pack_bf16(sums[c * 8 + e * 2] * factor[e % 2], sums[c * 8 + e * 2 + 1] * factor[e % 2]);",
      );
      lines.add("const int own = warp * 16 + lane % 16, chunk = c % 4 * 2 + lane / 16;");
      lines.add(
        `stmatrix_x4(${this.queriesAt} + c / 4 * ${ROWS * 128} + own * 128 + (chunk ^ own % 8) * 16, packed[0], packed[1], packed[2], packed[3]);`,
      );
    });
  }

  /** What sums of values of a thread's two rows are multiplied by at last. */
  factors(): void {
    const { peak, sum, after, kept, factor, scale } = this.#plan;
    const lines = this.#lines;
    lines.add("float factor[2];", "#pragma unroll");
    lines.block("for (int r = 0; r < 2; r++)", () => {
      lines.add(`float ${sum} = total[r] + __shfl_xor_sync(0xffffffffu, total[r], 1);`);
      lines.add(`${sum} += __shfl_xor_sync(0xffffffffu, ${sum}, 2);`);
      if (kept.length > 0) lines.add(`const float ${peak} = peaks[r] * ${scale.toPrecision(9)}f;`);
      for (const { to, value } of after) lines.add(`const float ${to} = ${this.scalars([value]).print(value)};`);
      this.#keep();
      lines.add(`factor[r] = ${this.scalars([factor]).print(factor)};`);
    });
  }

  /** What rows keep: the first of the four threads of a row stores it. */
  #keep(): void {
    const { kept } = this.#plan;
    const lines = this.#lines;
    if (kept.length === 0) return;
    lines.add(`const int flat = ${this.#firstRow} + row + r * 8;`);
    lines.block("if (lane % 4 == 0 && flat < m_end)", () => {
      this.unpackRows("flat");
      for (const { to, at, value } of kept) {
        const scalars = this.scalars([value, ...at]);
        const offset = this.#names.offset(to, at, (x) => scalars.print(x));
        lines.add(`${to}[${offset}] = ${scalars.print(value)};`);
      }
    });
  }

  /** Lines of results to memory, 16 bytes of each thread at a time. */
  store(): void {
    const { results } = this.#plan;
    this.#eachRow((place) => {
      const lines = this.#lines;
      lines.block(`if (${this.#firstRow} + own < m_end)`, () => {
        const to = this.#pointer(results);
        for (let x = 0; x < results.along.extent; x += LINE)
          lines.add(
            `*reinterpret_cast<uint4*>(${to}${x === 0 ? "" : ` + ${x}`}) = *reinterpret_cast<const uint4*>(${this.queriesAt} + ${x === 0 ? "" : `${(x / LINE) * ROWS * 128} + `}${place});`,
          );
      });
    });
  }

  /** Where a row begins in memory. */
  rowOf({ arg, at }: TensorRows): string {
    const scalars = this.scalars(at);
    return `${arg.name} + ${this.#names.offset(arg.name, at, (x) => scalars.print(x))}`;
  }

  unpackRows(item: string): void {
    this.#unpack(this.#plan.kernel.rows, item);
  }

  /** The batch that a number is of. */
  unpackBatch(item: string): void {
    this.#unpack(this.#plan.kernel.batch, item);
  }

  /** Axes of a flat index, the last one fastest. */
  #unpack(axes: readonly Axis[], item: string): void {
    let rest = item;
    for (const [i, { name, extent }] of [...axes.entries()].toReversed()) {
      const value = i === 0 ? rest : `${rest} % ${extent}`;
      this.#lines.add(`const int ${this.#names.axis(name)} = ${value};`);
      rest = i === 1 ? `${rest} / ${extent}` : `(${rest} / ${extent})`;
    }
  }

  scalars(exprs: readonly Expr[]): Scalars {
    return planeScalars(this.#plan.kernel, this.#names, this.#lines, () => `v${this.#fresh++}`, exprs);
  }
}

/** Constants that scores are multiplied by. */
export function scaleText({ scale, squash }: AttentionPlan): string {
  const inside = squash === undefined ? "" : `, SQUASH = ${(2 * squash * Math.LOG2E).toPrecision(9)}f`;
  return `SCALE = ${(scale * Math.LOG2E).toPrecision(9)}f${inside}`;
}

function sizeText(axes: readonly Axis[]): string {
  return axes.length === 0 ? "1" : axes.map(({ extent }) => String(extent)).join(" * ");
}

/** Prints expressions of a plane's rows and columns; what they use twice gets a name of `fresh` before. */
export function planeScalars(
  { batch, rows, column }: PlaneKernel,
  names: Names,
  lines: Lines,
  fresh: () => string,
  exprs: readonly Expr[],
): Scalars {
  const extents = new Map([...batch, ...rows, column].map(({ name, extent }) => [name, extent]));
  const ranges = (axis: string): number | undefined => {
    const extent = extents.get(axis);
    return typeof extent === "number" ? extent : undefined;
  };
  const scalars = new Scalars(cudaLanguage(ranges), names, lines, fresh);
  scalars.prepare(...exprs);
  return scalars;
}

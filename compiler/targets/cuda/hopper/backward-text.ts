/** What threads of a backward pass compute by themselves: statistics of rows, weights, slopes of scores, and results. */
import type { Lines } from "../../../emit/lines.ts";
import type { Axis, Expr } from "../../../kernel-ir/types.ts";
import type { Names, Scalars } from "../../scalars.ts";
import { type Comparison, columnsCompared, type TensorRows, usesAxis } from "./attention-plan.ts";
import { planeScalars } from "./attention-text.ts";
import { type BackwardPlan, rowBlock } from "./backward-plan.ts";
import { ROWS } from "./gemm-schedule.ts";
import { LINE } from "./tensor-maps.ts";

/** Which kernel: a block of it has rows, or columns. */
export type Side = "rows" | "columns";

const INFIX = { lt: "<", le: "<=", gt: ">", ge: ">=", eq: "==" } as const;

/** The smallest or largest of something of all rows, or columns, of a block. */
interface End {
  readonly name: string;
  readonly most: "least" | "most";
  readonly of: string;
}

const FROM: End = { name: "most_from", most: "most", of: "from" };
const TO: End = { name: "least_to", most: "least", of: "to" };
const LIMITS = { least: "0x7fffffff", most: "-0x7fffffff - 1" } as const;
const KEEPS = { least: "min", most: "max" } as const;

function distinct(ends: readonly End[]): End[] {
  return [...new Map(ends.map((end) => [end.name, end])).values()];
}

export class BackwardText {
  readonly #plan: BackwardPlan;
  readonly #side: Side;
  readonly #lines: Lines;
  readonly #names: Names;
  readonly #comparisons: readonly Comparison[];
  /** Different things of columns, and of rows, that are compared. */
  readonly #columns: readonly Expr[];
  readonly #rows: readonly Expr[];
  #fresh = 0;

  constructor(plan: BackwardPlan, side: Side, lines: Lines, names: Names) {
    this.#plan = plan;
    this.#side = side;
    this.#lines = lines;
    this.#names = names;
    this.#comparisons = plan.forward.comparisons ?? [];
    this.#columns = columnsCompared(this.#comparisons);
    this.#rows = [...new Map(this.#comparisons.map(({ row }) => [JSON.stringify(row), row])).values()];
  }

  /** The axes that a tile has, their end, and where the consumer's own begin. */
  get #own(): { axes: readonly Axis[]; end: string; first: string } {
    const { rows, column } = this.#plan.kernel;
    return this.#side === "rows"
      ? { axes: rows, end: "m_end", first: `at.m + part * ${ROWS}` }
      : { axes: [column], end: "n_end", first: `at.n + part * ${ROWS}` };
  }

  unpackHead(): void {
    this.#unpack(this.#plan.kernel.batch, "at.head");
  }

  /** Axes of a flat index, the last one fastest. */
  #unpack(axes: readonly Axis[], item: string): void {
    let rest = item;
    for (const [i, { name, extent }] of [...axes.entries()].toReversed()) {
      this.#lines.add(`const int ${this.#names.axis(name)} = ${i === 0 ? rest : `${rest} % ${extent}`};`);
      rest = i === 1 ? `${rest} / ${extent}` : `(${rest} / ${extent})`;
    }
  }

  /** The consumer's own rows: of each buffer, tensors that lie one behind the other in swizzled lines of 64 elements; beyond the end they are 0. */
  gather(buffers: ReadonlyMap<string, readonly TensorRows[]>): void {
    this.#eachRow((inside) => {
      this.#lines.add(`const int bytes = ${inside} ? 16 : 0;`);
      for (const [to, tensors] of buffers)
        this.#eachLine(tensors, (place, at) => this.#lines.add(`cp_async_16(${to}${place}, ${at}, bytes);`));
    });
  }

  /** Lines of results to memory, 16 bytes of each thread at a time; those of a tensor that nobody wants are left out. */
  store(
    buffers: ReadonlyMap<string, readonly { readonly to: TensorRows | undefined; readonly extent: number }[]>,
  ): void {
    this.#eachRow((inside) => {
      this.#lines.block(`if (${inside})`, () => {
        for (const [from, tensors] of buffers) {
          let behind = 0;
          for (const { to, extent } of tensors) {
            const copy = (place: string, at: string): void =>
              this.#lines.add(`*reinterpret_cast<uint4*>(${at}) = *reinterpret_cast<const uint4*>(${from}${place});`);
            if (to !== undefined) this.#eachLine([to], copy, behind);
            behind += extent / LINE;
          }
        }
      });
    });
  }

  /** Eight threads for the 128 bytes of a line of each row. */
  #eachRow(body: (inside: string) => void): void {
    const lines = this.#lines;
    const { axes, end, first } = this.#own;
    lines.add("#pragma unroll 1");
    lines.block("for (int i = 0; i < 4; i++)", () => {
      lines.add(
        "const int mine = anew(thread);",
        "const int own = i * 16 + mine / 8, chunk = mine % 8, place = own * 128 + (chunk ^ own % 8) * 16;",
      );
      const flat = `min(${first} + own, ${end} - 1)`;
      if (axes.length > 1) lines.add(`const int flat = ${flat};`);
      this.#unpack(axes, axes.length > 1 ? "flat" : flat);
      body(`${first} + own < ${end}`);
    });
  }

  #eachLine(tensors: readonly TensorRows[], body: (place: string, at: string) => void, behind = 0): void {
    let line = behind;
    for (const rows of tensors) {
      const scalars = this.#scalars(rows.at);
      const offset = this.#names.offset(rows.arg.name, rows.at, (x) => scalars.print(x));
      const name = `p${this.#fresh++}`;
      this.#lines.add(
        `${rows.arg.access === "read" ? "const " : ""}bf16* ${name} = ${rows.arg.name} + ${offset} + chunk * 8;`,
      );
      for (let x = 0; x < rows.along.extent; x += LINE, line++)
        body(`${line === 0 ? "" : ` + ${line * ROWS * 128}`} + place`, `${name}${x === 0 ? "" : ` + ${x}`}`);
    }
  }

  /** Rows of a thread: sums of weights times slopes of a block, as weights are so far. */
  products(): void {
    this.#lines.add(
      "#pragma unroll",
      "for (int r = 0; r < 2; r++) delta[r] *= rescale[r];",
      "#pragma unroll",
      "for (int i = 0; i < COLUMNS / 2; i++) delta[i / 2 % 2] += scores[i] * slopes[i];",
    );
  }

  /** What a row's softmax needs: powers of 2 of scores less `base` are weights; and the sum of weights times slopes, times the factor. */
  statistics(): void {
    const { sum, after, factor } = this.#plan.forward;
    const lines = this.#lines;
    lines.add("#pragma unroll");
    lines.block("for (int r = 0; r < 2; r++)", () => {
      lines.add(`float ${sum} = total[r] + __shfl_xor_sync(0xffffffffu, total[r], 1);`);
      lines.add(`${sum} += __shfl_xor_sync(0xffffffffu, ${sum}, 2);`);
      lines.add("delta[r] += __shfl_xor_sync(0xffffffffu, delta[r], 1);");
      lines.add("delta[r] += __shfl_xor_sync(0xffffffffu, delta[r], 2);");
      for (const { to, value } of after) lines.add(`const float ${to} = ${this.#scalars([value]).print(value)};`);
      lines.add(`const float factor = ${this.#scalars([factor]).print(factor)};`);
      lines.add("// Of a row that sees nothing, the factor is 0 and the base infinite: its weights are 0.");
      lines.add(
        `base[r] = (peaks[r] == -infinity() ? 0.0f : peaks[r] * SCALE) - logf(factor) * ${Math.LOG2E.toPrecision(9)}f;`,
      );
      lines.add("delta[r] *= factor * FACTOR;");
      lines.add(`const int m = ${this.#own.first} + row + r * 8;`);
      lines.add(
        "if (lane % 4 == 0 && m < m_end) statistics[(at.head * (long long)m_end + m) * 2] = base[r],",
        "  statistics[(at.head * (long long)m_end + m) * 2 + 1] = delta[r];",
      );
    });
  }

  /** The same where rows have kept it. */
  kept(): void {
    const lines = this.#lines;
    lines.add("#pragma unroll");
    lines.block("for (int r = 0; r < 2; r++)", () => {
      lines.add(`const int flat = min(${this.#own.first} + row + r * 8, m_end - 1);`);
      this.#unpack(this.#plan.kernel.rows, "flat");
      const [base, delta] = this.#keptText();
      lines.add(`base[r] = ${base};`, `delta[r] = ${delta};`);
    });
  }

  /** Base and sum of weights times slopes of a row that is unpacked. Of one that sees nothing, the log is about the lowest number. */
  #keptText(): [base: string, delta: string] {
    const { log, delta } = this.#plan.kept!;
    const scalars = this.#scalars([log, delta]);
    return [`fmaxf(${scalars.print(log)}, -1e30f) * ${Math.LOG2E.toPrecision(9)}f`, `${scalars.print(delta)} * FACTOR`];
  }

  /** Where scores have a cap, times its slope, 1 - tanh squared: nothing else is made of them. */
  weightsOfRows(first: string): void {
    const lines = this.#lines;
    lines.add(`hide(${first});`, "#pragma unroll");
    const head = "for (int i = 0; i < COLUMNS / 2; i++)";
    const weight = "power_of_2(scores[i] * SCALE - base[i / 2 % 2])";
    if (!this.#plan.shape.capped) return lines.add(`${head} scores[i] = ${weight};`);
    lines.block(head, () =>
      lines.add(
        "const float t = fmaxf(scores[i], -1.0f);  // of hidden ones, whose weights are 0, no infinity",
        `scores[i] = ${weight} * (1.0f - t * t);`,
      ),
    );
  }

  slopesOfRows(): void {
    this.#lines.add(
      "#pragma unroll",
      "for (int i = 0; i < COLUMNS / 2; i++) scores[i] *= slopes[i] * FACTOR - delta[i / 2 % 2];",
      "pack_rows(weights, scores);",
    );
  }

  /** A function for what is known of rows of a block. */
  describe(): void {
    const { kernel } = this.#plan;
    const lines = this.#lines;
    const names = this.#seenNames;
    const ends = this.#rowEnds;
    lines.add(
      "// Of rows from `first` on: statistics, what they see and are compared by, beyond the end nothing; then its extremes.",
    );
    lines.block(
      `const auto describe = [&](int first, ${kernel.rows.length > 1 ? "int first_member, " : ""}int head, float* known, int* seen)`,
      () => {
        if (this.#plan.kept !== undefined) this.#unpack(kernel.batch, "head");
        lines.add(`int ${ends.map(({ name, most }) => `${name} = ${LIMITS[most]}`).join(", ")};`, "#pragma unroll");
        lines.block("for (int i = lane; i < ROWS; i += 32)", () => {
          const [token, ...others] = kernel.rows as [Axis, ...Axis[]];
          const { inner } = rowBlock(this.#plan);
          const here = this.#names.axis(token.name);
          lines.add(`const bool inside = first + ${this.#behind("i")} < ${token.extent};`);
          this.#unpackRow("i", () => true);
          const row = others.length === 0 ? here : `${here} * ${inner} + member`;
          if (this.#plan.kept === undefined)
            lines.add(`const float* own = statistics + (head * (long long)m_end + ${row}) * 2;`);
          const [base, delta] = this.#plan.kept === undefined ? ["own[0]", "own[1]"] : this.#keptText();
          lines.add(`known[2 * i] = inside ? ${base} : 0.0f;`, `known[2 * i + 1] = inside ? ${delta} : 0.0f;`);
          const { span } = kernel;
          const scalars = this.#scalars([...(span === undefined ? [] : [span.from, span.to]), ...this.#rows]);
          const [from, to] = span === undefined ? ["0", "n_end"] : [span.from, span.to].map((x) => scalars.print(x));
          lines.add(`const int from = ${from}, to = inside ? ${to} : 0;`);
          for (const [r, expr] of this.#rows.entries()) lines.add(`const int row_${r} = ${scalars.print(expr)};`);
          for (const [k, name] of names.entries()) lines.add(`seen[${k} * ROWS + i] = ${name};`);
          for (const { name, most, of } of ends) lines.add(`${name} = ${KEEPS[most]}(${name}, ${of});`);
        });
        this.#keepEnds(ends, (k) => `seen[${names.length} * ROWS + ${k}]`);
        lines.add("__syncwarp();");
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
      this.#lines.add(
        `const int ${this.#names.axis(token.name)} = min(first + ${this.#behind(i)}, ${token.extent} - 1);`,
      );
    if (!others.some(isUsed)) return;
    this.#lines.add(`const int member = first_member + ${i} / ${rowBlock(this.#plan).tokens};`);
    this.#unpack(others, "member");
  }

  /** What a consumer's columns are compared by, the smallest and the largest of it. */
  ranges(): void {
    const lines = this.#lines;
    const ends = this.#columnEnds;
    lines.block("if (warp == 0)", () => {
      lines.add(`int ${ends.map(({ name, most }) => `${name} = ${LIMITS[most]}`).join(", ")};`, "#pragma unroll");
      lines.block(`for (int i = lane; i < ${ROWS}; i += 32)`, () => {
        lines.add(`const int ${this.#names.axis(this.#own.axes[0]!.name)} = min(${this.#own.first} + i, n_end - 1);`);
        const scalars = this.#scalars(this.#columns);
        for (const [i, expr] of this.#columns.entries()) lines.add(`const int column_${i} = ${scalars.print(expr)};`);
        for (const { name, most, of } of ends) lines.add(`${name} = ${KEEPS[most]}(${name}, ${of});`);
      });
      this.#keepEnds(ends, (k) => `shared.ranges[part][${k}]`);
    });
  }

  #keepEnds(ends: readonly End[], place: (k: number) => string): void {
    for (const { name, most } of ends) this.#lines.add(`${name} = __reduce_${KEEPS[most]}_sync(0xffffffffu, ${name});`);
    const stores = ends.map(({ name }, k) => `${place(k)} = ${name}`);
    const rows = Array.from({ length: Math.ceil(stores.length / 3) }, (_, i) =>
      stores.slice(i * 3, i * 3 + 3).join(", "),
    );
    this.#lines.add(...`if (lane == 0) ${rows.join(",\n    ")};`.split("\n"));
  }

  get #rowEnds(): End[] {
    return distinct([FROM, TO, ...this.#ends.map(({ row }) => row)]);
  }

  get #columnEnds(): End[] {
    return distinct(this.#ends.map(({ column }) => column));
  }

  /** What is known of each row of a block, in the order in which it lies in memory. */
  get #seenNames(): string[] {
    return ["from", "to", ...this.#rows.map((_, i) => `row_${i}`)];
  }

  /** Comparisons of extremes that must hold so that all comparisons of a block do. */
  get #ends(): { column: End; op: Comparison["op"]; row: End }[] {
    return this.#comparisons.flatMap((one) => {
      const { op } = one;
      const [column, row] = [`column_${this.#columnOf(one)}`, `row_${this.#rowOf(one)}`];
      const sides: ("least" | "most")[] =
        op === "eq" ? ["least", "most"] : [op === "lt" || op === "le" ? "most" : "least"];
      return sides.map((most) => {
        const other = most === "most" ? "least" : "most";
        return {
          column: { name: `${most}_${column}`, most, of: column },
          op,
          row: { name: `${other}_${row}`, most: other, of: row },
        } as const;
      });
    });
  }

  /** A consumer's function that hides its columns from rows that do not see them. */
  columns(): void {
    const { kernel, forward } = this.#plan;
    const { column, rows: rowAxes } = kernel;
    const lines = this.#lines;
    const { seen, comparisons } = forward;
    const mask = comparisons === undefined ? seen : undefined;
    const axis = this.#names.axis(column.name);
    const names = this.#seenNames;
    this.unpackHead();
    const most = mask === undefined ? " Of most blocks rows see all." : "";
    lines.add(`// A row that does not see a column has the score of minus infinity there.${most}`);
    lines.block(
      `const auto hide = [&](${mask === undefined ? "" : `int first, ${rowAxes.length > 1 ? "int first_member, " : ""}`}const int* seen)`,
      () => {
        if (mask !== undefined) return this.#hideByMask(mask);
        const rows = this.#rowEnds;
        const end = ({ name }: End): string =>
          `seen[${names.length} * ROWS + ${rows.findIndex((x) => x.name === name)}]`;
        const ranges = this.#columnEnds;
        const range = ({ name }: End): string => `shared.ranges[part][${ranges.findIndex((x) => x.name === name)}]`;
        const surely = [`${this.#own.first} >= ${end(FROM)}`, `${this.#own.first} + ${ROWS} <= ${end(TO)}`];
        lines.add(
          `if (${surely.join(" && ")}${this.#ends.length > 0 ? " &&" : ") return;"}`,
          ...this.#ends.map(
            ({ column: own, op, row }, i) =>
              `    ${range(own)} ${INFIX[op]} ${end(row)}${i + 1 < this.#ends.length ? " &&" : ") return;"}`,
          ),
        );
        lines.add("const int mine = anew(thread);");
        lines.add(
          `int s[2]${this.#columns.map((_, i) => `, column_${i}[2]`).join("")};  // of the thread's two columns, 8 apart`,
        );
        lines.add("#pragma unroll");
        lines.block("for (int r = 0; r < 2; r++)", () => {
          lines.add(`s[r] = ${this.#own.first} + mine / 32 * 16 + mine % 32 / 4 + r * 8;`);
          if (this.#columns.length > 0) lines.add(`const int ${axis} = min(s[r], n_end - 1);`);
          const scalars = this.#scalars(this.#columns);
          for (const [i, expr] of this.#columns.entries()) lines.add(`column_${i}[r] = ${scalars.print(expr)};`);
        });
        lines.add("#pragma unroll");
        lines.block("for (int j = 0; j < ROWS / 4; j++)", () => {
          lines.add("const int own = j / 2 * 8 + column + j % 2;");
          const loads = names.map((name, k) => `${name} = seen[${k} * ROWS + own]`);
          lines.add(`const int ${loads.join(", ")};`, "#pragma unroll");
          const hides = this.#comparisons.map(
            (one) => `!(column_${this.#columnOf(one)}[r] ${INFIX[one.op]} row_${this.#rowOf(one)})`,
          );
          lines.add(
            "for (int r = 0; r < 2; r++)",
            `  if (${["s[r] < from", "s[r] >= to", ...hides].join(" || ")}) scores[j / 2 * 4 + r * 2 + j % 2] = -infinity();`,
          );
        });
      },
      "};",
    );
  }

  /** Where a mask is no comparison, it is asked for each row and column, without branches. */
  #hideByMask(mask: Expr): void {
    const { column } = this.#plan.kernel;
    const lines = this.#lines;
    lines.add("const int mine = anew(thread);");
    lines.add(`const int n = ${this.#own.first} + mine / 32 * 16 + mine % 32 / 4;`);
    lines.block(
      "hide_where(scores, [&](int behind, int r)",
      () => {
        lines.add("const int own = behind + column, s = n + r * 8;");
        this.#unpackRow("own", ({ name }) => usesAxis(mask, name));
        if (usesAxis(mask, column.name)) lines.add(`const int ${this.#names.axis(column.name)} = min(s, n_end - 1);`);
        const sees = this.#scalars([mask]).print(mask);
        lines.add(`return (s < seen[own]) | (s >= seen[ROWS + own]) | !(${sees});`);
      },
      "});",
    );
  }

  #columnOf({ column }: Comparison): number {
    return this.#columns.findIndex((expr) => JSON.stringify(expr) === JSON.stringify(column));
  }

  #rowOf({ row }: Comparison): number {
    return this.#rows.findIndex((expr) => JSON.stringify(expr) === JSON.stringify(row));
  }

  /** @param first of a block: its token, and its head where rows have several */
  weightsOfColumns(...first: readonly string[]): void {
    const lines = this.#lines;
    const { capped } = this.#plan.shape;
    if (capped) {
      lines.add("// Slopes of the cap.", "#pragma unroll");
      lines.block("for (int i = 0; i < ROWS / 4; i++)", () =>
        lines.add(
          "const float first = scores[2 * i], second = scores[2 * i + 1];",
          "curbed[i / 4][i % 4] = pack_bf16(1.0f - first * first, 1.0f - second * second);",
        ),
      );
    }
    const { seen, comparisons } = this.#plan.forward;
    const place = seen !== undefined && comparisons === undefined ? first : [];
    lines.add(`hide(${[...place, "shared.seen[stage]"].join(", ")});`, "#pragma unroll");
    lines.block("for (int i = 0; i < ROWS / 2; i++)", () =>
      lines.add(
        "const float base = shared.statistics[stage][(i / 4 * 8 + column + i % 2) * 2];",
        "scores[i] = power_of_2(scores[i] * SCALE - base);",
      ),
    );
    lines.add("pack_rows(weights, scores);");
  }

  slopesOfColumns(): void {
    const lines = this.#lines;
    const half = (pair: string): string => `__uint_as_float(i % 2 == 0 ? ${pair} << 16 : ${pair} & 0xffff0000u)`;
    const { capped } = this.#plan.shape;
    lines.add("#pragma unroll");
    lines.block("for (int i = 0; i < ROWS / 2; i++)", () =>
      lines.add(
        "const float delta = shared.statistics[stage][(i / 4 * 8 + column + i % 2) * 2 + 1];",
        `const unsigned pair = weights[i / 8][i / 2 % 4]${capped ? ", curb = curbed[i / 8][i / 2 % 4]" : ""};`,
        `scores[i] = ${half("pair")} * (scores[i] * FACTOR - delta);`,
        ...(capped ? [`scores[i] *= ${half("curb")};`] : []),
      ),
    );
    lines.add("pack_rows(weights, scores);");
  }

  /** Sums, rounded, in the lines of what they are gradients of. */
  stage(sums: string, to: string, elements: number): void {
    const lines = this.#lines;
    lines.add("#pragma unroll");
    lines.block(`for (int c = 0; c < ${elements} / 16; c++)`, () => {
      lines.add("unsigned packed[4];  // 8 x 8 results each: rows 8 apart, then columns", "#pragma unroll");
      lines.add(
        `for (int e = 0; e < 4; e++) packed[e] = pack_bf16(${sums}[c * 8 + e * 2], ${sums}[c * 8 + e * 2 + 1]);`,
        `stmatrix_x4(${to} + c / 4 * ${ROWS * 128} + (place ^ c % 4 * 32), packed[0], packed[1], packed[2], packed[3]);`,
      );
    });
  }

  /** Of a lane's row, in a line: the next columns lie at other places of its 128 bytes. */
  placeOfResults(): void {
    this.#lines.add(
      "const int mine = anew(thread);",
      "const int place = (mine / 32 * 16 + mine % 16) * 128 + (mine % 32 / 16 ^ mine % 8) * 16;",
    );
  }

  #scalars(exprs: readonly Expr[]): Scalars {
    return planeScalars(this.#plan.kernel, this.#names, this.#lines, () => `w${this.#fresh++}`, exprs);
  }
}

/** What threads of an attention kernel compute by themselves: gathered rows, exponentials, results. */
import type { Lines } from "../../../emit/lines.ts";
import type { Names } from "../../scalars.ts";
import { AttentionMask } from "./attention-mask.ts";
import type { AttentionPlan, ColumnRows, TensorRows } from "./attention-plan.ts";
import { ROWS } from "./gemm-shape.ts";
import { PlaneText, sizeText } from "./plane-text.ts";
import { LINE } from "./tensor-maps.ts";

export class AttentionText {
  readonly #plan: AttentionPlan;
  /** Names and expressions. */
  readonly plane: PlaneText;
  /** Which columns rows see. */
  readonly mask: AttentionMask;

  /** @param ring the place of a block in the ring of keys */
  constructor(plan: AttentionPlan, lines: Lines, names: Names, ring = "key") {
    this.#plan = plan;
    this.plane = new PlaneText(plan.kernel, lines, names, "v");
    this.mask = new AttentionMask(plan, this.plane, ring, this.#firstRow);
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
    this.plane.lines.add(`const int ${this.plane.axis(axis)} = ${value};`);
  }

  /** Of a tile, or of a share of its columns. */
  blocks(): void {
    const all = "span_of(at.m)";
    this.plane.lines.add(
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
    this.plane.lines.block(
      `const auto ${name} = [&](int first, int head, unsigned char* to)`,
      () => {
        this.unpackBatch("head");
        this.gatherRows("to", "first", rows, { from: 0, to: rows.along.extent }, "int own, int", () =>
          this.plane.lines.add(`const int ${this.plane.column} = min(first + own, ${this.plane.columnCount} - 1);`),
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
    const head = `gather_rows<COLUMNS, ${(terms.to - terms.from) / LINE}>(${to}, thread, ${this.plane.columnCount} - ${first}`;
    this.plane.call(head, parameters, () => {
      before();
      return `${this.plane.place(rows)}${terms.from === 0 ? "" : ` + ${terms.from}`}`;
    });
  }

  /** Queries of the consumer's rows into swizzled lines of 64 elements, from a term on; rows beyond the end are 0. */
  queries(to: string, first = 0): void {
    const { terms } = this.#plan;
    this.#eachRow((place) => {
      const lines = this.plane.lines;
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
    const lines = this.plane.lines;
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
    const place = this.plane.place(rows);
    const name = this.plane.fresh("p");
    const type = rows.arg.access === "read" ? "const bf16*" : "bf16*";
    this.plane.lines.add(`${type} ${name} = ${place} + chunk * 8;`);
    return name;
  }

  exponentials(first: string): void {
    this.squash();
    this.plane.lines.add(`hide(${first});`, "exponentiate(scores, peaks, total, rescale, SCALE);");
  }

  /** Scores inside of a cap, before some are hidden. */
  squash(): void {
    if (this.#plan.squash !== undefined) this.plane.lines.add("squash(scores, SQUASH);");
  }

  weights(): void {
    this.plane.lines.add("pack_rows(weights, scores);");
  }

  rescale(): void {
    this.plane.lines.add("#pragma unroll", "for (int i = 0; i < WIDTH / 2; i++) sums[i] *= rescale[i / 2 % 2];");
    this.weights();
  }

  /** Sums of values times a factor of the row, rounded, in the lines that held queries. */
  stage(): void {
    const lines = this.plane.lines;
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
    const lines = this.plane.lines;
    lines.add("float factor[2];", "#pragma unroll");
    lines.block("for (int r = 0; r < 2; r++)", () => {
      lines.add(`float ${sum} = total[r] + __shfl_xor_sync(0xffffffffu, total[r], 1);`);
      lines.add(`${sum} += __shfl_xor_sync(0xffffffffu, ${sum}, 2);`);
      if (kept.length > 0) lines.add(`const float ${peak} = peaks[r] * ${scale.toPrecision(9)}f;`);
      for (const { to, value } of after) lines.add(`const float ${to} = ${this.plane.scalars([value]).print(value)};`);
      this.#keep();
      lines.add(`factor[r] = ${this.plane.scalars([factor]).print(factor)};`);
    });
  }

  /** What rows keep: the first of the four threads of a row stores it. */
  #keep(): void {
    const { kept } = this.#plan;
    const lines = this.plane.lines;
    if (kept.length === 0) return;
    lines.add(`const int flat = ${this.#firstRow} + row + r * 8;`);
    lines.block("if (lane % 4 == 0 && flat < m_end)", () => {
      this.unpackRows("flat");
      for (const { to, at, value } of kept) {
        const scalars = this.plane.scalars([value, ...at]);
        const element = this.plane.element(to, at, scalars);
        lines.add(`${element} = ${scalars.print(value)};`);
      }
    });
  }

  /** Lines of results to memory, 16 bytes of each thread at a time. */
  store(): void {
    const { results } = this.#plan;
    this.#eachRow((place) => {
      const lines = this.plane.lines;
      lines.block(`if (${this.#firstRow} + own < m_end)`, () => {
        const to = this.#pointer(results);
        for (let x = 0; x < results.along.extent; x += LINE)
          lines.add(
            `*reinterpret_cast<uint4*>(${to}${x === 0 ? "" : ` + ${x}`}) = *reinterpret_cast<const uint4*>(${this.queriesAt} + ${x === 0 ? "" : `${(x / LINE) * ROWS * 128} + `}${place});`,
          );
      });
    });
  }

  unpackRows(item: string): void {
    this.plane.unpack(this.#plan.kernel.rows, item);
  }

  /** The batch that a number is of. */
  unpackBatch(item: string): void {
    this.plane.unpack(this.#plan.kernel.batch, item);
  }
}

/** Constants that scores are multiplied by. */
export function scaleText({ scale, squash }: AttentionPlan): string {
  const inside = squash === undefined ? "" : `, SQUASH = ${(2 * squash * Math.LOG2E).toPrecision(9)}f`;
  return `SCALE = ${(scale * Math.LOG2E).toPrecision(9)}f${inside}`;
}

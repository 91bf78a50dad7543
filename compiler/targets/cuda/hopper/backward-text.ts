/** What threads of a backward pass compute by themselves: statistics of rows, weights, slopes of scores, and results. */
import type { Lines } from "../../../emit/lines.ts";
import type { Axis } from "../../../kernel-ir/types.ts";
import type { Names } from "../../scalars.ts";
import type { TensorRows } from "./attention-plan.ts";
import { BackwardMask } from "./backward-mask.ts";
import type { BackwardPlan } from "./backward-plan.ts";
import { ROWS } from "./gemm-shape.ts";
import { PlaneText } from "./plane-text.ts";
import { LINE } from "./tensor-maps.ts";

/** Which kernel: a block of it has rows, or columns. */
export type Side = "rows" | "columns";

export class BackwardText {
  readonly #plan: BackwardPlan;
  readonly #side: Side;
  readonly #text: PlaneText;
  /** What is known of rows of a block, and which columns they see. */
  readonly mask: BackwardMask;

  constructor(plan: BackwardPlan, side: Side, lines: Lines, names: Names) {
    this.#plan = plan;
    this.#side = side;
    this.#text = new PlaneText(plan.kernel, lines, names, "w");
    this.mask = new BackwardMask(plan, this.#text, () => this.#keptText());
  }

  /** The axes that a tile has, their end, and where the consumer's own begin. */
  get #own(): { axes: readonly Axis[]; end: string; first: string } {
    const { rows, column } = this.#plan.kernel;
    return this.#side === "rows"
      ? { axes: rows, end: "m_end", first: `at.m + part * ${ROWS}` }
      : { axes: [column], end: "n_end", first: `at.n + part * ${ROWS}` };
  }

  /** The consumer's own rows: of each buffer, tensors that lie one behind the other in swizzled lines of 64 elements; beyond the end they are 0. */
  gather(buffers: ReadonlyMap<string, readonly TensorRows[]>): void {
    this.#eachRow((inside) => {
      this.#text.lines.add(`const int bytes = ${inside} ? 16 : 0;`);
      for (const [to, tensors] of buffers)
        this.#eachLine(tensors, (place, at) => this.#text.lines.add(`cp_async_16(${to}${place}, ${at}, bytes);`));
    });
  }

  /** Lines of results to memory, 16 bytes of each thread at a time; those of a tensor that nobody wants are left out. */
  store(
    buffers: ReadonlyMap<string, readonly { readonly to: TensorRows | undefined; readonly extent: number }[]>,
  ): void {
    this.#eachRow((inside) => {
      this.#text.lines.block(`if (${inside})`, () => {
        for (const [from, tensors] of buffers) {
          let behind = 0;
          for (const { to, extent } of tensors) {
            const copy = (place: string, at: string): void =>
              this.#text.lines.add(
                `*reinterpret_cast<uint4*>(${at}) = *reinterpret_cast<const uint4*>(${from}${place});`,
              );
            if (to !== undefined) this.#eachLine([to], copy, behind);
            behind += extent / LINE;
          }
        }
      });
    });
  }

  /** Eight threads for the 128 bytes of a line of each row. */
  #eachRow(body: (inside: string) => void): void {
    const lines = this.#text.lines;
    const { axes, end, first } = this.#own;
    lines.add("#pragma unroll 1");
    lines.block("for (int i = 0; i < 4; i++)", () => {
      lines.add(
        "const int mine = anew(thread);",
        "const int own = i * 16 + mine / 8, chunk = mine % 8, place = own * 128 + (chunk ^ own % 8) * 16;",
      );
      const flat = `min(${first} + own, ${end} - 1)`;
      if (axes.length > 1) lines.add(`const int flat = ${flat};`);
      this.#text.unpack(axes, axes.length > 1 ? "flat" : flat);
      body(`${first} + own < ${end}`);
    });
  }

  #eachLine(tensors: readonly TensorRows[], body: (place: string, at: string) => void, behind = 0): void {
    let line = behind;
    for (const rows of tensors) {
      const first = this.#text.place(rows);
      const name = this.#text.fresh("p");
      this.#text.lines.add(`${rows.arg.access === "read" ? "const " : ""}bf16* ${name} = ${first} + chunk * 8;`);
      for (let x = 0; x < rows.along.extent; x += LINE, line++)
        body(`${line === 0 ? "" : ` + ${line * ROWS * 128}`} + place`, `${name}${x === 0 ? "" : ` + ${x}`}`);
    }
  }

  /** Rows of a thread: sums of weights times slopes of a block, as weights are so far. */
  products(): void {
    this.#text.lines.add(
      "#pragma unroll",
      "for (int r = 0; r < 2; r++) delta[r] *= rescale[r];",
      "#pragma unroll",
      "for (int i = 0; i < COLUMNS / 2; i++) delta[i / 2 % 2] += scores[i] * slopes[i];",
    );
  }

  /** What a row's softmax needs: powers of 2 of scores less `base` are weights; and the sum of weights times slopes, times the factor. */
  statistics(): void {
    const { sum, after, factor } = this.#plan.forward;
    const lines = this.#text.lines;
    lines.add("#pragma unroll");
    lines.block("for (int r = 0; r < 2; r++)", () => {
      lines.add(`float ${sum} = total[r] + __shfl_xor_sync(0xffffffffu, total[r], 1);`);
      lines.add(`${sum} += __shfl_xor_sync(0xffffffffu, ${sum}, 2);`);
      lines.add("delta[r] += __shfl_xor_sync(0xffffffffu, delta[r], 1);");
      lines.add("delta[r] += __shfl_xor_sync(0xffffffffu, delta[r], 2);");
      for (const { to, value } of after) lines.add(`const float ${to} = ${this.#text.scalars([value]).print(value)};`);
      lines.add(`const float factor = ${this.#text.scalars([factor]).print(factor)};`);
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
    const lines = this.#text.lines;
    lines.add("#pragma unroll");
    lines.block("for (int r = 0; r < 2; r++)", () => {
      lines.add(`const int flat = min(${this.#own.first} + row + r * 8, m_end - 1);`);
      this.#text.unpack(this.#plan.kernel.rows, "flat");
      const [base, delta] = this.#keptText();
      lines.add(`base[r] = ${base};`, `delta[r] = ${delta};`);
    });
  }

  /** Base and sum of weights times slopes of a row that is unpacked. Of one that sees nothing, the log is about the lowest number. */
  #keptText(): [base: string, delta: string] {
    const { log, delta } = this.#plan.kept!;
    const scalars = this.#text.scalars([log, delta]);
    return [`fmaxf(${scalars.print(log)}, -1e30f) * ${Math.LOG2E.toPrecision(9)}f`, `${scalars.print(delta)} * FACTOR`];
  }

  /** Where scores have a cap, times its slope, 1 - tanh squared: nothing else is made of them. */
  weightsOfRows(first: string): void {
    const lines = this.#text.lines;
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
    this.#text.lines.add(
      "#pragma unroll",
      "for (int i = 0; i < COLUMNS / 2; i++) scores[i] *= slopes[i] * FACTOR - delta[i / 2 % 2];",
      "pack_rows(weights, scores);",
    );
  }

  /** @param first of a block: its token, and its head where rows have several */
  weightsOfColumns(...first: readonly string[]): void {
    const lines = this.#text.lines;
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
    const lines = this.#text.lines;
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
    const lines = this.#text.lines;
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
    this.#text.lines.add(
      "const int mine = anew(thread);",
      "const int place = (mine / 32 * 16 + mine % 16) * 128 + (mine % 32 / 16 ^ mine % 8) * 16;",
    );
  }
}

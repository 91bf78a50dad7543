/** The text of products of few rows (few-rows.ts): which rows a block has, sums of its warps' terms, what is done with them. */
import type { Arg, Expr, GemmKernel } from "../../kernel-ir/types.ts";
import { knownSize, sizeText } from "../simt/axes.ts";
import type { RowParts } from "../simt/few-rows.ts";
import type { Frame } from "../simt/frame.ts";
import { Statements } from "../simt/statements.ts";
import { bitsOf, CodesPrinter, haveGroups, scaleWords } from "./few-rows-codes.ts";
import { EIGHT, KEPT, type Shape, stagedTerms, stepOf, type Stream, THREADS, WARPS } from "./few-rows-plan.ts";
import { storageType } from "./language.ts";

/**
 * Words of the large operand that a thread asks for before it uses the first of them. Where few rows are read beside it as they lie, twice as
 * many: on an H200, 1 x 129,280 x 7,168 takes 481 us with 64 words, and 552 us with 32 and the rows read ahead, which other rows need.
 */
const READ_WORDS = 32;
const READ_WORDS_ALONE = 64;
/**
 * Turns of the loop over terms that become one, of groups whose terms are neighbors. nvcc makes four into one, whose words are all asked
 * for at once: beside what a block knows of its group they do not fit into 255 registers, with two they take 166.
 */
const TURNS_OF_GROUPS = 2;

export class FewRowsPrinter {
  readonly #frame: Frame;
  readonly #kernel: GemmKernel;
  readonly #streams: readonly Stream[];
  readonly #shape: Shape;
  readonly #parts: RowParts;

  constructor(frame: Frame, kernel: GemmKernel, streams: readonly Stream[], shape: Shape, parts: RowParts) {
    this.#frame = frame;
    this.#kernel = kernel;
    this.#streams = streams;
    this.#shape = shape;
    this.#parts = parts;
  }

  get #columns(): number {
    return this.#shape.columns;
  }

  /** Rows that a block has at a time. */
  get #rows(): number {
    return EIGHT * this.#shape.eights;
  }

  print(): void {
    const { batch, m, n, groups } = this.#kernel;
    const frame = this.#frame;
    for (const { number } of this.#streams)
      frame.share(`kept${number}`, `__shared__ float kept${number}[${KEPT}][${this.#columns / 4}][32];`);
    if (groups !== undefined) this.#shareMembers();
    frame.main(this.#shape.name, THREADS, () => {
      const { lines } = frame;
      frame.item("item");
      lines.add("const int warp = threadIdx.x / 32, octet = threadIdx.x % 32 / 4, quad = threadIdx.x % 4;");
      frame.index("blocks", `(${sizeText(n)} + ${this.#columns - 1}) / ${this.#columns}`);
      frame.index("first_n", `item % blocks * ${this.#columns}`);
      if (groups === undefined) {
        frame.index("row_blocks", `(${sizeText(m)} + ${this.#rows - 1}) / ${this.#rows}`);
        frame.index("first_row", `item / blocks % row_blocks * ${this.#rows}`);
        frame.index("batch", "item / blocks / row_blocks");
        frame.index("rows", `min(${this.#rows}, ${sizeText(m)} - first_row)`);
        this.#statistics();
        frame.unpack(batch, "batch");
        return this.#sums();
      }
      frame.index("own", `item / blocks % (${sizeText(m)})`);
      frame.index("batch", `item / blocks / (${sizeText(m)})`);
      frame.index("expert", "group_of(own)");
      frame.unpack(batch, "batch");
      this.#members();
      frame.index(frame.names.axis(groups.group.name), "expert");
      lines.block(`for (int first_row = 0; first_row < count; first_row += ${EIGHT})`, () => {
        frame.index("rows", `min(${EIGHT}, count - first_row)`);
        this.#sums();
        frame.lines.add("__syncthreads();");
      });
    });
  }

  /** A row of those that are taken together. */
  #row(r: string): string {
    return this.#kernel.groups === undefined ? `first_row + ${r}` : `members[first_row + ${r}]`;
  }

  #shareMembers(): void {
    const most = EIGHT * (this.#kernel.groups!.group.extent as number);
    this.#frame.share("marks", `__shared__ unsigned marks[${Math.ceil(most / 32)}];`);
    this.#frame.share("members", `__shared__ unsigned short members[${most}];`);
  }

  /** The rows of the own row's group, in their order. Only the block of the first of them goes on. */
  #members(): void {
    const { m, groups, products } = this.#kernel;
    const { lines } = this.#frame;
    const size = sizeText(m);
    lines.block(`if (expert < 0 || expert >= ${groups!.group.extent})`, () => {
      lines.add("// Products of a row without a group are 0.");
      const zeros = products.map(() => "0.0f").join(", ");
      lines.add(
        `for (int c = threadIdx.x; c < ${this.#columns}; c += ${THREADS}) finish(batch, own, first_n + c, ${zeros});`,
        "return;",
      );
    });
    const each = `for (int i = threadIdx.x; i < (${size} + 31) / 32 * 32; i += ${THREADS})`;
    lines.block(each, () => {
      lines.add(`const bool mine = i < ${size} && group_of(min(i, ${size} - 1)) == expert;`);
      lines.add("const unsigned mark = __ballot_sync(0xffffffffu, mine);");
      lines.add("if (i % 32 == 0) marks[i / 32] = mark;");
    });
    lines.add("__syncthreads();", "int count = 0;");
    lines.block("for (int i = 0; i < own; i += 32)", () => {
      lines.add("const unsigned before = own - i < 32 ? (1u << (own - i)) - 1 : 0xffffffffu;");
      lines.add("if ((marks[i / 32] & before) != 0) return;  // the block of an earlier row does it");
    });
    lines.block(each, () => {
      lines.add("int place = __popc(marks[i / 32] & ((1u << i % 32) - 1));");
      lines.add("for (int j = 0; j < i / 32; j++) place += __popc(marks[j]);");
      lines.add("if ((marks[i / 32] >> i % 32 & 1) != 0) members[place] = i;");
    });
    lines.add(`for (int i = 0; i < (${size} + 31) / 32; i++) count += __popc(marks[i]);`, "__syncthreads();");
  }

  /** Numbers of rows: each warp computes those of a row. */
  #statistics(): void {
    const frame = this.#frame;
    const names = this.#allStatistics;
    if (names.length === 0) return;
    for (const name of names) frame.share(`${name}_rows`, `__shared__ float ${name}_rows[${this.#rows}];`);
    const body = (): void => {
      frame.index("m", "first_row + r");
      frame.index("lane", "threadIdx.x % 32");
      // A thread asks for many elements at a time.
      const text = frame.capture(() => this.#parts.prologue(32, THREADS)).trimEnd();
      frame.lines.add(...text.replaceAll(/^( *)(for \(int \w+ = lane;)/gm, "$1#pragma unroll 16\n$1$2").split("\n"));
      frame.lines.add(`if (lane == 0) ${names.map((name) => `${name}_rows[r] = ${name}`).join(", ")};`);
    };
    frame.lines.block(`for (int r = warp; r < rows; r += ${WARPS})`, body);
    frame.lines.add("__syncthreads();");
  }

  get #allStatistics(): string[] {
    return [...new Set(this.#streams.flatMap(({ number }) => this.#parts.statistics(number)))];
  }

  /** Sums of rows, and what is done with them. */
  #sums(): void {
    const frame = this.#frame;
    const { lines } = frame;
    const { eights } = this.#shape;
    for (const own of this.#streams) {
      const { number, mma } = own;
      lines.add(`float sum${number}${eights === 1 ? "" : `[${eights}]`}[${this.#columns / 16}][4] = {};`);
      if (!mma) lines.add(`float p${number}[4][${EIGHT}] = {};`);
    }
    for (const own of this.#alike()) lines.block("", () => this.#stream(own));
    for (const { number, mma } of this.#streams) if (!mma) lines.add(`over_quads(sum${number}, p${number});`);
    const finish = (e: string): void => {
      for (const { number } of this.#streams) lines.add(`keep_sums(kept${number}, sum${number}${e && `[${e}]`});`);
      lines.add("__syncthreads();");
      const rows = e === "" ? "rows" : `min(${EIGHT}, rows - ${e} * ${EIGHT})`;
      lines.block(`for (int i = threadIdx.x; i < ${rows} * ${this.#columns}; i += ${THREADS})`, () => {
        frame.index("r", `i / ${this.#columns}`);
        frame.index("c", `i % ${this.#columns}`);
        const sums = this.#streams.map(({ number, weights }) => {
          const each = this.#columns / 8;
          const [octet, column] = weights.inner === 1 ? ["c % 8", "c / 8"] : [`c / ${each}`, `c % ${each}`];
          return `sum_of_warps(kept${number}, r, ${octet}, ${column})`;
        });
        lines.add(
          `finish(batch, ${this.#row(e === "" ? "r" : `${e} * ${EIGHT} + r`)}, first_n + c, ${sums.join(", ")});`,
        );
      });
    };
    if (eights === 1) return finish("");
    lines.add("#pragma unroll");
    lines.block(`for (int e = 0; e < ${eights}; e++)`, () => {
      lines.block(`if (e * ${EIGHT} < rows)`, () => {
        finish("e");
        lines.add("__syncthreads();");
      });
    });
  }

  /** Products that have their rows and the way of their terms in common. */
  #alike(): Stream[][] {
    const alike = new Map<string, Stream[]>();
    for (const stream of this.#streams) {
      const { a, k } = stream.product;
      const { arg, inner, scales } = stream.weights;
      const key = JSON.stringify([a, k, stream.mma, inner === 1, scales !== undefined && arg.dtype]);
      alike.set(key, [...(alike.get(key) ?? []), stream]);
    }
    return [...alike.values()];
  }

  #stream(streams: readonly Stream[]): void {
    const frame = this.#frame;
    const { lines } = frame;
    const [{ mma, product, weights, rows }] = streams as [Stream];
    const isNear = weights.inner === 1;
    const size = knownSize(product.k)!;
    const each = this.#columns / 8;
    const bits = bitsOf(streams[0]!);
    // What a thread reads at a time for a product: lines, and words of each.
    const [reads, words] = mma
      ? isNear
        ? [each, bits / 4]
        : [4, Math.max(1, (each * bits) / 32)]
      : isNear
        ? [each, 4]
        : [1, 4];
    const step = stepOf(mma, isNear);
    const alone = this.#isAlone(streams[0]!);
    const isFew = alone || (weights.scales !== undefined && this.#shape.eights === 1);
    const most = isFew ? READ_WORDS_ALONE : READ_WORDS;
    let turns = 8;
    const isMuch = (): boolean => {
      const all = streams.reduce((sum, own) => sum + turns * reads * words + scaleWords(own, each, turns * step), 0);
      return all > most || (!mma && turns * step * WARPS > this.#stagedTerms);
    };
    const isEven = (): boolean =>
      turns * step * WARPS <= size &&
      size % (turns * step) === 0 &&
      streams.every((own) => haveGroups(own, turns * step));
    while (turns > 1 && (isMuch() || !isEven())) turns /= 2;
    const together = turns * step * WARPS;
    const way = { columns: each, isNear, step, terms: turns * step, size: sizeText(this.#kernel.n) };
    const codes = streams.flatMap((own) =>
      own.weights.scales === undefined ? [] : [new CodesPrinter(lines, own, way)],
    );
    for (const { number, weights: own } of streams) {
      const type = `const ${storageType(own.arg.dtype)}*`;
      if (isNear) {
        const place = `(long long)min(first_n + i * 8 + octet, ${way.size} - 1) * ${own.outer}`;
        lines.add(`${type} b${number}[${reads}];`, "#pragma unroll");
        lines.add(`for (int i = 0; i < ${reads}; i++) b${number}[i] = ${this.#pointer(own.arg, own.at, place)};`);
      } else {
        const place = `min(first_n + octet * ${each}, ${way.size} - ${each})`;
        lines.add(`${type} const b${number} = ${this.#pointer(own.arg, own.at, place)};`);
      }
    }
    for (const [i, own] of codes.entries()) {
      const { arg, at } = streams[i]!.weights.scales!;
      own.pointers(this.#pointer(arg, at));
    }
    if (mma) this.#rowsOfA(rows);
    const of = weights.inner === 1 ? (mma ? 8 : 4) : mma ? 4 : 1;
    const term = `const int k = first + j * ${step} + quad${of === 1 ? "" : ` * ${of}`};`;
    const loop = `for (int j = 0; j < ${turns}; j++)`;
    const read = (when?: string): void => {
      for (const { number } of streams)
        lines.add(`${mma ? "unsigned" : "float"} words${number}[${turns}][${reads}][${words}];`);
      lines.add("#pragma unroll");
      lines.block(when === undefined ? loop : `${loop} if (${when})`, () => {
        lines.add(term);
        for (const { number, weights: own } of streams) {
          const isHalf = mma && !isNear && each * bits < 32;
          const head = `${isHalf ? "read_half" : mma ? "read_words" : "read_floats"}(words${number}[j]`;
          const far = (k: string): string => times(k, bits < 8 ? own.inner / 2 : own.inner, size);
          if (isNear)
            lines.add(`for (int i = 0; i < ${reads}; i++) ${head}[i], b${number}[i] + k${bits < 8 ? " / 2" : ""});`);
          else if (reads === 1) lines.add(`${head}[0], b${number} + ${far("k")});`);
          else lines.add(`for (int i = 0; i < ${reads}; i++) ${head}[i], b${number} + ${far("(k + i)")});`);
        }
      });
      for (const own of codes) own.read(when);
    };
    if (!mma) {
      lines.block(`for (int begin = 0; begin < ${size}; begin += ${together})`, () => {
        frame.index("first", `begin + warp * ${turns * step}`);
        const isThere = size % together === 0 ? undefined : `first < ${size}`;
        read(isThere);
        lines.add("__syncthreads();");
        this.#stage(streams[0]!, together, size);
        lines.add("__syncthreads();", "#pragma unroll");
        lines.block(isThere === undefined ? loop : `${loop} if (${isThere})`, () => {
          lines.add(term);
          for (const own of codes) own.scale(reads);
          this.#add(streams, isNear);
        });
      });
      return;
    }
    if (isNear && this.#kernel.groups !== undefined) lines.add(`#pragma unroll ${TURNS_OF_GROUPS}`);
    lines.block(`for (int first = warp * ${turns * step}; first < ${size}; first += ${together})`, () => {
      read();
      const { eights } = this.#shape;
      const add = (line: string): void => {
        const sums = (number: number): string => `sum${number}${eights === 1 ? "" : "[e]"}`;
        for (const [i, own] of codes.entries()) own.add(sums(streams[i]!.number), line);
        if (codes.length > 0) return;
        for (const { number } of streams)
          lines.add(`${isNear ? "add_terms" : "add_columns"}(${sums(number)}, words${number}[j], ${line});`);
      };
      // Neighbors of codes have four others between them.
      const pairs = (line: string): void => (codes.length > 0 && isNear ? lines.add(`pair_far(${line});`) : undefined);
      if (alone) {
        lines.add("#pragma unroll");
        return lines.block(loop, () => {
          lines.add(term, `unsigned line[${of / 2}];`, "read_line(line, own_a + k);");
          pairs("line");
          for (const own of codes) own.decode();
          add("line");
        });
      }
      lines.add(`unsigned line[${turns}][${eights}][${of / 2}];`, "#pragma unroll");
      lines.block(loop, () => {
        lines.add(term);
        this.#eachEight((e) => {
          this.#readLine(streams[0]!, of);
          pairs(`line[j][${e}]`);
        });
      });
      lines.add("#pragma unroll");
      lines.block(loop, () => {
        for (const own of codes) own.decode();
        this.#eachEight((e) => add(`line[j][${e}]`));
      });
    });
  }

  /** Whether up to eight rows, none of an expert's, are read as they lie: when the weights are there. */
  #isAlone({ mma, rows }: Stream): boolean {
    return mma && rows !== undefined && this.#shape.eights === 1 && this.#kernel.groups === undefined;
  }

  /** Terms whose elements of A lie in shared memory. */
  get #stagedTerms(): number {
    return stagedTerms(this.#streams.length);
  }

  /** Elements of A for all warps: floats that every octet needs. */
  #stage({ number }: Stream, terms: number, size: number): void {
    const { lines } = this.#frame;
    this.#frame.share("staged_a", `__shared__ float staged_a[${EIGHT}][${this.#stagedTerms}];`);
    lines.block(`for (int i = threadIdx.x; i < rows * ${terms}; i += ${THREADS})`, () => {
      lines.add(`const int r = i / ${terms}, k = begin + i % ${terms};`);
      const element = this.#element(number, this.#row("r"), "k", "r");
      lines.add(`staged_a[r][i % ${terms}] = ${size % terms === 0 ? element : `k < ${size} ? ${element} : 0.0f`};`);
    });
  }

  #eachEight(body: (e: string) => void): void {
    const { eights } = this.#shape;
    if (eights === 1) return body("0");
    this.#frame.lines.add("#pragma unroll");
    this.#frame.lines.block(`for (int e = 0; e < ${eights}; e++)`, () => body("e"));
  }

  /** Where the row of an octet is, in each eight. */
  #rowsOfA(rows: Stream["rows"]): void {
    const frame = this.#frame;
    const { eights } = this.#shape;
    const own = (e: string): void => {
      frame.index("row", this.#row(`min(${e}octet, rows - 1)`));
      if (rows === undefined) return;
      frame.unpack(this.#kernel.m, "row");
    };
    if (eights === 1) {
      own("");
      if (rows !== undefined) frame.lines.add(`const bf16* const own_a = ${this.#pointer(rows.arg, rows.at)};`);
    } else if (rows !== undefined) {
      frame.lines.add(`const bf16* own_a[${eights}];`, "#pragma unroll");
      frame.lines.block(`for (int e = 0; e < ${eights}; e++)`, () => {
        own(`e * ${EIGHT} + `);
        frame.lines.add(`own_a[e] = ${this.#pointer(rows.arg, rows.at)};`);
      });
    }
  }

  /** A thread's terms of the row of its octet. */
  #readLine({ number, rows }: Stream, terms: number): void {
    const { lines } = this.#frame;
    const { eights } = this.#shape;
    const e = eights === 1 ? "0" : "e";
    if (rows !== undefined) return lines.add(`read_line(line[j][${e}], own_a${eights === 1 ? "" : "[e]"} + k);`);
    const place = eights === 1 ? "min(octet, rows - 1)" : `min(e * ${EIGHT} + octet, rows - 1)`;
    const element = (i: number): string =>
      this.#element(number, eights === 1 ? "row" : this.#row(place), `k + ${i}`, place);
    for (let i = 0; i < terms; i += 2)
      lines.add(`line[j][${e}][${i / 2}] = pack_bf16(${element(i)}, ${element(i + 1)});`);
  }

  /** Products of floats; what rows that are not there would have is never looked at. */
  #add(streams: readonly Stream[], isNear: boolean): void {
    const { lines } = this.#frame;
    const each = (term: string, words: (i: number) => string): void => {
      lines.add("#pragma unroll");
      lines.block(`for (int r = 0; r < ${EIGHT}; r++)`, () => {
        lines.add(`const float left = staged_a[r][${term} - begin];`);
        for (const { number: own } of streams)
          lines.add(`for (int c = 0; c < 4; c++) p${own}[c][r] += ${words(own)} * left;`);
      });
    };
    if (!isNear) return each("k", (own) => `words${own}[j][0][c]`);
    lines.add("#pragma unroll");
    lines.block("for (int i = 0; i < 4; i++)", () => each("k + i", (own) => `words${own}[j][c][i]`));
  }

  /** An element of A. */
  #element(number: number, row: string, k: string, place: string): string {
    const statistics = this.#parts.statistics(number).map((name) => `, ${name}_rows[${place}]`);
    return `a${number}(batch, ${row}, ${k}${statistics.join("")})`;
  }

  /** @param more elements behind it */
  #pointer({ name, dtype }: Arg, at: readonly Expr[], more = "0"): string {
    const scalars = new Statements(this.#frame, 1).scalars(...at);
    const offset = this.#frame.names.offset(name, at, (x) => scalars.print(x));
    const elements = [offset, more].filter((part) => part !== "0").join(" + ");
    if (elements === "") return name;
    return dtype === "i4" ? `${name} + (${elements}) / 2` : `${name} + ${elements}`;
  }
}

/** The place of a term. */
function times(k: string, stride: number, size: number): string {
  return `${size * stride < 2 ** 31 ? "" : "(long long)"}${k} * ${stride}`;
}

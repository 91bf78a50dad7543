/**
 * Matrix products: tiles of 64 x 64 results, each thread with 8 x 8 of them, operands in workgroup memory; for few rows, a thread
 * for each column of a row or of four, which waits for no other. Rows or terms of groups (experts) are sorted by their group
 * first, in their order, by one workgroup.
 */
import { constant, walk } from "../../kernel-ir/expr.ts";
import type { Axis, Expr, GemmKernel, Product } from "../../kernel-ir/types.ts";
import { extentsOf, knownSize, sizeText } from "./axes.ts";
import { type File, Frame } from "./frame.ts";
import { Statements } from "./statements.ts";
import { valueType } from "./wgsl.ts";

/** Results of a tile in each direction, and terms that are loaded at a time. */
const TILE = 64;
const DEPTH = 32;
/** Columns of a thread: two vectors. Its rows are as many, or half as many where two products would take too many registers. */
const COLUMNS = 8;
/** Threads for few rows. */
const FEW_THREADS = 64;
/** Threads that sort rows by their groups. */
const SORTERS = 128;
/** Rows up to which no tiles are made; of each group where rows have groups. */
const FEW = 8;
/** Rows that share what a workgroup for few rows reads of the other operand. */
const TOGETHER = 4;

export function printGemm(kernel: GemmKernel): File {
  return new GemmPrinter(kernel).print();
}

class GemmPrinter {
  readonly #kernel: GemmKernel;
  readonly #frame: Frame;
  /** Rows of a thread in a tile, and threads of a tile. */
  readonly #rows: number;
  readonly #threads: number;

  constructor(kernel: GemmKernel) {
    this.#kernel = kernel;
    this.#rows = kernel.products.length > 1 ? 4 : 8;
    this.#threads = TILE ** 2 / (this.#rows * COLUMNS);
    const products = kernel.products.map(({ name }) => ({ name, dtype: "f32" as const, shape: [] }));
    this.#frame = new Frame(kernel, [...(kernel.prologue?.locals ?? []), ...products]);
  }

  print(): File {
    const { batch, m, n, products, groups } = this.#kernel;
    const frame = this.#frame;
    for (const [i, product] of products.entries()) this.#operands(i, product);
    if (groups !== undefined) this.#groupOf();
    this.#statisticFunctions();
    this.#finish();
    const expert = groups?.over === "m";
    const few = [
      { of: extentsOf(batch) },
      { of: extentsOf(m), ...(this.#together ? { by: TOGETHER } : {}) },
      { of: extentsOf(n), by: FEW_THREADS },
    ];
    // Each group has a tile of its own, however few its rows are.
    const most = expert ? FEW * groupsOf(groups.group) : FEW;
    frame.entry("few", FEW_THREADS, few, { upTo: { product: extentsOf(m), most } });
    this.#few();
    frame.lines.add("");
    if (groups !== undefined) this.#sort();
    const more = expert ? { plus: groupsOf(groups.group) } : {};
    const tiles = [{ of: extentsOf(batch) }, { of: extentsOf(m), by: TILE, ...more }, { of: extentsOf(n), by: TILE }];
    frame.entry(
      "tile",
      this.#threads,
      tiles,
      groups === undefined ? {} : { before: { name: "sort", workgroupSize: SORTERS, workgroups: [] } },
    );
    this.#tile();
    return frame.file();
  }

  /**
   * `a0(batch, m, k)` and `b0(batch, n, k)`: elements of the operands. Beyond the last row or column it is one of the last, whose
   * products are not stored; beyond the last term it is 0. Without branches, and without checks that the sizes make needless.
   */
  #operands(i: number, product: Product): void {
    const { batch, m, n, groups } = this.#kernel;
    const expert = groups?.over === "m";
    const whole = groups?.over !== "k" && dividedBy(product.k, DEPTH);
    for (const [letter, axes, value] of [
      ["a", m, product.a],
      ["b", n, product.b],
    ] as const) {
      const row = letter === "a" ? "m" : "n";
      const extra =
        letter === "b"
          ? expert
            ? `, ${this.#frame.names.axis(groups.group.name)}: i32`
            : ""
          : this.#statistics(product)
              .map((name) => `, ${name}: f32`)
              .join("");
      this.#frame.func(`fn ${letter}${i}(batch: i32, ${row}_: i32, k_: i32${extra}) -> f32`, () => {
        const { lines } = this.#frame;
        const inside = letter === "b" && dividedBy(axes, TILE);
        lines.add(`let ${row} = ${inside ? `${row}_` : `clamp(${row}_, 0, ${sizeText(axes)} - 1)`};`);
        lines.add(`let k = ${whole ? "k_" : `clamp(k_, 0, ${sizeText(product.k)} - 1)`};`);
        this.#frame.unpack(batch, "batch");
        this.#frame.unpack(axes, row);
        this.#frame.unpack(product.k, "k");
        const text = new Statements(this.#frame, 1).scalars(value).print(value);
        lines.add(`return ${whole ? text : `select(0.0, ${text}, k == k_)`};`);
      });
    }
  }

  /** The numbers of a row that a product's rows are made with. */
  #statistics({ a }: Product): string[] {
    const names = new Set((this.#kernel.prologue?.locals ?? []).map(({ name }) => name));
    const found = new Set<string>();
    walk(a, (part) => {
      if (part.kind === "load" && names.has(part.from)) found.add(part.from);
    });
    return [...found];
  }

  get #allStatistics(): string[] {
    return [...new Set(this.#kernel.products.flatMap((product) => this.#statistics(product)))];
  }

  /** The statements of the prologue for the row `m`. */
  #prologue(threads: number): void {
    const { m, prologue } = this.#kernel;
    if (prologue === undefined) return;
    this.#frame.unpack(m, "m");
    for (const { name, dtype } of prologue.locals) this.#frame.lines.add(`var ${name}: ${valueType(dtype)};`);
    const statements = new Statements(this.#frame, threads);
    for (const stmt of prologue.body) statements.print(stmt);
  }

  /** `x_of(m)` for every number of a row: one thread computes it. */
  #statisticFunctions(): void {
    for (const name of this.#allStatistics) {
      this.#frame.func(`fn ${name}_of(m_: i32) -> f32`, () => {
        this.#frame.lines.add(`let m = clamp(m_, 0, ${sizeText(this.#kernel.m)} - 1);`);
        this.#prologue(1);
        this.#frame.lines.add(`return ${name};`);
      });
    }
  }

  /** `group_of(i)`: the group of a row or a term. */
  #groupOf(): void {
    const groups = this.#kernel.groups!;
    const axes = groups.over === "m" ? this.#kernel.m : this.#kernel.products[0]!.k;
    const row = groups.over === "m" ? "m" : "k";
    this.#frame.func(`fn group_of(${row}: i32) -> i32`, () => {
      this.#frame.unpack(axes, row);
      this.#frame.lines.add(`return ${new Statements(this.#frame, 1).scalars(groups.of).print(groups.of)};`);
    });
  }

  /** What is done with the products at one place. */
  #finish(): void {
    const { batch, m, n, products, epilogue } = this.#kernel;
    const sums = products.map(({ name }) => `${name}: f32`).join(", ");
    this.#frame.func(`fn finish(batch: i32, m: i32, n: i32, ${sums})`, () => {
      const { lines } = this.#frame;
      const inside = dividedBy(n, TILE) ? "" : ` & (n < ${sizeText(n)})`;
      lines.block(`if ((m >= 0) & (m < ${sizeText(m)})${inside})`, () => {
        this.#frame.unpack(batch, "batch");
        this.#frame.unpack(m, "m");
        this.#frame.unpack(n, "n");
        const statements = new Statements(this.#frame, 1);
        for (const stmt of epilogue) statements.print(stmt);
      });
    });
  }

  /** Whether few rows are taken together: not those of experts, which read different weights. */
  get #together(): boolean {
    return this.#kernel.groups?.over !== "m";
  }

  /** `x_rows[r]` for every number of the rows that are taken together: all threads compute it, one row after the other. */
  #statisticsOfRows(): void {
    const { lines } = this.#frame;
    const names = this.#allStatistics;
    if (names.length === 0) return;
    for (const name of names) lines.add(`var ${name}_rows: array<f32, ${TOGETHER}>;`);
    lines.add("let first = m;");
    lines.block("for (var r = 0; r < rows; r++)", () => {
      lines.add("let m = first + r;");
      this.#prologue(FEW_THREADS);
      for (const name of names) lines.add(`${name}_rows[r] = ${name};`);
    });
  }

  #few(): void {
    const { batch, m, n, products, groups } = this.#kernel;
    const frame = this.#frame;
    const together = this.#together;
    const expert = groups?.over === "m";
    frame.main("few", FEW_THREADS, () => {
      const { lines } = frame;
      frame.item("item");
      lines.add(`let blocks = (${sizeText(n)} + ${FEW_THREADS - 1}) / ${FEW_THREADS};`);
      lines.add(`let n = item % blocks * ${FEW_THREADS} + lane;`);
      if (together) {
        lines.add(`let row_blocks = (${sizeText(m)} + ${TOGETHER - 1}) / ${TOGETHER};`);
        lines.add(`let m = item / blocks % row_blocks * ${TOGETHER};`, "let batch = item / blocks / row_blocks;");
        lines.add(`let rows = min(${TOGETHER}, ${sizeText(m)} - m);`);
      } else lines.add(`let m = item / blocks % ${wrapped(m)};`, `let batch = item / blocks / ${wrapped(m)};`);
      if (expert) lines.add(`let expert = group_of(m);`);
      if (together) this.#statisticsOfRows();
      else this.#prologue(FEW_THREADS);
      // What the terms have in common is worked out once: dividing is slow.
      frame.unpack(batch, "batch");
      if (together || this.#kernel.prologue === undefined) frame.unpack(m, "m");
      lines.add(`let own_n = min(n, ${sizeText(n)} - 1);`);
      frame.unpack(n, "own_n");
      if (expert) lines.add(`let ${frame.names.axis(groups.group.name)} = expert;`);
      const eachRow = (body: () => void): void => lines.block("for (var r = 0; r < rows; r++)", body);
      const inGroup = groups?.over === "k" ? this.#groupOfBatch("batch") : "";
      for (const [i, product] of products.entries()) {
        const { k, a } = product;
        lines.add(`var sum${i} = ${together ? "vec4<f32>()" : "0.0"};`);
        const term = (): void => {
          frame.unpack(k, "k");
          const print = (...exprs: readonly Expr[]): string[] => {
            const scalars = new Statements(frame, 1).scalars(...exprs);
            return exprs.map((expr) => scalars.print(expr));
          };
          if (!together) return lines.add(`sum${i} += ${print(a, product.b).join(" * ")};`);
          lines.add(`let b = ${print(product.b)[0]};`);
          const names = this.#statistics(product);
          lines.block("if (rows == 1)", () => {
            for (const name of names) lines.add(`let ${name} = ${name}_rows[0];`);
            lines.add(`sum${i}.x += ${print(a)[0]} * b;`);
          });
          lines.block("else", () => {
            const statistics = names.map((name) => `, ${name}_rows[e]`).join("");
            lines.add(`sum${i} += ${this.#four(`a${i}(batch, m + e, k${statistics})`, a)} * b;`);
          });
        };
        const loop = (): void => {
          lines.block(`for (var k = 0; k < ${sizeText(k)}; k++)`, () => {
            if (groups?.over === "k") lines.block(`if (group_of(k) == ${inGroup})`, term);
            else term();
          });
        };
        if (expert) lines.block(`if (expert >= 0 && expert < ${groups.group.extent})`, loop);
        else loop();
      }
      lines.block(`if (n < ${sizeText(n)})`, () => {
        const finish = (row: string, at: string): void => {
          lines.add(`finish(batch, ${row}, n, ${products.map((_, i) => `sum${i}${at}`).join(", ")});`);
        };
        if (together) eachRow(() => finish("m + r", "[r]"));
        else finish("m", "");
      });
    });
  }

  /** Four elements of an operand, numbered `e`. */
  #four(element: string, value: Expr): string {
    const { lines } = this.#frame;
    if (loadsOf(value) <= 2)
      return `vec4<f32>(${["0", "1", "2", "3"].map((e) => element.replaceAll(/\be\b/g, e)).join(", ")})`;
    // A loop: compilers take long over many reads of memory next to each other.
    lines.add("var x: vec4<f32>;");
    lines.block("for (var e = 0; e < 4; e++)", () => lines.add(`x[e] = ${element};`));
    return "x";
  }

  /** Which group a batch is of. */
  #groupOfBatch(batch: string): string {
    const { batch: axes, groups } = this.#kernel;
    const at = axes.findIndex(({ name }) => name === groups!.group.name);
    const inner = axes.slice(at + 1);
    const outer = inner.length === 0 ? batch : `(${batch} / ${wrapped(inner)})`;
    return at === 0 ? outer : `(${outer} % ${groups!.group.extent})`;
  }

  #tile(): void {
    const { m, n, groups } = this.#kernel;
    const frame = this.#frame;
    frame.shared("tile_a", `array<vec4<f32>, ${(DEPTH * TILE) / 4}>`);
    frame.shared("tile_b", `array<vec4<f32>, ${(DEPTH * TILE) / 4}>`);
    frame.main("tile", this.#threads, () => {
      const { lines } = frame;
      frame.item("item");
      const columns = `((${sizeText(n)} + ${TILE - 1}) / ${TILE})`;
      const rows =
        groups?.over === "m"
          ? `((${sizeText(m)} + ${TILE - 1}) / ${TILE} + ${groups.group.extent})`
          : `((${sizeText(m)} + ${TILE - 1}) / ${TILE})`;
      lines.add(`let first_n = item % ${columns} * ${TILE};`);
      lines.add(`let row = item / ${columns} % ${rows};`, `let batch = item / ${columns} / ${rows};`);
      const across = TILE / COLUMNS;
      lines.add(`let own_m = lane / ${across} * ${this.#rows};`, `let own_n = lane % ${across} * ${COLUMNS};`);
      lines.add("let quad_m = own_m / 4;", "let quad_n = own_n / 4;");
      if (groups?.over !== "m") {
        lines.add(`let first_m = row * ${TILE};`);
        for (const name of this.#allStatistics) {
          const rows = frame.shared(`${name}_of_row`, `array<f32, ${TILE}>`);
          lines.block(`if (lane < ${TILE})`, () => lines.add(`${rows}[lane] = ${name}_of(first_m + lane);`));
        }
        this.#products((r) => `first_m + ${r}`);
        return;
      }
      // Tiles of one group after the other; rows without a group come last, and their products are 0.
      const { extent } = groups.group;
      frame.shared("found", "vec3<i32>");
      lines.block("if (lane == 0)", () => {
        lines.add("var expert = 0;", "var tile = row;");
        lines.block(`while (expert < ${extent} && tile >= tiles_of(expert))`, () =>
          lines.add("tile -= tiles_of(expert);", "expert++;"),
        );
        lines.add(`found = vec3<i32>(expert, load_starts(expert) + tile * ${TILE}, load_starts(expert + 1));`);
      });
      lines.add("// The same for all threads, as barriers want it.", "let here = workgroupUniformLoad(&found);");
      lines.add("let expert = here.x;", "let first_row = here.y;", "let end_row = here.z;");
      lines.block("if (first_row >= end_row)", () => lines.add("return;"));
      this.#products((r) => `select(-1, load_order(first_row + ${r}), first_row + ${r} < end_row)`);
    });
  }

  /** All products of a tile and what is done with them. */
  #products(row: (r: string) => string): void {
    const { products, groups } = this.#kernel;
    const { lines } = this.#frame;
    for (const i of products.keys())
      for (let r = 0; r < this.#rows; r++) lines.add(`var p${i}_${r} = vec4<f32>();`, `var q${i}_${r} = vec4<f32>();`);
    for (const [i, product] of products.entries()) {
      if (groups?.over === "k") {
        lines.block("", () => {
          this.#frame.shared("found", "vec2<i32>");
          lines.add(`let expert = ${this.#groupOfBatch("batch")};`);
          lines.block("if (lane == 0)", () =>
            lines.add("found = vec2<i32>(load_starts(expert), load_starts(expert + 1));"),
          );
          lines.add("// The same for all threads, as barriers want it.", "let terms = workgroupUniformLoad(&found);");
          lines.block(`for (var first = terms.x; first < terms.y; first += ${DEPTH})`, () =>
            this.#step(i, product, row, (k) => `select(-1, load_order(first + ${k}), first + ${k} < terms.y)`),
          );
        });
      } else {
        const expert = groups?.over === "m";
        const loop = (): void =>
          lines.block(`for (var first = 0; first < ${sizeText(product.k)}; first += ${DEPTH})`, () =>
            this.#step(i, product, row, (k) => `first + ${k}`),
          );
        if (expert) lines.block(`if (expert < ${groups.group.extent})`, loop);
        else loop();
      }
    }
    const rows = Array.from({ length: this.#rows }, (_, r) => r);
    for (const i of products.keys())
      lines.add(`var sums${i} = array(${rows.map((r) => `array(p${i}_${r}, q${i}_${r})`).join(", ")});`);
    lines.block(`for (var r = 0; r < ${this.#rows}; r++)`, () =>
      lines.block(`for (var c = 0; c < ${COLUMNS}; c++)`, () => {
        const own = products.map((_, i) => `sums${i}[r][c / 4][c % 4]`).join(", ");
        lines.add(`finish(batch, ${row("own_m + r")}, first_n + own_n + c, ${own});`);
      }),
    );
  }

  /** Loads `DEPTH` terms of all rows and columns of the tile and adds their products. */
  #step(i: number, product: Product, row: (r: string) => string, term: (k: string) => string): void {
    const { lines } = this.#frame;
    const quads = TILE / 4;
    const expert = this.#kernel.groups?.over === "m" ? ", expert" : "";
    lines.add("workgroupBarrier();");
    for (const letter of ["a", "b"] as const) {
      // Neighboring threads read neighboring words.
      const alongTerms = runsAlong(letter === "a" ? product.a : product.b, product.k);
      const [k, quad] = alongTerms ? [`i % ${DEPTH}`, `i / ${DEPTH}`] : [`i / ${quads}`, `i % ${quads}`];
      lines.block(`for (var i = lane; i < ${DEPTH * quads}; i += ${this.#threads})`, () => {
        lines.add(`let k = ${k};`, `let quad = ${quad};`, `let at = ${term("k")};`);
        const place = letter === "a" ? row("quad * 4 + e") : "first_n + quad * 4 + e";
        const statistics = this.#statistics(product).map((name) => `, ${name}_of_row[quad * 4 + e]`);
        const element = `${letter}${i}(batch, ${place}, at${letter === "b" ? expert : statistics.join("")})`;
        lines.add(`tile_${letter}[k * ${quads} + quad] = ${this.#four(element, product[letter])};`);
      });
    }
    lines.add("workgroupBarrier();");
    lines.block(`for (var k = 0; k < ${DEPTH}; k++)`, () => {
      lines.add(`let b0 = tile_b[k * ${quads} + quad_n];`, `let b1 = tile_b[k * ${quads} + quad_n + 1];`);
      for (let r = 0; r < this.#rows; r++) {
        if (r % 4 === 0) lines.add(`let a${r / 4} = tile_a[k * ${quads} + quad_m${r === 0 ? "" : ` + ${r / 4}`}];`);
        const a = `a${Math.floor(r / 4)}.${"xyzw"[r % 4]}`;
        lines.add(`p${i}_${r} += ${a} * b0;`, `q${i}_${r} += ${a} * b1;`);
      }
    });
  }

  /**
   * Entry point `sort`: `order` has the rows (or terms) of all groups one group after the other, those of none at the end;
   * `starts` says where each begins.
   */
  #sort(): void {
    const { m, products, groups } = this.#kernel;
    const frame = this.#frame;
    const axes = groups!.over === "m" ? m : products[0]!.k;
    const own = groups!.group.extent as number;
    frame.shareScratch("order", "i32", extentsOf(axes));
    frame.shareScratch("starts", "i32", [own + 2]);
    frame.shareScratch("counts", "i32", [own + 1, SORTERS]);
    frame.shared("part_sums", `array<i32, ${SORTERS}>`);
    frame.once(
      "sorted_group",
      `fn sorted_group(i: i32) -> i32 {
  let own = group_of(i);
  return select(own, ${own}, (own < 0) | (own > ${own}));
}`,
    );
    frame.once(
      "tiles_of",
      `fn tiles_of(expert: i32) -> i32 {
  return (load_starts(expert + 1) - load_starts(expert) + ${TILE - 1}) / ${TILE};
}`,
    );
    frame.main("sort", SORTERS, () => {
      const { lines } = frame;
      const [n, buckets] = [sizeText(axes), own + 1];
      lines.add(
        "// Each thread counts a run of rows of its own.",
        `let each = (${n} + ${SORTERS - 1}) / ${SORTERS};`,
        "let begin = lane * each;",
        `let end = min(begin + each, ${n});`,
      );
      lines.block(`for (var e = 0; e < ${buckets}; e++)`, () => lines.add(`store_counts(e * ${SORTERS} + lane, 0);`));
      lines.block("for (var i = begin; i < end; i++)", () =>
        lines.add(`let at = sorted_group(i) * ${SORTERS} + lane;`, "store_counts(at, load_counts(at) + 1);"),
      );
      lines.add(
        "storageBarrier();",
        `// Where each group begins, and in it each thread's rows: a running sum over ${buckets} x ${SORTERS} counts.`,
      );
      lines.add("var sum = 0;");
      lines.block(`for (var c = 0; c < ${buckets}; c++)`, () =>
        lines.add(`sum += load_counts(lane * ${buckets} + c);`),
      );
      lines.add("part_sums[lane] = sum;", "workgroupBarrier();", "var at = 0;");
      lines.block("for (var other = 0; other < lane; other++)", () => lines.add("at += part_sums[other];"));
      lines.block(`for (var c = lane * ${buckets}; c < (lane + 1) * ${buckets}; c++)`, () => {
        lines.add("let here = load_counts(c);", "store_counts(c, at);");
        lines.block(`if (c % ${SORTERS} == 0)`, () => lines.add(`store_starts(c / ${SORTERS}, at);`));
        lines.add("at += here;");
      });
      lines.block("if (lane == 0)", () => lines.add(`store_starts(${buckets}, ${n});`));
      lines.add("storageBarrier();");
      lines.block("for (var i = begin; i < end; i++)", () =>
        lines.add(
          `let next = sorted_group(i) * ${SORTERS} + lane;`,
          "let place = load_counts(next);",
          "store_order(place, i);",
          "store_counts(next, place + 1);",
        ),
      );
    });
    frame.lines.add("");
  }
}

/** Whether blocks of a size cover the axes without a rest, whatever the sizes of a call. */
function dividedBy(axes: readonly Axis[], size: number): boolean {
  return (knownSize(axes) ?? NaN) % size === 0;
}

/** How often a value reads memory. */
function loadsOf(value: Expr): number {
  let loads = 0;
  walk(value, ({ kind }) => {
    if (kind === "load") loads += 1;
  });
  return loads;
}

function wrapped(axes: readonly Axis[]): string {
  return axes.length > 1 ? `(${sizeText(axes)})` : sizeText(axes);
}

function groupsOf({ extent }: Axis): number {
  if (typeof extent !== "number") throw new Error(`the number of groups ${extent} is not known`);
  return extent;
}

/** Whether the innermost index of what is loaded is a term's. */
function runsAlong(value: Expr, k: readonly Axis[]): boolean {
  const names = new Set(k.map(({ name }) => name));
  let along = false;
  walk(value, (part) => {
    if (part.kind !== "load") return;
    walk(part.at.at(-1) ?? constant(0, "index"), (x) => {
      if (x.kind === "axis" && names.has(x.axis)) along = true;
    });
  });
  return along;
}

/**
 * Matrix products: tiles of 64 x 64 results, each thread with 4 x 4 of them, operands in workgroup memory; for few rows, a
 * thread for each result. Rows or terms of groups (experts) are sorted by their group first, in their order, by one workgroup.
 */
import { constant, walk } from "../../kernel-ir/expr.ts";
import type { Axis, Expr, GemmKernel, Product } from "../../kernel-ir/types.ts";
import { type File, Frame } from "./frame.ts";
import { Statements } from "./statements.ts";

/** Results of a tile in each direction, terms that are loaded at a time, results of a thread in each direction. */
const TILE = 64;
const DEPTH = 16;
const OWN = 4;
const THREADS = (TILE / OWN) ** 2;
/** Threads that sort rows by their groups. */
const SORTERS = 128;
/** Rows up to which no tiles are made. */
const FEW = 8;

export function printGemm(kernel: GemmKernel): File {
  return new GemmPrinter(kernel).print();
}

class GemmPrinter {
  readonly #kernel: GemmKernel;
  readonly #frame: Frame;

  constructor(kernel: GemmKernel) {
    this.#kernel = kernel;
    this.#frame = new Frame(
      kernel,
      kernel.products.map(({ name }) => ({ name, dtype: "f32", shape: [] })),
    );
  }

  print(): File {
    const { batch, m, n, products, groups } = this.#kernel;
    const frame = this.#frame;
    for (const [i, product] of products.entries()) this.#operands(i, product);
    if (groups !== undefined) this.#groupOf();
    this.#finish();
    const of = (axes: readonly Axis[]): Axis["extent"][] => axes.map(({ extent }) => extent);
    frame.entry("few", 64, [{ of: of([...batch, ...m]) }, { of: of(n), by: 64 }], {
      upTo: { product: of(m), most: FEW },
    });
    this.#few();
    frame.lines.add("");
    if (groups !== undefined) this.#sort();
    const more = groups?.over === "m" ? { plus: groupsOf(groups.group) } : {};
    const tiles = [{ of: of(batch) }, { of: of(m), by: TILE, ...more }, { of: of(n), by: TILE }];
    frame.entry("tile", THREADS, tiles, groups === undefined ? {} : { before: "sort" });
    this.#tile();
    return frame.file();
  }

  /** `a0(batch, m, k)` and `b0(batch, n, k)`: elements of the operands, 0 outside. */
  #operands(i: number, product: Product): void {
    const { batch, m, n, groups } = this.#kernel;
    const expert = groups?.over === "m";
    for (const [letter, axes, value] of [
      ["a", m, product.a],
      ["b", n, product.b],
    ] as const) {
      const row = letter === "a" ? "m" : "n";
      const extra = letter === "b" && expert ? `, ${this.#frame.names.axis(groups.group.name)}: i32` : "";
      this.#frame.func(`fn ${letter}${i}(batch: i32, ${row}: i32, k: i32${extra}) -> f32`, () => {
        const { lines } = this.#frame;
        lines.add("var x = 0.0;");
        const inside = `(${row} >= 0) & (${row} < ${count(axes)}) & (k >= 0) & (k < ${count(product.k)})`;
        lines.block(`if (${inside})`, () => {
          this.#frame.unpack(batch, "batch");
          this.#frame.unpack(axes, row);
          this.#frame.unpack(product.k, "k");
          lines.add(`x = ${new Statements(this.#frame, 1).scalars(value).print(value)};`);
        });
        lines.add("return x;");
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
      lines.block(`if ((m >= 0) & (m < ${count(m)}) & (n < ${count(n)}))`, () => {
        this.#frame.unpack(batch, "batch");
        this.#frame.unpack(m, "m");
        this.#frame.unpack(n, "n");
        const statements = new Statements(this.#frame, 1);
        for (const stmt of epilogue) statements.print(stmt);
      });
    });
  }

  #few(): void {
    const { m, n, products, groups } = this.#kernel;
    const frame = this.#frame;
    frame.main("few", 64, () => {
      const { lines } = frame;
      frame.item("item");
      lines.add(`let blocks = (${count(n)} + 63) / 64;`, "let n = item % blocks * 64 + lane;");
      lines.add(`let m = item / blocks % ${wrapped(m)};`, `let batch = item / blocks / ${wrapped(m)};`);
      lines.block(`if (n >= ${count(n)})`, () => lines.add("return;"));
      if (groups?.over === "m") lines.add(`let expert = group_of(m);`);
      const inGroup = groups?.over === "k" ? this.#groupOfBatch("batch") : "";
      for (const [i, { k }] of products.entries()) {
        lines.add(`var sum${i} = 0.0;`);
        const loop = (): void => {
          lines.block(`for (var k = 0; k < ${count(k)}; k++)`, () => {
            const expert = groups?.over === "m" ? ", expert" : "";
            const term = `sum${i} = fma(a${i}(batch, m, k), b${i}(batch, n, k${expert}), sum${i});`;
            if (groups?.over === "k") lines.block(`if (group_of(k) == ${inGroup})`, () => lines.add(term));
            else lines.add(term);
          });
        };
        if (groups?.over === "m") lines.block(`if (expert >= 0 && expert < ${groups.group.extent})`, loop);
        else loop();
      }
      lines.add(`finish(batch, m, n, ${products.map((_, i) => `sum${i}`).join(", ")});`);
    });
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
    frame.main("tile", THREADS, () => {
      const { lines } = frame;
      frame.item("item");
      const columns = `((${count(n)} + ${TILE - 1}) / ${TILE})`;
      const rows =
        groups?.over === "m"
          ? `((${count(m)} + ${TILE - 1}) / ${TILE} + ${groups.group.extent})`
          : `((${count(m)} + ${TILE - 1}) / ${TILE})`;
      lines.add(`let first_n = item % ${columns} * ${TILE};`);
      lines.add(`let row = item / ${columns} % ${rows};`, `let batch = item / ${columns} / ${rows};`);
      lines.add(`let own_m = lane / ${TILE / OWN} * ${OWN};`, `let own_n = lane % ${TILE / OWN} * ${OWN};`);
      if (groups?.over !== "m") {
        lines.add(`let first_m = row * ${TILE};`);
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
    for (const i of products.keys()) for (let r = 0; r < OWN; r++) lines.add(`var p${i}_${r} = vec4<f32>();`);
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
          lines.block(`for (var first = 0; first < ${count(product.k)}; first += ${DEPTH})`, () =>
            this.#step(i, product, row, (k) => `first + ${k}`),
          );
        if (expert) lines.block(`if (expert < ${groups.group.extent})`, loop);
        else loop();
      }
    }
    const sums = products.map((_, i) => `array(${[0, 1, 2, 3].map((r) => `p${i}_${r}`).join(", ")})`);
    for (const [i, sum] of sums.entries()) lines.add(`var sums${i} = ${sum};`);
    lines.block(`for (var r = 0; r < ${OWN}; r++)`, () =>
      lines.block(`for (var c = 0; c < ${OWN}; c++)`, () => {
        const own = products.map((_, i) => `sums${i}[r][c]`).join(", ");
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
      const [k, quad] = alongTerms ? [`lane % ${DEPTH}`, `lane / ${DEPTH}`] : [`lane / ${quads}`, `lane % ${quads}`];
      lines.block("", () => {
        lines.add(`let k = ${k};`, `let quad = ${quad};`, `let at = ${term("k")};`);
        const place = letter === "a" ? row("quad * 4 + e") : "first_n + quad * 4 + e";
        // A loop: compilers take long over many reads of memory next to each other.
        lines.add("var x: vec4<f32>;");
        lines.block("for (var e = 0; e < 4; e++)", () =>
          lines.add(`x[e] = ${letter}${i}(batch, ${place}, at${letter === "b" ? expert : ""});`),
        );
        lines.add(`tile_${letter}[k * ${quads} + quad] = x;`);
      });
    }
    lines.add("workgroupBarrier();");
    lines.block(`for (var k = 0; k < ${DEPTH}; k++)`, () => {
      lines.add(`let a = tile_a[k * ${quads} + own_m / 4];`, `let b = tile_b[k * ${quads} + own_n / 4];`);
      for (let r = 0; r < OWN; r++) lines.add(`p${i}_${r} += a.${"xyzw"[r]} * b;`);
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
    frame.shareScratch(
      "order",
      "i32",
      axes.map(({ extent }) => extent),
    );
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
      const [n, buckets] = [count(axes), own + 1];
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

/** The number of elements of axes, as WGSL. */
function count(axes: readonly Axis[]): string {
  return axes.length === 0 ? "1" : axes.map(({ extent }) => String(extent)).join(" * ");
}

function wrapped(axes: readonly Axis[]): string {
  return axes.length > 1 ? `(${count(axes)})` : count(axes);
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

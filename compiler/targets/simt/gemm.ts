/**
 * Matrix products: tiles of 64 x 64 results, each thread with 8 x 8 of them, operands in workgroup memory; for few rows, a thread
 * for each column of a row or of four, which waits for no other. Rows or terms of groups (experts) are sorted by their group
 * first, in their order, by one workgroup.
 */
import { constant, walk } from "../../kernel-ir/expr.ts";
import type { Axis, Expr, GemmKernel, Product, ScalarType } from "../../kernel-ir/types.ts";
import { extentsOf, knownSize, sizeText } from "./axes.ts";
import type { Dialect, Parameter, Part } from "./dialect.ts";
import type { FewRows } from "./few-rows.ts";
import { Frame } from "./frame.ts";
import { printAdder, printKeep, sharesOf } from "./shares.ts";
import { loadFrom, printSort, SORTERS } from "./sort.ts";
import { Statements } from "./statements.ts";
import { COLUMNS, DEPTH, TILE, TOGETHER } from "./tiles.ts";

/** Rows up to which no tiles are made; of each group where rows have groups. */
const FEW = 8;

export function printGemm(dialect: Dialect, kernel: GemmKernel, part?: Part): Frame {
  return new GemmPrinter(dialect, kernel, part).print();
}

class GemmPrinter {
  readonly #kernel: GemmKernel;
  readonly #frame: Frame;
  readonly #dialect: Dialect;
  /** What sums are made in. */
  readonly #dtype: ScalarType;
  /** Rows of a thread in a tile: as many as columns, or fewer where these would take too many registers; threads of a tile. */
  readonly #rows: number;
  readonly #threads: number;
  /** Workgroups that share the terms of a tile. */
  readonly #shares: number | undefined;
  readonly #fewThreads: number;
  readonly #fewRows: readonly FewRows[];

  constructor(dialect: Dialect, kernel: GemmKernel, part?: Part) {
    this.#kernel = kernel;
    this.#dialect = dialect;
    this.#dtype = kernel.products.some((product) => dialect.wide(product.dtype) === "f64") ? "f64" : "f32";
    this.#rows = (kernel.products.length > 1 ? 4 : 8) / (this.#dtype === "f64" ? 2 : 1);
    this.#fewThreads = dialect.threads.few;
    const own = dialect.fewRows?.(kernel, part) ?? [];
    this.#fewRows = own.length > 0 ? own : [this.#columnOfThread()];
    this.#threads = TILE ** 2 / (this.#rows * COLUMNS);
    this.#shares = part === undefined ? sharesOf(kernel, dialect.tiles.enough) : undefined;
    const products = kernel.products.map(({ name }) => ({ name, dtype: this.#dtype, shape: [] }));
    this.#frame = new Frame(dialect, kernel, [...(kernel.prologue?.locals ?? []), ...products], part);
  }

  print(): Frame {
    const { batch, m, n, products, groups } = this.#kernel;
    const frame = this.#frame;
    for (const [i, product] of products.entries()) this.#operands(i, product);
    if (groups !== undefined) this.#groupOf();
    this.#statisticFunctions();
    this.#finish();
    const expert = groups?.over === "m";
    for (const { name, most, threads, rows, columns, print } of this.#fewRows) {
      frame.entry(
        name,
        threads,
        [
          { of: extentsOf(batch) },
          { of: extentsOf(m), ...(this.#together ? { by: rows } : {}) },
          { of: extentsOf(n), by: columns },
        ],
        { upTo: { product: extentsOf(m), most } },
      );
      print(frame, {
        statistics: (product) => this.#statistics(products[product]!),
        prologue: (own, group) => this.#prologue(own, group),
      });
    }
    if (groups !== undefined) printSort(frame, this.#kernel);
    const more = expert ? { plus: groupsOf(groups.group) } : {};
    const tiles = [{ of: extentsOf(batch) }, { of: extentsOf(m), by: TILE, ...more }, { of: extentsOf(n), by: TILE }];
    const shares = this.#shares;
    if (shares !== undefined) {
      const workgroups = [{ of: [shares] }, ...tiles];
      printKeep(frame, this.#kernel, shares, this.#dtype);
      this.#tile("share");
      const before = { name: "share", workgroupSize: this.#threads, workgroups };
      printAdder(frame, "tile", this.#kernel, shares, this.#dtype, before);
      return frame;
    }
    frame.entry(
      "tile",
      this.#threads,
      tiles,
      groups === undefined ? {} : { before: { name: "sort", workgroupSize: SORTERS, workgroups: [] } },
    );
    this.#tile("tile");
    return frame;
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
      const extra: Parameter[] =
        letter === "a"
          ? this.#statistics(product).map((name) => [name, "f32"])
          : expert
            ? [[this.#frame.names.axis(groups.group.name), "index"]]
            : [];
      const parameters: Parameter[] = [["batch", "index"], [`${row}_`, "index"], ["k_", "index"], ...extra];
      this.#frame.func(`${letter}${i}`, parameters, this.#dtype, () => {
        const { lines } = this.#frame;
        const inside = letter === "b" && dividedBy(axes, TILE);
        this.#frame.index(row, inside ? `${row}_` : `clamp(${row}_, 0, ${sizeText(axes)} - 1)`);
        this.#frame.index("k", whole ? "k_" : `clamp(k_, 0, ${sizeText(product.k)} - 1)`);
        this.#frame.unpack(batch, "batch");
        this.#frame.unpack(axes, row);
        this.#frame.unpack(product.k, "k");
        const text = new Statements(this.#frame, 1).scalars(value).print(value);
        const none = this.#frame.language.literal(0, this.#dtype);
        lines.add(`return ${whole ? text : this.#dialect.select("k == k_", text, none)};`);
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
  #prologue(threads: number, group = threads): void {
    const { m, prologue } = this.#kernel;
    if (prologue === undefined) return;
    this.#frame.unpack(m, "m");
    for (const { name, dtype } of prologue.locals) this.#frame.lines.add(this.#dialect.variable(name, dtype));
    const statements = new Statements(this.#frame, threads, group);
    for (const stmt of prologue.body) statements.print(stmt);
  }

  /** `x_of(m)` for every number of a row: one thread computes it. */
  #statisticFunctions(): void {
    for (const name of this.#allStatistics) {
      this.#frame.func(`${name}_of`, [["m_", "index"]], "f32", () => {
        this.#frame.index("m", `clamp(m_, 0, ${sizeText(this.#kernel.m)} - 1)`);
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
    this.#frame.func("group_of", [[row, "index"]], "i32", () => {
      this.#frame.unpack(axes, row);
      this.#frame.lines.add(`return ${new Statements(this.#frame, 1).scalars(groups.of).print(groups.of)};`);
    });
  }

  /** What is done with the products at one place. */
  #finish(): void {
    const { batch, m, n, products, epilogue } = this.#kernel;
    const indices = ["batch", "m", "n"].map((name): Parameter => [name, "index"]);
    const sums = products.map(({ name }): Parameter => [name, this.#dtype]);
    this.#frame.func("finish", [...indices, ...sums], undefined, () => {
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

  /** Each thread has a column. */
  #columnOfThread(): FewRows {
    const { groups } = this.#kernel;
    // Each group has a tile of its own, however few its rows are.
    const most = groups?.over === "m" ? FEW * groupsOf(groups.group) : FEW;
    const threads = this.#fewThreads;
    return { name: "few", most, threads, rows: TOGETHER, columns: threads, print: () => this.#few() };
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
    for (const name of names) lines.add(this.#dialect.array(`${name}_rows`, "f32", TOGETHER));
    this.#frame.index("first", "m");
    this.#dialect.tiles.eachRow(this.#frame, () => {
      this.#frame.index("m", "first + r");
      this.#prologue(this.#fewThreads);
      for (const name of names) this.#frame.lines.add(`${name}_rows[r] = ${name};`);
    });
  }

  /** Whether few rows are prepared by all threads together: those that meet for numbers of their rows in any case. */
  get #stages(): boolean {
    return this.#together && this.#kernel.groups === undefined && this.#allStatistics.length > 0;
  }

  /** Products by what they have in common: those of a group have the same operand a. */
  #alike(): readonly (readonly number[])[] {
    const alike = new Map<string, number[]>();
    for (const [i, { a, k }] of this.#kernel.products.entries()) {
      const key = JSON.stringify([a, k]);
      alike.set(key, [...(alike.get(key) ?? []), i]);
    }
    return [...alike.values()];
  }

  /** An element of operand a for one of the rows that are taken together. */
  #elementOfRow(i: number): (r: string) => string {
    const names = this.#statistics(this.#kernel.products[i]!);
    return (r) => `a${i}(batch, m + ${r}, k${names.map((name) => `, ${name}_rows[${r}]`).join("")})`;
  }

  /** Sums of several rows, whose terms are prepared once for all products that have the same. */
  #stagedSums(staged: NonNullable<Dialect["tiles"]["staged"]>): void {
    const { products } = this.#kernel;
    const frame = this.#frame;
    const { tiles, loop, barrier } = this.#dialect;
    tiles.operands(frame, this.#dtype);
    for (const own of this.#alike()) {
      const { a, k } = products[own[0]!]!;
      const { lines } = frame;
      lines.block(loop("first", "0", sizeText(k), String(staged.terms)), () => {
        frame.index("count", `min(${staged.terms}, ${sizeText(k)} - first)`);
        lines.add(...barrier("shared"));
        staged.rows(frame, this.#fewThreads, "count", this.#elementOfRow(own[0]!), loadsOf(a));
        lines.add(...barrier("shared"));
        lines.block(loop("j", "0", "count"), () => {
          frame.index("k", "first + j");
          frame.unpack(k, "k");
          for (const i of own) {
            const { b } = products[i]!;
            staged.add(frame, i, `(${new Statements(frame, 1).scalars(b).print(b)})`);
          }
        });
      });
    }
  }

  #few(): void {
    const { batch, m, n, products, groups } = this.#kernel;
    const frame = this.#frame;
    const dialect = this.#dialect;
    const { tiles } = dialect;
    const zero = frame.language.literal(0, this.#dtype);
    const together = this.#together;
    const expert = groups?.over === "m";
    frame.main("few", this.#fewThreads, () => {
      const { lines } = frame;
      frame.item("item");
      frame.index("blocks", `(${sizeText(n)} + ${this.#fewThreads - 1}) / ${this.#fewThreads}`);
      frame.index("n", `item % blocks * ${this.#fewThreads} + lane`);
      if (together) {
        frame.index("row_blocks", `(${sizeText(m)} + ${TOGETHER - 1}) / ${TOGETHER}`);
        frame.index("m", `item / blocks % row_blocks * ${TOGETHER}`);
        frame.index("batch", "item / blocks / row_blocks");
        frame.index("rows", `min(${TOGETHER}, ${sizeText(m)} - m)`);
      } else {
        frame.index("m", `item / blocks % ${wrapped(m)}`);
        frame.index("batch", `item / blocks / ${wrapped(m)}`);
      }
      if (expert) frame.index("expert", "group_of(m)");
      if (together) this.#statisticsOfRows();
      else this.#prologue(this.#fewThreads);
      // What the terms have in common is worked out once: dividing is slow.
      frame.unpack(batch, "batch");
      if (together || this.#kernel.prologue === undefined) frame.unpack(m, "m");
      frame.index("own_n", `min(n, ${sizeText(n)} - 1)`);
      frame.unpack(n, "own_n");
      if (expert) frame.index(frame.names.axis(groups.group.name), "expert");
      const inGroup = groups?.over === "k" ? this.#groupOfBatch("batch") : "";
      const staged = this.#stages ? tiles.staged : undefined;
      if (staged !== undefined) {
        for (const i of products.keys()) tiles.sumsOfRows(frame, i, this.#dtype);
        lines.block("if (rows > 1)", () => this.#stagedSums(staged));
      }
      for (const own of this.#alike()) {
        const { k, a } = products[own[0]!]!;
        if (staged === undefined)
          for (const i of own) {
            if (together) tiles.sumsOfRows(frame, i, this.#dtype);
            else lines.add(dialect.variable(`sum${i}`, this.#dtype, zero));
          }
        const named = (name: string, value: string): string => {
          lines.add(frame.language.named(name, this.#dtype, value));
          return name;
        };
        const term = (): void => {
          frame.unpack(k, "k");
          const bs = own.map((i) => products[i]!.b);
          const scalars = new Statements(frame, 1).scalars(...(together ? bs : [a, ...bs]));
          const printed = bs.map((b) => scalars.print(b));
          if (!together) {
            const element = own.length === 1 ? scalars.print(a) : named("a", scalars.print(a));
            return lines.add(...own.map((i, at) => `sum${i} += ${element} * ${printed[at]};`));
          }
          const factors = printed.map((b, at) => named(own.length === 1 ? "b" : `b${own[at]}`, b));
          const one = (): void => {
            for (const name of this.#statistics(products[own[0]!]!))
              lines.add(frame.language.named(name, "f32", `${name}_rows[0]`));
            const text = new Statements(frame, 1).scalars(a).print(a);
            const element = own.length === 1 ? text : named("a", text);
            lines.add(...own.map((i, at) => `${tiles.sumOfRow(i, 0)} += ${element} * ${factors[at]};`));
          };
          if (staged !== undefined) return one();
          lines.block("if (rows == 1)", one);
          lines.block("else", () => {
            for (const [at, i] of own.entries())
              tiles.addToRows(frame, i, this.#elementOfRow(i), loadsOf(a), factors[at]!);
          });
        };
        const loop = (): void => {
          lines.block(dialect.loop("k", "0", sizeText(k)), () => {
            if (groups?.over === "k") lines.block(`if (group_of(k) == ${inGroup})`, term);
            else term();
          });
        };
        if (expert) lines.block(`if (expert >= 0 && expert < ${groups.group.extent})`, loop);
        else if (staged !== undefined) lines.block("if (rows == 1)", loop);
        else loop();
      }
      lines.block(`if (n < ${sizeText(n)})`, () => {
        const finish = (row: string, sum: (i: number) => string): void => {
          frame.lines.add(`finish(batch, ${row}, n, ${products.map((_, i) => sum(i)).join(", ")});`);
        };
        if (together) tiles.eachRow(frame, () => finish("m + r", (i) => tiles.sumOfRow(i, "r")));
        else finish("m", (i) => `sum${i}`);
      });
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

  #tile(name: "tile" | "share"): void {
    const { batch, m, n, groups } = this.#kernel;
    const frame = this.#frame;
    const { tiles } = this.#dialect;
    tiles.operands(frame, this.#dtype);
    frame.main(name, this.#threads, () => {
      const { lines } = frame;
      frame.item("item");
      const columns = `((${sizeText(n)} + ${TILE - 1}) / ${TILE})`;
      const rows =
        groups?.over === "m"
          ? `((${sizeText(m)} + ${TILE - 1}) / ${TILE} + ${groups.group.extent})`
          : `((${sizeText(m)} + ${TILE - 1}) / ${TILE})`;
      frame.index("first_n", `item % ${columns} * ${TILE}`);
      frame.index("row", `item / ${columns} % ${rows}`);
      const behind = `item / ${columns} / ${rows}`;
      if (name === "tile") frame.index("batch", behind);
      else {
        frame.index("batch", batch.length === 0 ? "0" : `${behind} % ${wrapped(batch)}`);
        frame.index("share", batch.length === 0 ? behind : `${behind} / ${wrapped(batch)}`);
      }
      const across = TILE / COLUMNS;
      frame.index("own_m", `lane / ${across} * ${this.#rows}`);
      frame.index("own_n", `lane % ${across} * ${COLUMNS}`);
      tiles.place(frame);
      if (groups?.over !== "m") {
        frame.index("first_m", `row * ${TILE}`);
        for (const name of this.#allStatistics) {
          const rows = frame.shared(`${name}_of_row`, "f32", TILE);
          lines.block(`if (lane < ${TILE})`, () => lines.add(`${rows}[lane] = ${name}_of(first_m + lane);`));
        }
        this.#products((r) => `first_m + ${r}`);
        return;
      }
      // Tiles of one group after the other; rows without a group come last, and their products are 0.
      const { extent } = groups.group;
      const [expert, first, end] = this.#dialect.uniform(frame, "found", "here", () => {
        lines.add(this.#dialect.variable("expert", "i32", "0"), this.#dialect.variable("tile", "i32", "row"));
        lines.block(`while (expert < ${extent} && tile >= tiles_of(expert))`, () =>
          lines.add("tile -= tiles_of(expert);", "expert++;"),
        );
        return ["expert", `${this.#start("expert")} + tile * ${TILE}`, this.#start("expert + 1")];
      });
      frame.index("expert", expert!);
      frame.index("first_row", first!);
      frame.index("end_row", end!);
      lines.block("if (first_row >= end_row)", () => lines.add("return;"));
      this.#products((r) => this.#ordered(`first_row + ${r}`, "end_row"));
    });
  }

  /** Where the rows or terms of a group begin among those that are sorted. */
  #start(group: string): string {
    return loadFrom(this.#frame, "starts", group);
  }

  /** One of those that are sorted, -1 from an end on. */
  #ordered(at: string, end: string): string {
    return this.#dialect.select(`${at} < ${end}`, loadFrom(this.#frame, "order", at), "-1");
  }

  /** All products of a tile and what is done with them. */
  #products(row: (r: string) => string): void {
    const { products, groups } = this.#kernel;
    const { lines } = this.#frame;
    const { tiles, loop: loopHead } = this.#dialect;
    for (const i of products.keys()) tiles.sums(this.#frame, i, this.#rows, this.#dtype);
    for (const [i, product] of products.entries()) {
      if (groups?.over === "k") {
        lines.block("", () => {
          this.#frame.index("expert", this.#groupOfBatch("batch"));
          const [first, end] = this.#dialect.uniform(this.#frame, "found", "terms", () => [
            this.#start("expert"),
            this.#start("expert + 1"),
          ]);
          lines.block(loopHead("first", first!, end!, String(DEPTH)), () =>
            this.#step(i, product, row, (k) => this.#ordered(`first + ${k}`, end!)),
          );
        });
      } else {
        const expert = groups?.over === "m";
        const [first, end] = this.#termsOf(product);
        const loop = (): void =>
          lines.block(loopHead("first", first, end, String(DEPTH)), () =>
            this.#step(i, product, row, (k) => `first + ${k}`),
          );
        if (expert) lines.block(`if (expert < ${groups.group.extent})`, loop);
        else loop();
      }
    }
    tiles.results(
      this.#frame,
      products.length,
      this.#rows,
      (r, c, sums) =>
        `${this.#shares === undefined ? "finish(" : "keep(share, "}batch, ${row(r)}, first_n + ${c}, ${sums.join(", ")});`,
    );
  }

  /** The terms of a product that a tile adds up: all of them, or the share of the workgroup. */
  #termsOf({ k }: Product): [first: string, end: string] {
    const shares = this.#shares;
    const size = wrapped(k);
    if (shares === undefined) return ["0", sizeText(k)];
    const known = knownSize(k);
    const steps = known === undefined ? `(${size} + ${shares * DEPTH - 1}) / ${shares * DEPTH}` : undefined;
    const each = steps === undefined ? String(Math.ceil(known! / (shares * DEPTH)) * DEPTH) : `(${steps} * ${DEPTH})`;
    return [`share * ${each}`, `min((share + 1) * ${each}, ${sizeText(k)})`];
  }

  /** Loads `DEPTH` terms of all rows and columns of the tile and adds their products. */
  #step(i: number, product: Product, row: (r: string) => string, term: (k: string) => string): void {
    const { lines } = this.#frame;
    const { tiles, barrier } = this.#dialect;
    const expert = this.#kernel.groups?.over === "m" ? ", expert" : "";
    lines.add(...barrier("shared"));
    for (const letter of ["a", "b"] as const) {
      const value = product[letter];
      const place = (r: string): string => (letter === "a" ? row(r) : `first_n + ${r}`);
      const rest = (r: string): string =>
        letter === "b"
          ? expert
          : this.#statistics(product)
              .map((name) => `, ${name}_of_row[${r}]`)
              .join("");
      tiles.load(this.#frame, {
        letter,
        threads: this.#threads,
        alongTerms: runsAlong(value, product.k),
        term,
        element: (r) => `${letter}${i}(batch, ${place(r)}, at${rest(r)})`,
        loads: loadsOf(value),
      });
    }
    lines.add(...barrier("shared"));
    tiles.multiply(this.#frame, i, this.#rows);
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

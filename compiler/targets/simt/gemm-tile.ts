/** Tiles of 64 x 64 results of a product, each thread with some rows and columns of them, operands in workgroup memory. */
import { constant, loadedBy, walk } from "../../kernel-ir/expr.ts";
import type { Axis, Expr, Product } from "../../kernel-ir/types.ts";
import { knownSize, sizeText } from "./axes.ts";
import { type GemmFrame, wrapped } from "./gemm-frame.ts";
import { loadFrom } from "./sort.ts";
import { COLUMNS, DEPTH, TILE } from "./tiles.ts";

export class TilePrinter {
  readonly #own: GemmFrame;
  /** Rows of a thread: as many as columns, or fewer where these would take too many registers. */
  readonly #rows: number;
  /** Workgroups that share the terms of a tile. */
  readonly #shares: number | undefined;
  readonly threads: number;

  constructor(own: GemmFrame, shares?: number) {
    this.#own = own;
    this.#shares = shares;
    this.#rows = (own.kernel.products.length > 1 ? 4 : 8) / (own.dtype === "f64" ? 2 : 1);
    this.threads = TILE ** 2 / (this.#rows * COLUMNS);
  }

  print(name: "tile" | "share"): void {
    const { batch, m, n, groups } = this.#own.kernel;
    const frame = this.#own.frame;
    const { tiles } = this.#own.dialect;
    tiles.operands(frame, this.#own.dtype);
    frame.main(name, this.threads, () => {
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
        for (const name of this.#own.allStatistics) {
          const rows = frame.shared(`${name}_of_row`, "f32", TILE);
          lines.block(`if (lane < ${TILE})`, () => lines.add(`${rows}[lane] = ${name}_of(first_m + lane);`));
        }
        this.#products((r) => `first_m + ${r}`);
        return;
      }
      // Tiles of one group after the other; rows without a group come last, and their products are 0.
      const { extent } = groups.group;
      const [expert, first, end] = this.#own.dialect.uniform(frame, "found", "here", () => {
        lines.add(this.#own.dialect.variable("expert", "i32", "0"), this.#own.dialect.variable("tile", "i32", "row"));
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
    return loadFrom(this.#own.frame, "starts", group);
  }

  /** One of those that are sorted, -1 from an end on. */
  #ordered(at: string, end: string): string {
    return this.#own.dialect.select(`${at} < ${end}`, loadFrom(this.#own.frame, "order", at), "-1");
  }

  /** All products of a tile and what is done with them. */
  #products(row: (r: string) => string): void {
    const { products, groups } = this.#own.kernel;
    const { lines } = this.#own.frame;
    const { tiles, loop: loopHead } = this.#own.dialect;
    for (const i of products.keys()) tiles.sums(this.#own.frame, i, this.#rows, this.#own.dtype);
    for (const [i, product] of products.entries()) {
      if (groups?.over === "k") {
        lines.block("", () => {
          this.#own.frame.index("expert", this.#own.groupOfBatch("batch"));
          const [first, end] = this.#own.dialect.uniform(this.#own.frame, "found", "terms", () => [
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
      this.#own.frame,
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
    const { lines } = this.#own.frame;
    const { tiles, barrier } = this.#own.dialect;
    const expert = this.#own.kernel.groups?.over === "m" ? ", expert" : "";
    lines.add(...barrier("shared"));
    for (const letter of ["a", "b"] as const) {
      const value = product[letter];
      const place = (r: string): string => (letter === "a" ? row(r) : `first_n + ${r}`);
      const rest = (r: string): string =>
        letter === "b"
          ? expert
          : this.#own
              .statistics(product)
              .map((name) => `, ${name}_of_row[${r}]`)
              .join("");
      tiles.load(this.#own.frame, {
        letter,
        threads: this.threads,
        alongTerms: runsAlong(value, product.k),
        term,
        element: (r) => `${letter}${i}(batch, ${place(r)}, at${rest(r)})`,
        loads: loadedBy(value).length,
        varies: knownSize(product.k) === undefined || this.#own.kernel.groups?.over === "k",
      });
    }
    lines.add(...barrier("shared"));
    tiles.multiply(this.#own.frame, i, this.#rows);
  }
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

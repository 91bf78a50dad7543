/** Few rows of a product: a thread for each column of a row, or of those that are taken together, which waits for no other. */
import { loadedBy } from "../../kernel-ir/expr.ts";
import { sizeText } from "./axes.ts";
import type { Dialect } from "./dialect.ts";
import type { FewRows } from "./few-rows.ts";
import { type GemmFrame, groupsOf, wrapped } from "./gemm-frame.ts";
import { Statements } from "./statements.ts";
import { TOGETHER } from "./tiles.ts";

/** Rows up to which no tiles are made; of each group where rows have groups. */
const FEW = 8;

/** The entry point whose threads have a column each. */
export function columnOfThread(own: GemmFrame): FewRows {
  const { groups } = own.kernel;
  // Each group has a tile of its own, however few its rows are.
  const most = groups?.over === "m" ? FEW * groupsOf(groups.group) : FEW;
  const threads = own.dialect.threads.few;
  return { name: "few", most, threads, rows: TOGETHER, columns: threads, print: () => new FewPrinter(own).print() };
}

class FewPrinter {
  readonly #own: GemmFrame;
  readonly #threads: number;

  constructor(own: GemmFrame) {
    this.#own = own;
    this.#threads = own.dialect.threads.few;
  }

  print(): void {
    const { batch, m, n, products, groups } = this.#own.kernel;
    const frame = this.#own.frame;
    const dialect = this.#own.dialect;
    const { tiles } = dialect;
    const zero = frame.language.literal(0, this.#own.dtype);
    const together = this.#together;
    const expert = groups?.over === "m";
    frame.main("few", this.#threads, () => {
      const { lines } = frame;
      frame.item("item");
      frame.index("blocks", `(${sizeText(n)} + ${this.#threads - 1}) / ${this.#threads}`);
      frame.index("n", `item % blocks * ${this.#threads} + lane`);
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
      else this.#own.prologue(this.#threads);
      // What the terms have in common is worked out once: dividing is slow.
      frame.unpack(batch, "batch");
      if (together || this.#own.kernel.prologue === undefined) frame.unpack(m, "m");
      frame.index("own_n", `min(n, ${sizeText(n)} - 1)`);
      frame.unpack(n, "own_n");
      if (expert) frame.index(frame.names.axis(groups.group.name), "expert");
      const inGroup = groups?.over === "k" ? this.#own.groupOfBatch("batch") : "";
      const staged = this.#stages ? tiles.staged : undefined;
      if (staged !== undefined) {
        for (const i of products.keys()) tiles.sumsOfRows(frame, i, this.#own.dtype);
        lines.block("if (rows > 1)", () => this.#stagedSums(staged));
      }
      for (const own of this.#alike()) {
        const { k, a } = products[own[0]!]!;
        if (staged === undefined)
          for (const i of own) {
            if (together) tiles.sumsOfRows(frame, i, this.#own.dtype);
            else lines.add(dialect.variable(`sum${i}`, this.#own.dtype, zero));
          }
        const named = (name: string, value: string): string => {
          lines.add(frame.language.named(name, this.#own.dtype, value));
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
            for (const name of this.#own.statistics(products[own[0]!]!))
              lines.add(frame.language.named(name, "f32", `${name}_rows[0]`));
            const text = new Statements(frame, 1).scalars(a).print(a);
            const element = own.length === 1 ? text : named("a", text);
            lines.add(...own.map((i, at) => `${tiles.sumOfRow(i, 0)} += ${element} * ${factors[at]};`));
          };
          if (staged !== undefined) return one();
          lines.block("if (rows == 1)", one);
          lines.block("else", () => {
            for (const [at, i] of own.entries())
              tiles.addToRows(frame, i, this.#elementOfRow(i), loadedBy(a).length, factors[at]!);
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

  /** Whether few rows are taken together: not those of experts, which read different weights. */
  get #together(): boolean {
    return this.#own.kernel.groups?.over !== "m";
  }

  /** Whether few rows are prepared by all threads together: those that meet for numbers of their rows in any case. */
  get #stages(): boolean {
    return this.#together && this.#own.kernel.groups === undefined && this.#own.allStatistics.length > 0;
  }

  /** Products by what they have in common: those of a group have the same operand a. */
  #alike(): readonly (readonly number[])[] {
    const alike = new Map<string, number[]>();
    for (const [i, { a, k }] of this.#own.kernel.products.entries()) {
      const key = JSON.stringify([a, k]);
      alike.set(key, [...(alike.get(key) ?? []), i]);
    }
    return [...alike.values()];
  }

  /** An element of operand a for one of the rows that are taken together. */
  #elementOfRow(i: number): (r: string) => string {
    const names = this.#own.statistics(this.#own.kernel.products[i]!);
    return (r) => `a${i}(batch, m + ${r}, k${names.map((name) => `, ${name}_rows[${r}]`).join("")})`;
  }

  /** `x_rows[r]` for every number of the rows that are taken together: all threads compute it, one row after the other. */
  #statisticsOfRows(): void {
    const { lines } = this.#own.frame;
    const names = this.#own.allStatistics;
    if (names.length === 0) return;
    for (const name of names) lines.add(this.#own.dialect.array(`${name}_rows`, "f32", TOGETHER));
    this.#own.frame.index("first", "m");
    this.#own.dialect.tiles.eachRow(this.#own.frame, () => {
      this.#own.frame.index("m", "first + r");
      this.#own.prologue(this.#threads);
      for (const name of names) this.#own.frame.lines.add(`${name}_rows[r] = ${name};`);
    });
  }

  /** Sums of several rows, whose terms are prepared once for all products that have the same. */
  #stagedSums(staged: NonNullable<Dialect["tiles"]["staged"]>): void {
    const { products } = this.#own.kernel;
    const frame = this.#own.frame;
    const { tiles, loop, barrier } = this.#own.dialect;
    tiles.operands(frame, this.#own.dtype);
    for (const own of this.#alike()) {
      const { a, k } = products[own[0]!]!;
      const { lines } = frame;
      lines.block(loop("first", "0", sizeText(k), String(staged.terms)), () => {
        frame.index("count", `min(${staged.terms}, ${sizeText(k)} - first)`);
        lines.add(...barrier("shared"));
        staged.rows(frame, this.#threads, "count", this.#elementOfRow(own[0]!), loadedBy(a).length);
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
}

/** What all entry points of a product share: functions of its operands, of its rows and of what is done with its results. */
import { expressionsOf, loadedBy } from "../../kernel-ir/expr.ts";
import type { Axis, GemmKernel, Product, ScalarType, Stmt } from "../../kernel-ir/types.ts";
import { knownSize, sizeText } from "./axes.ts";
import type { Dialect, Parameter, Part } from "./dialect.ts";
import { Frame } from "./frame.ts";
import { Statements } from "./statements.ts";
import { DEPTH, TILE } from "./tiles.ts";

export class GemmFrame {
  readonly kernel: GemmKernel;
  readonly frame: Frame;
  readonly dialect: Dialect;
  /** What sums are made in. */
  readonly dtype: ScalarType;

  constructor(dialect: Dialect, kernel: GemmKernel, part?: Part) {
    this.kernel = kernel;
    this.dialect = dialect;
    this.dtype = kernel.products.some((product) => dialect.wide(product.dtype) === "f64") ? "f64" : "f32";
    const products = kernel.products.map(({ name }) => ({ name, dtype: this.dtype, shape: [] }));
    this.frame = new Frame(dialect, kernel, [...(kernel.prologue?.locals ?? []), ...products], part);
  }

  /** The functions, before any entry point. */
  print(): void {
    for (const [i, product] of this.kernel.products.entries()) this.#operands(i, product);
    if (this.kernel.groups !== undefined) this.#groupOf();
    this.#statisticFunctions();
    this.#finish();
  }

  /** The numbers of a row that a product's rows are made with. */
  statistics({ a }: Product): string[] {
    const names = new Set((this.kernel.prologue?.locals ?? []).map(({ name }) => name));
    return [...new Set(loadedBy(a))].filter((name) => names.has(name));
  }

  get allStatistics(): string[] {
    return [...new Set(this.kernel.products.flatMap((product) => this.statistics(product)))];
  }

  /**
   * The statements of the prologue for the row `m`.
   * @param wanted the one of its numbers that is asked for; all of them when not given
   */
  prologue(threads: number, group = threads, wanted?: string): void {
    const { m, prologue } = this.kernel;
    if (prologue === undefined) return;
    this.frame.unpack(m, "m");
    const body = wanted === undefined ? prologue.body : neededFor(wanted, prologue.body);
    const made = new Set(body.map(({ to }) => to));
    for (const { name, dtype } of prologue.locals)
      if (made.has(name)) this.frame.lines.add(this.dialect.variable(name, dtype));
    const statements = new Statements(this.frame, threads, group);
    for (const stmt of body) statements.print(stmt);
  }

  /** Which group a batch is of. */
  groupOfBatch(batch: string): string {
    const { batch: axes, groups } = this.kernel;
    const at = axes.findIndex(({ name }) => name === groups!.group.name);
    const inner = axes.slice(at + 1);
    const outer = inner.length === 0 ? batch : `(${batch} / ${wrapped(inner)})`;
    return at === 0 ? outer : `(${outer} % ${groups!.group.extent})`;
  }

  /**
   * `a0(batch, m, k)` and `b0(batch, n, k)`: elements of the operands. Beyond the last row or column it is one of the last, whose
   * products are not stored; beyond the last term it is 0. Without branches, and without checks that the sizes make needless.
   */
  #operands(i: number, product: Product): void {
    const { batch, m, n, groups } = this.kernel;
    const expert = groups?.over === "m";
    const whole = groups?.over !== "k" && dividedBy(product.k, DEPTH);
    for (const [letter, axes, value] of [
      ["a", m, product.a],
      ["b", n, product.b],
    ] as const) {
      const row = letter === "a" ? "m" : "n";
      const extra: Parameter[] =
        letter === "a"
          ? this.statistics(product).map((name) => [name, "f32"])
          : expert
            ? [[this.frame.names.axis(groups.group.name), "index"]]
            : [];
      const parameters: Parameter[] = [["batch", "index"], [`${row}_`, "index"], ["k_", "index"], ...extra];
      this.frame.func(`${letter}${i}`, parameters, this.dtype, () => {
        const { lines } = this.frame;
        const inside = letter === "b" && dividedBy(axes, TILE);
        this.frame.index(row, inside ? `${row}_` : `clamp(${row}_, 0, ${sizeText(axes)} - 1)`);
        this.frame.index("k", whole ? "k_" : `clamp(k_, 0, ${sizeText(product.k)} - 1)`);
        this.frame.unpack(batch, "batch");
        this.frame.unpack(axes, row);
        this.frame.unpack(product.k, "k");
        const text = new Statements(this.frame, 1).scalars(value).print(value);
        const none = this.frame.language.literal(0, this.dtype);
        lines.add(`return ${whole ? text : this.dialect.select("k == k_", text, none)};`);
      });
    }
  }

  /** `x_of(m)` for every number of a row: one thread computes it. */
  #statisticFunctions(): void {
    for (const name of this.allStatistics) {
      this.frame.func(`${name}_of`, [["m_", "index"]], "f32", () => {
        this.frame.index("m", `clamp(m_, 0, ${sizeText(this.kernel.m)} - 1)`);
        this.prologue(1, 1, name);
        this.frame.lines.add(`return ${name};`);
      });
    }
  }

  /** `group_of(i)`: the group of a row or a term. */
  #groupOf(): void {
    const groups = this.kernel.groups!;
    const axes = groups.over === "m" ? this.kernel.m : this.kernel.products[0]!.k;
    const row = groups.over === "m" ? "m" : "k";
    this.frame.func("group_of", [[row, "index"]], "i32", () => {
      this.frame.unpack(axes, row);
      this.frame.lines.add(`return ${new Statements(this.frame, 1).scalars(groups.of).print(groups.of)};`);
    });
  }

  /** What is done with the products at one place. */
  #finish(): void {
    const { batch, m, n, products, epilogue } = this.kernel;
    const indices = ["batch", "m", "n"].map((name): Parameter => [name, "index"]);
    const sums = products.map(({ name }): Parameter => [name, this.dtype]);
    this.frame.func("finish", [...indices, ...sums], undefined, () => {
      const { lines } = this.frame;
      const inside = dividedBy(n, TILE) ? "" : ` & (n < ${sizeText(n)})`;
      lines.block(`if ((m >= 0) & (m < ${sizeText(m)})${inside})`, () => {
        this.frame.unpack(batch, "batch");
        this.frame.unpack(m, "m");
        this.frame.unpack(n, "n");
        const statements = new Statements(this.frame, 1);
        for (const stmt of epilogue) statements.print(stmt);
      });
    });
  }
}

/** The statements that a number comes from, in their order. */
function neededFor(name: string, body: readonly Stmt[]): Stmt[] {
  const needed = new Set([name]);
  return body
    .toReversed()
    .filter((stmt) => {
      if (!needed.has(stmt.to)) return false;
      for (const expr of expressionsOf(stmt)) for (const from of loadedBy(expr)) needed.add(from);
      return true;
    })
    .toReversed();
}

/** Whether blocks of a size cover the axes without a rest, whatever the sizes of a call. */
function dividedBy(axes: readonly Axis[], size: number): boolean {
  return (knownSize(axes) ?? NaN) % size === 0;
}

export function wrapped(axes: readonly Axis[]): string {
  return axes.length > 1 ? `(${sizeText(axes)})` : sizeText(axes);
}

export function groupsOf({ extent }: Axis): number {
  if (typeof extent !== "number") throw new Error(`the number of groups ${extent} is not known`);
  return extent;
}

/** What printers of a plane's kernels for the tensor cores have in common: expressions, axes, places of rows. */
import { Lines } from "../../../emit/lines.ts";
import type { Axis, Expr, PlaneKernel } from "../../../kernel-ir/types.ts";
import { type Names, Scalars } from "../../scalars.ts";
import { cudaLanguage } from "../language.ts";
import { type Comparison, columnsCompared, type TensorRows } from "./attention-plan.ts";

/** Comparisons as CUDA writes them. */
export const INFIX = { lt: "<", le: "<=", gt: ">", ge: ">=", eq: "==" } as const;

export class PlaneText {
  readonly #kernel: PlaneKernel;
  readonly #names: Names;
  readonly #prefix: string;
  #lines: Lines;
  #fresh = 0;

  /** @param prefix of names for values that are used twice */
  constructor(kernel: PlaneKernel, lines: Lines, names: Names, prefix: string) {
    this.#kernel = kernel;
    this.#lines = lines;
    this.#names = names;
    this.#prefix = prefix;
  }

  get lines(): Lines {
    return this.#lines;
  }

  /** A name that nothing else has. */
  fresh(prefix: string): string {
    return `${prefix}${this.#fresh++}`;
  }

  /** The variable of an axis. */
  axis(name: string): string {
    return this.#names.axis(name);
  }

  /** That of columns, and how many there are. */
  get column(): string {
    return this.axis(this.#kernel.column.name);
  }

  get columnCount(): string {
    return String(this.#kernel.column.extent);
  }

  /** Names for axes of a flat index, the last one fastest. */
  unpack(axes: readonly Axis[], item: string): void {
    let rest = item;
    for (const [i, { name, extent }] of [...axes.entries()].toReversed()) {
      this.#lines.add(`const int ${this.axis(name)} = ${i === 0 ? rest : `${rest} % ${extent}`};`);
      rest = i === 1 ? `${rest} / ${extent}` : `(${rest} / ${extent})`;
    }
  }

  /** Where a row begins. */
  place({ arg, at }: TensorRows): string {
    const scalars = this.scalars(at);
    return `${arg.name} + ${this.#names.offset(arg.name, at, (x) => scalars.print(x))}`;
  }

  /** An element of an argument. */
  element(name: string, at: readonly Expr[], scalars: Scalars): string {
    return `${name}[${this.#names.offset(name, at, (x) => scalars.print(x))}]`;
  }

  /** A call whose last argument is a function with these parameters, in one line where that has room. */
  call(head: string, parameters: string, body: () => string): void {
    const outer = this.#lines;
    const inner = new Lines();
    this.#lines = inner;
    const value = body();
    this.#lines = outer;
    const statements = [
      ...inner
        .text()
        .split("\n")
        .filter((line) => line !== ""),
      `return ${value};`,
    ];
    const whole = `${head}, [&](${parameters}) { ${statements.join(" ")} });`;
    if (whole.length <= 166) outer.add(whole);
    else outer.block(`${head}, [&](${parameters})`, () => outer.add(...statements), "});");
  }

  /** Prints expressions of rows and columns; what they use twice gets a name before. */
  scalars(exprs: readonly Expr[]): Scalars {
    const { batch, rows, column } = this.#kernel;
    const extents = new Map([...batch, ...rows, column].map(({ name, extent }) => [name, extent]));
    const ranges = (axis: string): number | undefined => {
      const extent = extents.get(axis);
      return typeof extent === "number" ? extent : undefined;
    };
    const scalars = new Scalars(cudaLanguage(ranges), this.#names, this.#lines, () => this.fresh(this.#prefix));
    scalars.prepare(...exprs);
    return scalars;
  }
}

/** Which ends of a range decide a comparison with all of it: of columns that are less than something, the largest. */
export function endsOf(op: Comparison["op"]): readonly (0 | 1)[] {
  if (op === "eq") return [0, 1];
  return op === "lt" || op === "le" ? [1] : [0];
}

/**
 * The smallest and largest of each thing that columns are compared by, found by a warp.
 * @param columns how many, of which the first is `first`; those from `end` on are the last one
 * @param to the array of ints that they go to
 */
export function printRanges(
  text: PlaneText,
  compared: Compared,
  { columns, first, end, to }: Readonly<Record<"columns" | "first" | "end" | "to", string>>,
): void {
  for (const [i, expr] of compared.columns.entries())
    text.call(`find_range<${columns}>(${to}${i === 0 ? "" : ` + ${2 * i}`}, lane`, "int i", () => {
      text.lines.add(`const int ${text.column} = min(${first} + i, ${end} - 1);`);
      return text.scalars([expr]).print(expr);
    });
}

/** Comparisons of a mask: the different things of columns, and of rows, by their numbers. */
export class Compared {
  readonly comparisons: readonly Comparison[];
  readonly columns: readonly Expr[];
  readonly rows: readonly Expr[];

  constructor(comparisons: readonly Comparison[]) {
    this.comparisons = comparisons;
    this.columns = columnsCompared(comparisons);
    this.rows = [...new Map(comparisons.map(({ row }) => [JSON.stringify(row), row])).values()];
  }

  columnOf({ column }: Comparison): number {
    return this.columns.findIndex((expr) => JSON.stringify(expr) === JSON.stringify(column));
  }

  rowOf({ row }: Comparison): number {
    return this.rows.findIndex((expr) => JSON.stringify(expr) === JSON.stringify(row));
  }
}

/** How many points axes have, as CUDA writes it. */
export function sizeText(axes: readonly Axis[]): string {
  return axes.length === 0 ? "1" : axes.map(({ extent }) => String(extent)).join(" * ");
}

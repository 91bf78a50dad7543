/** Expressions of a kernel's IR in its text. */
import type { Lines } from "../../../emit/lines.ts";
import { walk } from "../../../kernel-ir/expr.ts";
import type { Axis, Expr } from "../../../kernel-ir/types.ts";
import { type Language, type Names, Scalars } from "../../scalars.ts";
import { knownSize } from "../../simt/axes.ts";

export class Printing {
  readonly lines: Lines;
  readonly names: Names;
  readonly #language: Language;
  #fresh = 0;

  constructor(lines: Lines, names: Names, language: Language) {
    this.lines = lines;
    this.names = names;
    this.#language = language;
  }

  /** Those of axes that the expressions use, from the number of an element: the last axis is the fastest. */
  unpack(axes: readonly Axis[], item: string, exprs: readonly Expr[]): void {
    const used = new Set<string>();
    for (const expr of exprs) walk(expr, (part) => part.kind === "axis" && used.add(part.axis));
    let rest = item;
    for (const [i, { name, extent }] of [...axes.entries()].toReversed()) {
      const value = i === 0 ? rest : `${rest} % ${extent}`;
      if (used.has(name)) this.lines.add(`const int ${this.names.axis(name)} = ${String(extent) === "1" ? 0 : value};`);
      rest = i === 1 ? `${rest} / ${extent}` : `(${rest} / ${extent})`;
    }
  }

  /** Prints expressions; what they use twice is named before. */
  scalars(exprs: readonly Expr[]): Scalars {
    const scalars = new Scalars(this.#language, this.names, this.lines, () => `v${this.#fresh++}`);
    scalars.prepare(...exprs);
    return scalars;
  }

  /** Where an element of an argument lies; the axes of its indices are known. */
  offset(arg: string, at: readonly Expr[]): string {
    const scalars = this.scalars(at);
    return this.names.offset(arg, at, (x) => scalars.print(x));
  }
}

/** How many points axes have; NaN where only a launch knows. */
export function fixedSize(axes: readonly Axis[]): number {
  return knownSize(axes) ?? NaN;
}

/** How many elements axes have. */
export function sizeText(axes: readonly Axis[]): string {
  return axes.length === 0 ? "1" : axes.map(({ extent }) => String(extent)).join(" * ");
}

/** Whether blocks of so many elements of axes are all full. */
export function isWhole(axes: readonly Axis[], block: number): boolean {
  const size = axes.reduce((n, { extent }) => (typeof extent === "number" ? n * extent : NaN), 1);
  return size % block === 0;
}

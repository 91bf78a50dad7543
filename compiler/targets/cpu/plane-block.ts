/** What printers of a block of rows share: names, row indices, values at a point. */
import type { Axis, Expr, Local, PlaneKernel } from "../../kernel-ir/types.ts";
import { Frame, product } from "./frame.ts";
import { Scalars } from "../scalars.ts";
import { CPP, storageType, valueType } from "./cpp.ts";

const VARIABLES = [
  "item",
  "chunk",
  "runs",
  "part",
  "limit",
  "row",
  "block",
  "from",
  "to",
  "first",
  "columns",
  "at",
  "strip",
  "index",
] as const;

export class PlaneBlock {
  readonly kernel: PlaneKernel;
  readonly frame: Frame;
  /** Variables of the printers, as they are called where no argument has the name. */
  readonly id: Readonly<Record<(typeof VARIABLES)[number], string>>;
  /** Rows of a token. */
  readonly inner: string;
  /** Elements between strips of a plane. */
  readonly stride: string;
  #temps = 0;

  constructor(kernel: PlaneKernel) {
    this.kernel = kernel;
    this.frame = new Frame(kernel, [], "plane.h");
    const { names } = this.frame;
    names.declare(kernel.locals);
    this.id = Object.fromEntries(VARIABLES.map((hint) => [hint, names.local(hint)])) as typeof this.id;
    this.inner = product(kernel.rows.slice(1).map(({ extent }) => String(extent)));
    this.stride = `${kernel.column.extent} * DSK_STRIP`;
    for (const local of kernel.locals) {
      const count = isPlane(local) ? `DSK_ROWS * ${kernel.column.extent}` : "DSK_ROWS";
      this.frame.reserve(this.store(local), memoryType(local), count);
    }
  }

  /** The name of what a local is in, for all rows of the block. */
  store(local: Local): string {
    return this.frame.names.local(`${local.name}_${isPlane(local) ? "plane" : "rows"}`);
  }

  local(name: string): Local | undefined {
    return this.kernel.locals.find((local) => local.name === name);
  }

  /** A name that nothing else has. */
  fresh(hint: string): string {
    return this.frame.names.local(`${hint}${this.#temps++}`);
  }

  /** The indices of a row, `r` its number in the block. */
  indices(r: string): void {
    const { index, block } = this.id;
    this.frame.body.add(`const int64_t ${index} = ${block}.index(${r});`);
    this.frame.unpack(this.kernel.rows, index);
  }

  scalars(...exprs: readonly Expr[]): Scalars {
    const scalars = new Scalars(CPP, this.frame.names, this.frame.body, () => this.fresh("v"));
    scalars.prepare(...exprs);
    return scalars;
  }

  value(expr: Expr): string {
    return this.scalars(expr).print(expr);
  }

  place(to: string, at: readonly Expr[]): string {
    const scalars = this.scalars(...at);
    return `${to}[${this.frame.names.offset(to, at, (x) => scalars.print(x))}]`;
  }

  /** Nested loops; `body` gets the number of the element, the last axis fastest. */
  loops(axes: readonly Axis[], simd: boolean, body: (number: string) => void): void {
    const { names, body: lines } = this.frame;
    const numbered = axes.reduce<string>(
      (at, { name, extent }, i) => (i === 0 ? names.axis(name) : `(${at} * ${extent} + ${names.axis(name)})`),
      "0",
    );
    const loop = (rest: readonly Axis[]): void => {
      const [first, ...others] = rest;
      if (first === undefined) return body(numbered);
      const i = names.axis(first.name);
      if (simd && others.length === 0) lines.add("#pragma omp simd");
      lines.block(`for (int64_t ${i} = 0; ${i} < ${first.extent}; ${i}++)`, () => loop(others));
    };
    loop(axes);
  }
}

export function isPlane({ shape }: Local): boolean {
  return shape.length > 0;
}

/** The C++ type of a local's elements. */
export function memoryType({ dtype, shape }: Local): string {
  return shape.length > 0 || dtype === "bool" ? storageType(dtype) : valueType(dtype);
}

/** The number of points of axes, as a C++ expression. */
export function sizeOf(axes: readonly Axis[]): string {
  return product(axes.map(({ extent }) => String(extent)));
}

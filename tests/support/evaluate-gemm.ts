/** Meaning of a GemmKernel, term by term in f64: what every printer of it is compared with. */
import { dtypeOf } from "../../compiler/kernel-ir/expr.ts";
import type { Axis, Expr, GemmKernel, Stmt } from "../../compiler/kernel-ir/types.ts";
import type { Extent } from "../../runtime/program/launch.ts";
import { bits, valueOf } from "./bf16.ts";

export interface Bindings {
  readonly sizes: Readonly<Record<string, number>>;
  /** Elements of the arguments; those that are written are filled. */
  readonly values: Readonly<Record<string, { [i: number]: number }>>;
  /** Whether what codes stand for is rounded to bf16, where rows are bf16: as many rows have it. */
  readonly rounds?: boolean;
}

/** Runs the kernel: fills the arguments that its epilogue assigns to. */
export function evaluateGemm(kernel: GemmKernel, { sizes, values, rounds = false }: Bindings): void {
  // JavaScript of the kernel: some hundred million terms of a test take a second, not a minute.
  const body = new Source(kernel, sizes).text();
  const rounded = (x: number): number => (rounds ? valueOf(bits(x)) : x);
  (new Function("values", "rounded", body) as (values: Bindings["values"], r: typeof rounded) => void)(values, rounded);
}

/** The statements of a kernel; arguments are `$name`, axes `_name` and numbers of a row `name_`. */
class Source {
  readonly #kernel: GemmKernel;
  readonly #sizes: Bindings["sizes"];

  constructor(kernel: GemmKernel, sizes: Bindings["sizes"]) {
    this.#kernel = kernel;
    this.#sizes = sizes;
  }

  text(): string {
    const { args, batch, m, n, groups, products, prologue, epilogue } = this.#kernel;
    const lines = args.map(({ name }) => `const $${name} = values[${JSON.stringify(name)}];`);
    const scalars = [...products, ...(prologue?.locals ?? [])].map(({ name }) => `let ${name}_ = 0;`);
    const of = groups === undefined ? "0" : this.#value(groups.of);
    const group = groups === undefined ? undefined : `_${groups.group.name}`;
    const ofProducts = products.map(({ name, k, a, b }) => {
      const term = `${name}_ += ${this.#value(a)} * ${this.#value(b)};`;
      return this.#loop(k, groups?.over === "k" ? `if (${of} === ${group}) ${term}` : term);
    });
    const chosen = groups?.over === "m" ? [`const ${group} = ${of};`] : [];
    const sums = groups?.over === "m" ? [`if (${group} >= 0) {`, ...ofProducts, "}"] : ofProducts;
    const row = (prologue?.body ?? []).map((stmt) => this.#stmt(stmt));
    const stores = epilogue.map((stmt) => this.#stmt(stmt));
    const inner = [...scalars, ...row, ...chosen, ...sums, ...stores].join("\n");
    return [...lines, this.#loop([...batch, ...m, ...n], inner)].join("\n");
  }

  #loop(axes: readonly Axis[], body: string): string {
    return axes.reduceRight(
      (inner, { name, extent }) =>
        `for (let _${name} = 0; _${name} < ${this.#size(extent)}; _${name}++) {\n${inner}\n}`,
      body,
    );
  }

  #stmt(stmt: Stmt): string {
    if (stmt.kind === "assign" && stmt.axes.length === 0) {
      const isScalar = this.#kernel.prologue?.locals.some(({ name }) => name === stmt.to) ?? false;
      const to = isScalar ? `${stmt.to}_` : this.#element(stmt.to, stmt.at);
      return `${to} = ${this.#value(stmt.value)};`;
    }
    if (stmt.kind === "reduce" && stmt.reduction === "sum")
      return `${stmt.to}_ = 0;\n${this.#loop(stmt.over, `${stmt.to}_ += ${this.#value(stmt.value)};`)}`;
    throw new Error(`a product with ${stmt.kind}`);
  }

  #size(extent: Extent): number {
    return typeof extent === "number" ? extent : this.#sizes[extent]!;
  }

  #element(name: string, at: readonly Expr[]): string {
    const { shape } = this.#kernel.args.find((arg) => arg.name === name)!;
    const terms = at.map(
      (x, i) => `${this.#value(x)} * ${shape.slice(i + 1).reduce<number>((n, size) => n * this.#size(size), 1)}`,
    );
    return `$${name}[${terms.join(" + ") || "0"}]`;
  }

  #value(expr: Expr): string {
    switch (expr.kind) {
      case "const":
        return `(${Number(expr.value)})`;
      case "axis":
        return `_${expr.axis}`;
      case "extent":
        return String(this.#size(expr.extent));
      case "load":
        return this.#kernel.args.some(({ name }) => name === expr.from)
          ? this.#element(expr.from, expr.at)
          : `${expr.from}_`;
      case "op": {
        const [x, y, z] = expr.operands.map((operand) => this.#value(operand));
        switch (expr.op) {
          case "add":
            return `(${x} + ${y})`;
          case "sub":
            return `(${x} - ${y})`;
          case "mul": {
            const isWeight = expr.dtype === "bf16" && expr.operands.every((operand) => dtypeOf(operand) === "f32");
            return isWeight ? `rounded(${x} * ${y})` : `(${x} * ${y})`;
          }
          case "div":
            return expr.dtype === "index" ? `Math.floor(${x} / ${y})` : `(${x} / ${y})`;
          case "mod":
            return `(${x} % ${y})`;
          case "lt":
            return `(${x} < ${y} ? 1 : 0)`;
          case "select":
            return `(${x} !== 0 ? ${y} : ${z})`;
          case "cast":
            return x!;
          case "silu":
            return `((x) => x / (1 + Math.exp(-x)))(${x})`;
          case "square":
            return `((x) => x * x)(${x})`;
          case "rsqrt":
            return `(1 / Math.sqrt(${x}))`;
          default:
            throw new Error(`${expr.op} has no meaning here`);
        }
      }
      case "random":
        throw new Error("a product of random numbers");
    }
  }
}

/** Elementwise kernels on whole tensors as kernels on lists of elements: one for parameters of all shapes. */
import type { Arg, Axis, Expr, Local, RowsKernel, Stmt } from "../kernel-ir/types.ts";
import { axis } from "../kernel-ir/expr.ts";

const ELEMENT: Axis = { name: "element", extent: "elements" };

/** A kernel without its name, and how many elements its launch has. */
export interface Flat {
  readonly kernel: Omit<RowsKernel, "name" | "from">;
  readonly elements: number;
}

/**
 * Where every statement runs over all elements, and every argument is read and written at that element or is a single value,
 * shapes do not matter: an optimizer's update is one kernel. Undefined for other kernels.
 */
export function flattened(kernel: Omit<RowsKernel, "name" | "from">): Flat | undefined {
  const [first] = kernel.body;
  if (first === undefined || kernel.extents.length > 0) return undefined;
  const space = [...kernel.rows, ...first.axes];
  const sizes = space.map(({ extent }) => extent);
  if (space.length === 0 || !sizes.every((size) => typeof size === "number")) return undefined;
  const flattener = new Flattener(kernel, space);
  const body = kernel.body.map((stmt) => flattener.stmt(stmt));
  if (!body.every((stmt) => stmt !== undefined)) return undefined;
  const whole = (shape: Arg["shape"]): Arg["shape"] => (shape.length === 0 ? [] : [ELEMENT.extent]);
  return {
    kernel: {
      family: "rows",
      args: kernel.args.map((arg) => ({ ...arg, shape: whole(arg.shape) })),
      extents: [String(ELEMENT.extent)],
      rows: [ELEMENT],
      locals: kernel.locals.map((local) => ({ ...local, shape: [] })),
      body,
    },
    elements: sizes.reduce((a, b) => a * b, 1),
  };
}

class Flattener {
  readonly #space: readonly Axis[];
  readonly #inner: number;
  readonly #locals: ReadonlySet<string>;
  readonly #shapes: ReadonlyMap<string, readonly unknown[]>;

  constructor(kernel: Omit<RowsKernel, "name" | "from">, space: readonly Axis[]) {
    this.#space = space;
    this.#inner = kernel.rows.length;
    this.#locals = new Set(kernel.locals.map(({ name }) => name));
    const stores: readonly (Arg | Local)[] = [...kernel.args, ...kernel.locals];
    this.#shapes = new Map(stores.map(({ name, shape }) => [name, shape]));
  }

  stmt(stmt: Stmt): Stmt | undefined {
    if (stmt.kind !== "assign") return undefined;
    const axes = this.#space.slice(this.#inner);
    if (stmt.axes.length !== axes.length || !stmt.axes.every(({ name }, i) => name === axes[i]!.name)) return undefined;
    const at = this.#at(stmt.to, stmt.at);
    const value = this.#expr(stmt.value);
    return at === undefined || value === undefined ? undefined : { ...stmt, axes: [], at, value };
  }

  /** The place of the element in a store that has a value for each, or of the one value. */
  #at(store: string, at: readonly Expr[]): Expr[] | undefined {
    const isLocal = this.#locals.has(store);
    // A single value in a row is no single value in a list of elements, unless rows are single elements.
    if (at.length === 0) return isLocal && this.#inner < this.#space.length ? undefined : [];
    const wanted = isLocal ? this.#space.slice(this.#inner) : this.#space;
    const shape = this.#shapes.get(store)!;
    const fits =
      at.length === wanted.length &&
      at.every((x, i) => x.kind === "axis" && x.axis === wanted[i]!.name && shape[i] === wanted[i]!.extent);
    if (!fits) return undefined;
    return isLocal ? [] : [axis(ELEMENT.name)];
  }

  #expr(expr: Expr): Expr | undefined {
    switch (expr.kind) {
      case "const":
        return expr;
      case "load": {
        const at = this.#at(expr.from, expr.at);
        return at === undefined ? undefined : { ...expr, at };
      }
      case "op": {
        const operands = expr.operands.map((operand) => this.#expr(operand));
        return operands.every((operand) => operand !== undefined) ? { ...expr, operands } : undefined;
      }
      default:
        return undefined;
    }
  }
}

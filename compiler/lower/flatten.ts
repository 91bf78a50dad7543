/** Kernels on all elements of tensors as kernels of lists of elements: one for parameters of all shapes. */
import type { Arg, Axis, ColumnsKernel, Expr, Local, RowsKernel, SoloKernel, Stmt } from "../kernel-ir/types.ts";
import { axis } from "../kernel-ir/expr.ts";
import { ELEMENT } from "../kernel-ir/lists.ts";

type Nameless<K extends SoloKernel> = Omit<K, "name" | "from">;

/** A kernel without its name, and how many elements its launch has. */
export interface Flat {
  readonly kernel: Nameless<RowsKernel> | Nameless<ColumnsKernel>;
  readonly elements: number;
}

/**
 * Where every statement runs over all elements, or sums them up to single values, and every argument is read and written at that
 * element or is a single value, shapes do not matter: an optimizer's update is one kernel, and so are the squares of a norm.
 * Undefined for other kernels.
 */
export function flattened(kernel: Nameless<SoloKernel>): Flat | undefined {
  if (kernel.family === "rows") return flatRows(kernel as RowsKernel);
  return kernel.family === "columns" ? flatSums(kernel as ColumnsKernel) : undefined;
}

/** How many elements there are, where no call changes it; single values are no lists. */
function elementsOf(space: readonly Axis[]): number | undefined {
  if (space.length === 0) return undefined;
  return space.reduce<number | undefined>(
    (n, { extent }) => (n !== undefined && typeof extent === "number" ? n * extent : undefined),
    1,
  );
}

function whole({ shape }: Arg): Arg["shape"] {
  return shape.length === 0 ? [] : [ELEMENT.extent];
}

function flatSums({ family, args, extents, columns, over, sums }: ColumnsKernel): Flat | undefined {
  const elements = elementsOf(over);
  if (elements === undefined || columns.length > 0 || extents.length > 0) return undefined;
  const flattener = new Flattener({ args, locals: [], rows: [] }, over);
  const flat = sums.map((sum) => {
    const value = flattener.expr(sum.value);
    return value === undefined || sum.at.length > 0 ? undefined : { ...sum, value };
  });
  if (!flat.every((sum) => sum !== undefined)) return undefined;
  return {
    kernel: {
      family,
      args: args.map((arg) => ({ ...arg, shape: whole(arg) })),
      extents: [String(ELEMENT.extent)],
      columns,
      over: [ELEMENT],
      sums: flat,
    },
    elements,
  };
}

function flatRows(kernel: Nameless<RowsKernel>): Flat | undefined {
  const [first] = kernel.body;
  if (first === undefined || kernel.extents.length > 0) return undefined;
  const space = [...kernel.rows, ...first.axes];
  const elements = elementsOf(space);
  if (elements === undefined) return undefined;
  const flattener = new Flattener(kernel, space);
  const body = kernel.body.map((stmt) => flattener.stmt(stmt));
  if (!body.every((stmt) => stmt !== undefined)) return undefined;
  return {
    kernel: {
      family: "rows",
      args: kernel.args.map((arg) => ({ ...arg, shape: whole(arg) })),
      extents: [String(ELEMENT.extent)],
      rows: [ELEMENT],
      locals: kernel.locals.map((local) => ({ ...local, shape: [] })),
      body,
    },
    elements,
  };
}

class Flattener {
  readonly #space: readonly Axis[];
  readonly #inner: number;
  readonly #locals: ReadonlySet<string>;
  readonly #shapes: ReadonlyMap<string, readonly unknown[]>;

  constructor(kernel: Pick<RowsKernel, "args" | "locals" | "rows">, space: readonly Axis[]) {
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
    const value = this.expr(stmt.value);
    return at === undefined || value === undefined ? undefined : { ...stmt, axes: [], at, value };
  }

  /** The place of the element in a store that has a value for each, or of the one value. */
  #at(store: string, at: readonly Expr[]): Expr[] | undefined {
    const isLocal = this.#locals.has(store);
    // A single value in a row is no single value in a list of elements, unless rows are single elements.
    if (at.length === 0) return isLocal && this.#inner < this.#space.length ? undefined : [];
    const wanted = isLocal ? this.#space.slice(this.#inner) : this.#space;
    const shape = this.#shapes.get(store)!;
    // Dims of one element have no axis.
    const along = [...at.entries()].filter(([i]) => shape[i] !== 1);
    const fits =
      along.length === wanted.length &&
      along.every(([i, x], j) => x.kind === "axis" && x.axis === wanted[j]!.name && shape[i] === wanted[j]!.extent);
    if (!fits) return undefined;
    return isLocal ? [] : [axis(ELEMENT.name)];
  }

  expr(expr: Expr): Expr | undefined {
    switch (expr.kind) {
      case "const":
        return expr;
      case "load": {
        const at = this.#at(expr.from, expr.at);
        return at === undefined ? undefined : { ...expr, at };
      }
      case "op": {
        const operands = expr.operands.map((operand) => this.expr(operand));
        return operands.every((operand) => operand !== undefined) ? { ...expr, operands } : undefined;
      }
      default:
        return undefined;
    }
  }
}

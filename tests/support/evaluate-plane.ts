/** Meaning of a PlaneKernel, row by row in f64: what every printer of it is compared with. */
import type { Axis, Expr, PlaneKernel, ScalarOp, Stmt } from "../../compiler/kernel-ir/types.ts";
import type { Extent } from "../../runtime/program/launch.ts";
import type { Bindings } from "./evaluate-gemm.ts";

type Operator = (x: number, y: number, z: number) => number;

const OPERATORS: Partial<Record<ScalarOp, Operator>> = {
  cast: (x) => x,
  not: (x) => Number(x === 0),
  exp: Math.exp,
  log: Math.log,
  tanh: Math.tanh,
  square: (x) => x * x,
  recip: (x) => 1 / x,
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  max: (x, y) => Math.max(x, y),
  lt: (x, y) => Number(x < y),
  le: (x, y) => Number(x <= y),
  gt: (x, y) => Number(x > y),
  ge: (x, y) => Number(x >= y),
  eq: (x, y) => Number(x === y),
  and: (x, y) => Number(x !== 0 && y !== 0),
  or: (x, y) => Number(x !== 0 || y !== 0),
  select: (x, y, z) => (x === 0 ? z : y),
};

/** Runs the kernel: fills the arguments that leave it. Sums over rows start at what the arguments have, which should be 0. */
export function evaluatePlane(kernel: PlaneKernel, { sizes, values }: Bindings): void {
  const sizeOf = (extent: Extent): number => (typeof extent === "number" ? extent : sizes[extent]!);
  const { batch, rows, column, span } = kernel;
  const at: Record<string, number> = {};
  const locals = Object.fromEntries(
    kernel.locals.map(({ name, shape }) => [name, new Float64Array(shape.reduce<number>((n, x) => n * sizeOf(x), 1))]),
  );
  const shapes = Object.fromEntries([...kernel.args, ...kernel.locals].map(({ name, shape }) => [name, shape]));
  let [first, end] = [0, sizeOf(column.extent)];
  const loop = (axes: readonly Axis[], body: () => void): void => {
    const [axis, ...rest] = axes;
    if (axis === undefined) return body();
    const [from, to] = axis.name === column.name ? [first, end] : [0, sizeOf(axis.extent)];
    for (let i = from; i < to; i++) {
      at[axis.name] = i;
      loop(rest, body);
    }
  };
  const place = (name: string, indices: readonly Expr[]): number =>
    indices.reduce((n, x, i) => (i === 0 ? 0 : n * sizeOf(shapes[name]![i]!)) + value(x), 0);
  const store = (name: string): { [i: number]: number } => locals[name] ?? values[name]!;
  const value = (expr: Expr): number => {
    switch (expr.kind) {
      case "const":
        return Number(expr.value);
      case "axis":
        return at[expr.axis]!;
      case "extent":
        return sizes[expr.extent]!;
      case "load":
        return store(expr.from)[place(expr.from, expr.at)]!;
      case "op": {
        const operator = OPERATORS[expr.op];
        if (operator === undefined) throw new Error(`${expr.op} has no meaning here`);
        const [x, y = 0, z = 0] = expr.operands.map(value) as [number, number?, number?];
        const result = operator(x, y, z);
        return expr.dtype === "index" ? Math.floor(result) : result;
      }
      case "random":
        throw new Error("a plane of random numbers");
    }
  };
  const run = (stmt: Stmt): void => {
    if (stmt.kind === "assign")
      return loop(stmt.axes, () => {
        store(stmt.to)[place(stmt.to, stmt.at)] = value(stmt.value);
      });
    if (stmt.kind !== "reduce") throw new Error(`${stmt.kind} has no meaning here`);
    loop(stmt.axes, () => {
      let result = stmt.reduction === "sum" ? 0 : stmt.reduction === "max" ? -Infinity : Infinity;
      loop(stmt.over, () => {
        const next = value(stmt.value);
        result = stmt.reduction === "sum" ? result + next : Math[stmt.reduction](result, next);
      });
      store(stmt.to)[place(stmt.to, stmt.at)] = result;
    });
  };
  loop([...batch, ...rows], () => {
    if (span !== undefined) [first, end] = [value(span.from), value(span.to)];
    for (const stmt of kernel.body) {
      if (stmt.kind === "row") run(stmt.stmt);
      else if (stmt.kind === "enter")
        loop([column], () => {
          let sum = 0;
          for (const { k, a, b } of stmt.products) loop(k, () => (sum += value(a) * value(b)));
          locals[stmt.local]![at[column.name]!] = sum;
        });
      else if (stmt.kind === "leave_rows")
        loop(stmt.n, () => {
          let sum = 0;
          loop([column], () => (sum += locals[stmt.local]![at[column.name]!]! * value(stmt.b)));
          store(stmt.to)[place(stmt.to, stmt.at)] = sum;
        });
      else
        loop([...stmt.n, column], () => {
          store(stmt.to)[place(stmt.to, stmt.at)]! += locals[stmt.local]![at[column.name]!]! * value(stmt.x);
        });
    }
  });
}

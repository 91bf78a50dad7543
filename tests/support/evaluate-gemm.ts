/** Meaning of a GemmKernel, term by term in f64: what every printer of it is compared with. */
import type { Axis, Expr, GemmKernel } from "../../compiler/kernel-ir/types.ts";
import type { Extent } from "../../runtime/program/launch.ts";

export interface Bindings {
  readonly sizes: Readonly<Record<string, number>>;
  /** Elements of the arguments; those that are written are filled. */
  readonly values: Readonly<Record<string, { [i: number]: number }>>;
}

/** Runs the kernel: fills the arguments that its epilogue assigns to. */
export function evaluateGemm(kernel: GemmKernel, { sizes, values }: Bindings): void {
  const sizeOf = (extent: Extent): number => (typeof extent === "number" ? extent : sizes[extent]!);
  const at: Record<string, number> = {};
  const { prologue } = kernel;
  const scalars: Record<string, number> = Object.fromEntries(
    [...kernel.products, ...(prologue?.locals ?? [])].map(({ name }) => [name, 0]),
  );
  const loop = (axes: readonly Axis[], body: () => void): void => {
    const [first, ...rest] = axes;
    if (first === undefined) return body();
    const size = sizeOf(first.extent);
    for (let i = 0; i < size; i++) {
      at[first.name] = i;
      if (rest.length === 0) body();
      else loop(rest, body);
    }
  };
  const place = (name: string, indices: readonly Expr[]): (() => number) => {
    const { shape } = kernel.args.find((arg) => arg.name === name)!;
    return indices
      .map((x, i) => ({
        index: compiled(x),
        stride: shape.slice(i + 1).reduce<number>((n, size) => n * sizeOf(size), 1),
      }))
      .reduce(
        (rest: () => number, { index, stride }) =>
          () =>
            rest() + index() * stride,
        () => 0,
      );
  };
  const compiled = (expr: Expr): (() => number) => {
    switch (expr.kind) {
      case "const": {
        const value = Number(expr.value);
        return () => value;
      }
      case "axis":
        return () => at[expr.axis]!;
      case "extent":
        return () => sizes[expr.extent]!;
      case "load": {
        if (expr.from in scalars) return () => scalars[expr.from]!;
        const [elements, where] = [values[expr.from]!, place(expr.from, expr.at)];
        return () => elements[where()]!;
      }
      case "op": {
        const [x, y, z] = expr.operands.map(compiled) as [() => number, () => number, () => number];
        switch (expr.op) {
          case "add":
            return () => x() + y();
          case "sub":
            return () => x() - y();
          case "mul":
            return () => x() * y();
          case "div":
            return expr.dtype === "index" ? () => Math.floor(x() / y()) : () => x() / y();
          case "mod":
            return () => x() % y();
          case "lt":
            return () => Number(x() < y());
          case "select":
            return () => (x() !== 0 ? y() : z());
          case "cast":
            return x;
          case "silu":
            return () => x() / (1 + Math.exp(-x()));
          case "square":
            return () => x() ** 2;
          case "rsqrt":
            return () => 1 / Math.sqrt(x());
          default:
            throw new Error(`${expr.op} has no meaning here`);
        }
      }
      case "random":
        throw new Error("a product of random numbers");
    }
  };
  const { batch, m, n, groups } = kernel;
  const of = groups === undefined ? (): number => 0 : compiled(groups.of);
  const products = kernel.products.map(({ name, k, a, b }) => ({ name, k, a: compiled(a), b: compiled(b) }));
  const stores = kernel.epilogue.map((stmt) => {
    if (stmt.kind !== "assign") throw new Error(`an epilogue with ${stmt.kind}`);
    return { to: values[stmt.to]!, where: place(stmt.to, stmt.at), value: compiled(stmt.value) };
  });
  const ofRow = (prologue?.body ?? []).map((stmt) => {
    if (stmt.kind === "assign" && stmt.axes.length === 0) {
      const value = compiled(stmt.value);
      return () => (scalars[stmt.to] = value());
    }
    if (stmt.kind !== "reduce" || stmt.reduction !== "sum") throw new Error(`a row with ${stmt.kind}`);
    const term = compiled(stmt.value);
    return () => {
      let sum = 0;
      loop(stmt.over, () => (sum += term()));
      scalars[stmt.to] = sum;
    };
  });
  loop([...batch, ...m, ...n], () => {
    for (const stmt of ofRow) stmt();
    if (groups?.over === "m") at[groups.group.name] = of();
    const none = groups?.over === "m" && of() < 0;
    for (const { name, k, a, b } of products) {
      let sum = 0;
      const term = (): void => {
        if (groups?.over !== "k" || of() === at[groups.group.name]) sum += a() * b();
      };
      if (!none) loop(k, term);
      scalars[name] = sum;
    }
    for (const { to, where, value } of stores) to[where()] = value();
  });
}

/**
 * Kernels between tokens and positions: a workgroup has one row at a time, the row's values for all columns in its scratch
 * memory, and goes over rows until none are left. Sums over tokens belong to the workgroup of their batch.
 */
import type { Axis, Expr, PlaneKernel, PlaneStmt } from "../../kernel-ir/types.ts";
import { type File, Frame } from "./frame.ts";
import { Statements } from "./statements.ts";
import { valueType } from "./wgsl.ts";

const THREADS = 64;
/** Workgroups that run at a time, at most: each has scratch memory. */
const WORKGROUPS = 256;

export function printPlane(kernel: PlaneKernel): File {
  const { batch, rows, column, span, locals, body } = kernel;
  const frame = new Frame(kernel, locals);
  const statements = new Statements(frame, THREADS);
  for (const { name, dtype, shape } of locals) if (shape.length > 0) frame.array(name, dtype, shape);
  const sumsTokens = body.some(({ kind }) => kind === "leave_columns");
  const extents = (axes: readonly Axis[]): Axis["extent"][] => axes.map(({ extent }) => extent);
  const [from, to] = span === undefined ? ["0", String(column.extent)] : ["from_column", "to_column"];
  frame.main("main", THREADS, () => {
    const { lines } = frame;
    lines.add("own = i32(group.x);");
    lines.block("for (var item = i32(group.x); item < launch.items; item += i32(groups.x))", () => {
      if (sumsTokens) {
        frame.unpack(batch, "item");
        for (const stmt of body) if (stmt.kind === "leave_columns") zero(statements, stmt, column);
        statements.barrier();
        lines.block(`for (var row = 0; row < ${extents(rows).join(" * ")}; row++)`, () => row("row", rows));
      } else row("item", [...batch, ...rows]);
    });
  });
  function row(name: string, axes: readonly Axis[]): void {
    const { lines } = frame;
    frame.unpack(axes, name);
    if (span !== undefined) {
      const bound = (value: Expr): string => statements.scalars(value).print(value);
      lines.add(`let from_column = ${bound(span.from)};`, `let to_column = ${bound(span.to)};`);
      statements.limit(column.name, from!, to!);
    }
    for (const { name: local, dtype, shape } of locals)
      if (shape.length === 0) lines.add(`var ${local}: ${valueType(dtype)};`);
    for (const stmt of body) printStmt(frame, statements, stmt, column);
    statements.barrier();
  }
  frame.entry("main", THREADS, [{ of: extents(sumsTokens ? batch : [...batch, ...rows]) }], { most: WORKGROUPS });
  return frame.file();
}

function zero(statements: Statements, stmt: PlaneStmt & { kind: "leave_columns" }, column: Axis): void {
  const value: Expr = { kind: "const", dtype: "f32", value: 0 };
  statements.print({ kind: "assign", axes: [column, ...stmt.n], to: stmt.to, at: stmt.at, value });
}

function printStmt(frame: Frame, statements: Statements, stmt: PlaneStmt, column: Axis): void {
  const here: Expr = { kind: "axis", axis: column.name };
  switch (stmt.kind) {
    case "row":
      return statements.print(stmt.stmt);
    case "enter": {
      // Each thread has columns of its own, and all terms of these.
      statements.settle([], [stmt.local]);
      statements.each([column], () => {
        const sum = frame.temp("sum");
        frame.lines.add(`var ${sum} = 0.0;`);
        for (const { k, a, b } of stmt.products) {
          frame.lines.block("", () =>
            statements.loops(k, () => {
              const scalars = statements.scalars(a, b);
              frame.lines.add(`${sum} = fma(${scalars.print(a)}, ${scalars.print(b)}, ${sum});`);
            }),
          );
        }
        statements.write(stmt.local, [here], statements.scalars(), sum);
      });
      return;
    }
    case "leave_rows": {
      const { local, n, b, to, at } = stmt;
      const value: Expr = {
        kind: "op",
        op: "mul",
        dtype: "f32",
        operands: [{ kind: "load", from: local, at: [here], dtype: "f32" }, b],
      };
      return statements.print({ kind: "reduce", reduction: "sum", axes: n, over: [column], value, to, at });
    }
    case "leave_columns": {
      const { local, n, x, to, at } = stmt;
      statements.settle([local], [to]);
      statements.each([column, ...n], () => {
        const value: Expr = { kind: "load", from: local, at: [here], dtype: "f32" };
        const scalars = statements.scalars(value, x, ...at);
        const offset = frame.names.offset(to, at, (e) => scalars.print(e));
        frame.lines.add(
          `store_${to}(${offset}, fma(${scalars.print(value)}, ${scalars.print(x)}, load_${to}(${offset})));`,
        );
      });
    }
  }
}

/**
 * Kernels between tokens and positions: a team of threads has one row at a time, the row's values for all columns in its scratch
 * memory, and goes over rows until none are left. Sums over tokens (gradients of keys and values) are made by a second entry point,
 * which has blocks of columns: see plane-columns.ts.
 */
import type { Axis, Expr, PlaneKernel, PlaneStmt } from "../../kernel-ir/types.ts";
import { extentsOf, sizeText } from "./axes.ts";
import { type File, Frame } from "./frame.ts";
import { isRecomputable, printColumnBlocks, saveScalars } from "./plane-columns.ts";
import { Statements } from "./statements.ts";
import { valueType } from "./wgsl.ts";

const THREADS = 64;
/** Threads of a row. */
const TEAM = 16;
/** Workgroups that run at a time, at most: each has scratch memory. */
const WORKGROUPS = 256;

export function printPlane(kernel: PlaneKernel): File {
  const { batch, rows, locals, body } = kernel;
  const frame = new Frame(kernel, locals);
  const extents = extentsOf([...batch, ...rows]);
  const sumsTokens = body.some(({ kind }) => kind === "leave_columns");
  if (sumsTokens && isRecomputable(kernel)) {
    printRows(frame, kernel, "rows", [...batch, ...rows], "items_before");
    frame.lines.add("");
    const workgroups = [{ of: extents, by: THREADS / TEAM }];
    const before = { name: "rows", workgroupSize: THREADS, workgroups, most: WORKGROUPS };
    printColumnBlocks(frame, kernel, THREADS, before);
  } else if (sumsTokens) {
    // A workgroup has all rows of a batch, so that its sums are its own.
    printRows(frame, kernel, "main", batch, "items");
    frame.entry("main", THREADS, [{ of: extentsOf(batch) }], { most: WORKGROUPS });
  } else {
    printRows(frame, kernel, "main", [...batch, ...rows], "items");
    frame.entry("main", THREADS, [{ of: extents, by: THREADS / TEAM }], { most: WORKGROUPS });
  }
  return frame.file();
}

/** @param items axes of what a workgroup takes at a time: rows, or all rows of a batch */
function printRows(frame: Frame, kernel: PlaneKernel, name: string, items: readonly Axis[], count: string): void {
  const { batch, rows, column, span, locals, body } = kernel;
  const wholeBatch = items.length < batch.length + rows.length;
  const team = wholeBatch ? THREADS : TEAM;
  frame.teams = THREADS / team;
  const statements = new Statements(frame, team, THREADS);
  for (const { name: local, dtype, shape } of locals) if (shape.length > 0) frame.array(local, dtype, shape);
  const row = (index: string, axes: readonly Axis[]): void => {
    const { lines } = frame;
    frame.unpack(axes, index);
    if (span !== undefined) {
      const bound = (value: Expr): string => statements.scalars(value).print(value);
      lines.add(`let from_column = ${bound(span.from)};`, `let to_column = ${bound(span.to)};`);
      statements.limit(column.name, "from_column", "to_column");
    }
    for (const { name: local, dtype, shape } of locals)
      if (shape.length === 0) lines.add(`var ${local}: ${valueType(dtype)};`);
    for (const stmt of body)
      if (stmt.kind !== "leave_columns" || wholeBatch) printStmt(frame, statements, stmt, kernel);
    if (name === "rows") saveScalars(frame, kernel, index);
    statements.barrier();
  };
  frame.main(name, THREADS, () => {
    const { lines } = frame;
    if (!wholeBatch) {
      const teams = THREADS / team;
      lines.add(`let count = ${sizeText(items)};`, `let team = lane / ${team};`);
      lines.add(`own = i32(group.x) * ${teams} + team;`);
      return lines.block(`for (var block = i32(group.x); block < launch.${count}; block += i32(groups.x))`, () => {
        lines.add(
          "// Teams without a row repeat the last one, as barriers want it, and store nothing.",
          `let inside = block * ${teams} + team < count;`,
          `let item = min(block * ${teams} + team, count - 1);`,
          `let lane = i32(index) % ${team};`,
        );
        row("item", items);
      });
    }
    lines.add("own = i32(group.x);");
    lines.block(`for (var item = i32(group.x); item < launch.${count}; item += i32(groups.x))`, () => {
      frame.unpack(batch, "item");
      for (const stmt of body) if (stmt.kind === "leave_columns") zero(statements, stmt, column);
      statements.barrier();
      lines.block(`for (var row = 0; row < ${sizeText(rows)}; row++)`, () => row("row", rows));
    });
  });
}

function zero(statements: Statements, stmt: PlaneStmt & { kind: "leave_columns" }, column: Axis): void {
  const value: Expr = { kind: "const", dtype: "f32", value: 0 };
  statements.print({ kind: "assign", axes: [column, ...stmt.n], to: stmt.to, at: stmt.at, value });
}

function printStmt(frame: Frame, statements: Statements, stmt: PlaneStmt, kernel: PlaneKernel): void {
  const { column, span } = kernel;
  const here: Expr = { kind: "axis", axis: column.name };
  switch (stmt.kind) {
    case "row":
      return statements.print(stmt.stmt);
    case "enter":
      // Each thread has columns of its own, and all terms of these.
      statements.settle([], [stmt.local]);
      return statements.each([column], () => {
        const sum = frame.temp("sum");
        frame.lines.add(`var ${sum} = 0.0;`);
        for (const { k, a, b } of stmt.products) {
          frame.lines.block("", () =>
            statements.loops(k, () => {
              const scalars = statements.scalars(a, b);
              frame.lines.add(`${sum} += ${scalars.print(a)} * ${scalars.print(b)};`);
            }),
          );
        }
        statements.write(stmt.local, [here], statements.scalars(), sum);
      });
    case "leave_rows": {
      const bounds = span === undefined ? ["0", String(column.extent)] : ["from_column", "to_column"];
      return leaveRows(frame, statements, stmt, column, bounds as [string, string]);
    }
    case "leave_columns": {
      const { local, n, x, to, at } = stmt;
      statements.settle([local], [to]);
      statements.each([column, ...n], () => {
        const value: Expr = { kind: "load", from: local, at: [here], dtype: "f32" };
        const scalars = statements.scalars(value, x, ...at);
        const offset = frame.names.offset(to, at, (e) => scalars.print(e));
        const product = `${scalars.print(value)} * ${scalars.print(x)}`;
        frame.lines.add(`store_${to}(${offset}, load_${to}(${offset}) + ${product});`);
      });
    }
  }
}

/** Sums over columns: neighboring threads have neighboring results, and all columns of these. */
function leaveRows(
  frame: Frame,
  statements: Statements,
  { local, n, b, to, at }: PlaneStmt & { kind: "leave_rows" },
  column: Axis,
  [from, end]: readonly [string, string],
): void {
  const { lines, names } = frame;
  const value: Expr = { kind: "load", from: local, at: [{ kind: "axis", axis: column.name }], dtype: "f32" };
  const here = names.axis(column.name);
  statements.settle([local], []);
  statements.each(n, () => {
    const sum = frame.temp("sum");
    lines.add(`var ${sum} = 0.0;`);
    lines.block(`for (var ${here} = ${from}; ${here} < ${end}; ${here}++)`, () => {
      const scalars = statements.scalars(value, b);
      lines.add(`${sum} += ${scalars.print(value)} * ${scalars.print(b)};`);
    });
    statements.write(to, at, statements.scalars(...at), sum);
  });
}

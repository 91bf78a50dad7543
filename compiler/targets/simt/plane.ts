/**
 * Kernels between tokens and positions: a team of threads has one row at a time, the row's values for all columns in its scratch
 * memory, and goes over rows until none are left. Sums over tokens (gradients of keys and values) are made by a second entry point,
 * which has blocks of columns: see plane-columns.ts.
 */
import type { Axis, Expr, PlaneKernel, PlaneStmt } from "../../kernel-ir/types.ts";
import { extentsOf, sizeText } from "./axes.ts";
import type { Dialect, Part } from "./dialect.ts";
import { Frame } from "./frame.ts";
import { isRecomputable, printColumnBlocks, saveScalars } from "./plane-columns.ts";
import { dtypeIn, type LeaveColumns, unrounded, zeroed } from "./plane-sums.ts";
import { Statements } from "./statements.ts";

/** Workgroups that run at a time, at most: each has scratch memory. */
const WORKGROUPS = 256;

export function printPlane(dialect: Dialect, kernel: PlaneKernel, part?: Part): Frame {
  const { batch, rows, locals, body } = kernel;
  const frame = new Frame(dialect, kernel, locals, part);
  const { plane: threads, planeRow } = dialect.threads;
  const extents = extentsOf([...batch, ...rows]);
  const sumsTokens = body.some(({ kind }) => kind === "leave_columns");
  if (sumsTokens && isRecomputable(kernel)) {
    printRows(frame, kernel, "rows", [...batch, ...rows], "items_before");
    const workgroups = [{ of: extents, by: threads / planeRow }];
    const before = { name: "rows", workgroupSize: threads, workgroups, most: WORKGROUPS };
    printColumnBlocks(frame, kernel, before);
  } else if (sumsTokens) {
    // A workgroup has all rows of a batch, so that its sums are its own.
    printRows(frame, kernel, "main", batch, "items");
    frame.entry("main", threads, [{ of: extentsOf(batch) }], { most: WORKGROUPS });
  } else {
    printRows(frame, kernel, "main", [...batch, ...rows], "items");
    frame.entry("main", threads, [{ of: extents, by: threads / planeRow }], { most: WORKGROUPS });
  }
  return frame;
}

/** @param items axes of what a workgroup takes at a time: rows, or all rows of a batch */
function printRows(frame: Frame, kernel: PlaneKernel, name: string, items: readonly Axis[], count: string): void {
  const { batch, rows, column, span, locals, body } = kernel;
  const { dialect, language } = frame;
  const { plane: threads, planeRow } = dialect.threads;
  const wholeBatch = items.length < batch.length + rows.length;
  const team = wholeBatch ? threads : planeRow;
  frame.owner = { teams: threads / team, of: name };
  const statements = new Statements(frame, team, threads);
  for (const { name: local, dtype, shape } of locals) if (shape.length > 0) frame.array(local, dtype, shape);
  const sums: ReturnType<typeof unrounded> = wholeBatch ? unrounded(frame, kernel) : new Map();
  const row = (index: string, axes: readonly Axis[]): void => {
    const { lines } = frame;
    frame.unpack(axes, index);
    if (span !== undefined) {
      const bound = (value: Expr): string => statements.scalars(value).print(value);
      frame.index("from_column", bound(span.from));
      frame.index("to_column", bound(span.to));
      statements.limit(column.name, "from_column", "to_column");
    }
    for (const { name: local, dtype, shape } of locals)
      if (shape.length === 0) lines.add(dialect.variable(local, dtype));
    for (const stmt of body)
      if (stmt.kind !== "leave_columns") printStmt(frame, statements, stmt, kernel);
      else if (wholeBatch) printStmt(frame, statements, sums.get(stmt) ?? stmt, kernel);
    if (name === "rows") saveScalars(frame, kernel, index);
    statements.barrier();
  };
  frame.main(name, threads, () => {
    const { lines } = frame;
    if (!wholeBatch) {
      const teams = threads / team;
      frame.index("count", sizeText(items));
      frame.index("team", `lane / ${team}`);
      lines.add(...dialect.own(`${dialect.group} * ${teams} + team`));
      return lines.block(dialect.loop("block", dialect.group, dialect.given(count), dialect.groups), () => {
        lines.add("// Teams without a row repeat the last one, as barriers want it, and store nothing.");
        lines.add(language.named("inside", "bool", `block * ${teams} + team < count`));
        frame.index("item", `min(block * ${teams} + team, count - 1)`);
        frame.index("lane", `${dialect.thread} % ${team}`);
        row("item", items);
      });
    }
    lines.add(...dialect.own(dialect.group));
    lines.block(dialect.loop("item", dialect.group, dialect.given(count), dialect.groups), () => {
      frame.unpack(batch, "item");
      const outside = new Statements(frame, team, threads);
      for (const stmt of body) if (stmt.kind === "leave_columns") assign(outside, sums.get(stmt) ?? stmt, column, ZERO);
      outside.barrier();
      lines.block(dialect.loop("row", "0", sizeText(rows)), () => row("row", rows));
      for (const [stmt, { to, at, dtype }] of sums)
        assign(outside, stmt, column, { kind: "load", from: to, at, dtype });
      if (sums.size > 0) outside.barrier();
    });
  });
}

const ZERO: Expr = { kind: "const", dtype: "f32", value: 0 };

/** For all results of a sum over tokens. */
function assign(statements: Statements, { n, to, at }: LeaveColumns, column: Axis, value: Expr): void {
  statements.print({ kind: "assign", axes: [column, ...n], to, at, value });
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
        frame.lines.add(zeroed(frame, sum, dtypeIn(frame, stmt.local)));
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
        const value: Expr = { kind: "load", from: local, at: [here], dtype: dtypeIn(frame, local) };
        const scalars = statements.scalars(value, x, ...at);
        const offset = frame.names.offset(to, at, (e) => scalars.print(e));
        const product = `${scalars.print(value)} * ${scalars.print(x)}`;
        const store = frame.names.store(to);
        const old = frame.language.load(store, offset);
        frame.lines.add(frame.dialect.store(store, offset, `${old} + ${product}`));
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
  const dtype = dtypeIn(frame, local);
  const value: Expr = { kind: "load", from: local, at: [{ kind: "axis", axis: column.name }], dtype };
  const here = names.axis(column.name);
  statements.settle([local], []);
  statements.each(n, () => {
    const sum = frame.temp("sum");
    lines.add(zeroed(frame, sum, dtype));
    lines.block(frame.dialect.loop(here, from, end), () => {
      const scalars = statements.scalars(value, b);
      lines.add(`${sum} += ${scalars.print(value)} * ${scalars.print(b)};`);
    });
    statements.write(to, at, statements.scalars(...at), sum);
  });
}

/**
 * Sums over tokens of a plane, as gradients of keys and values are: a workgroup has a block of columns and goes over blocks of
 * rows. The values of a row at its columns are computed a second time, which costs less than keeping them; what a row has one of
 * (maxima, sums) was saved by the entry point `rows` (Dao, FlashAttention-2, 2023, algorithm 2).
 */
import { expressionsOf, loadedBy } from "../../kernel-ir/expr.ts";
import type { Arg, Axis, Expr, Local, PlaneKernel, PlaneStmt } from "../../kernel-ir/types.ts";
import type { Grid } from "../../../runtime/program/grids.ts";
import { Scalars } from "../scalars.ts";
import { extentsOf, sizeText } from "./axes.ts";
import type { Frame } from "./frame.ts";
import { dtypeIn, type LeaveColumns, zeroed } from "./plane-sums.ts";
import { Statements } from "./statements.ts";

/** Columns of a workgroup, and rows that it takes at a time. */
const BLOCK = 16;

/** Whether every value of a row at a column can be computed by itself from what the row has one of. */
export function isRecomputable({ column, locals, body }: PlaneKernel): boolean {
  const named = new Map(locals.map((local) => [local.name, local]));
  const isArray = ({ shape }: Local): boolean => shape.length === 1 && shape[0] === column.extent;
  const isScalar = ({ shape, dtype }: Local): boolean =>
    shape.length === 0 && (dtype === "f32" || dtype === "i32" || dtype === "f64");
  return (
    locals.every((local) => isArray(local) || isScalar(local)) &&
    body.every((plane) => {
      if (plane.kind !== "row") return true;
      const { stmt } = plane;
      const local = named.get(stmt.to);
      if (local === undefined) return stmt.kind === "assign" || stmt.kind === "reduce";
      return isScalar(local)
        ? stmt.kind === "assign" || stmt.kind === "reduce"
        : stmt.kind === "assign" && stmt.axes.length === 1 && stmt.axes[0]!.name === column.name;
    })
  );
}

/** What a column is computed with: statements of the row's values there, in their order, and what the row has one of. */
interface Needed {
  readonly body: readonly PlaneStmt[];
  readonly locals: readonly Local[];
}

/** What sums over tokens are made of, without what only the row itself needs: its maxima and sums are there already. */
function neededFor({ locals, body }: PlaneKernel): Needed {
  const isArray = new Set(locals.flatMap(({ name, shape }) => (shape.length > 0 ? [name] : [])));
  const awaited = new Set<string>();
  const used = new Set<string>();
  const reads = (names: readonly string[]): void => {
    for (const name of names) {
      awaited.add(name);
      used.add(name);
    }
  };
  const needed = body.toReversed().filter((stmt) => {
    if (stmt.kind === "leave_columns") reads([stmt.local]);
    else if (stmt.kind === "enter") {
      if (!awaited.delete(stmt.local)) return false;
      reads(stmt.products.flatMap(({ a, b }) => [a, b].flatMap(loadedBy)));
    } else if (stmt.kind === "row") {
      if (!isArray.has(stmt.stmt.to) || !awaited.delete(stmt.stmt.to)) return false;
      reads(expressionsOf(stmt.stmt).flatMap(loadedBy));
    } else return false;
    return true;
  });
  return { body: needed.toReversed(), locals: locals.filter(({ name }) => used.has(name)) };
}

function scalarsOf({ locals }: Needed): readonly Local[] {
  return locals.filter(({ shape }) => shape.length === 0);
}

/** Stores what the row has one of, where columns need it. */
export function saveScalars(frame: Frame, kernel: PlaneKernel, row: string): void {
  const { lines } = frame;
  const scalars = scalarsOf(neededFor(kernel));
  if (scalars.length === 0) return;
  const extents = extentsOf([...kernel.batch, ...kernel.rows]);
  for (const { name, dtype } of scalars) frame.shareScratch(`saved_${name}`, dtype as "f32" | "i32" | "f64", extents);
  lines.block("if (inside && lane == 0)", () => {
    for (const { name } of scalars) lines.add(frame.dialect.store(frame.names.store(`saved_${name}`), row, name));
  });
}

/** The entry point `columns`. */
export function printColumnBlocks(frame: Frame, kernel: PlaneKernel, before: Grid): void {
  const { batch, rows, column, span, body } = kernel;
  const { dialect, names } = frame;
  const threads = dialect.threads.plane;
  const leaves = body.filter((stmt) => stmt.kind === "leave_columns");
  const dtypes = leaves.map(({ local }) => dtypeIn(frame, local));
  const tiles = leaves.map((_, i) => frame.shared(`tile${i}`, dtypes[i]!, BLOCK * BLOCK));
  frame.owner = { teams: 1, of: "columns" };
  const sums = leaves.map(({ n }, i) => {
    const name = names.local(`sums${i}`);
    const shape = [BLOCK, ...extentsOf(n)];
    names.declare([{ name, dtype: dtypes[i]!, shape }]);
    frame.array(name, dtypes[i]!, shape);
    return name;
  });
  const sumAt = (i: number): Arg | Local => names.store(sums[i]!);
  const inner = rows.slice(1).map(({ extent }) => String(extent));
  const statements = new Statements(frame, threads);
  frame.main("columns", threads, () => {
    const { lines } = frame;
    frame.item("item");
    const blocks = `((${column.extent} + ${BLOCK - 1}) / ${BLOCK})`;
    frame.index("first_column", `item % ${blocks} * ${BLOCK}`);
    frame.index("batch", `item / ${blocks}`);
    frame.unpack(batch, "batch");
    // Each result is summed by one thread, and rounded when all rows are in it.
    for (const [i, leave] of leaves.entries())
      eachResult(frame, kernel, leave, threads, () =>
        lines.add(dialect.store(sumAt(i), "i", frame.language.literal(0, dtypes[i]!))),
      );
    const all = sizeText(rows);
    if (span === undefined) {
      frame.index("begin", "0");
      frame.index("end", all);
    } else tokensThatSee(frame, kernel, statements, inner);
    lines.block(dialect.loop("first", "begin", "end", String(BLOCK)), () => {
      lines.add(...dialect.barrier("shared"));
      lines.block(dialect.loop("pair", "lane", String(BLOCK * BLOCK), String(threads)), () => {
        const here = names.axis(column.name);
        frame.index("row", `first + pair / ${BLOCK}`);
        frame.index(here, `first_column + pair % ${BLOCK}`);
        for (const i of leaves.keys()) lines.add(zeroed(frame, `left${i}`, dtypes[i]!));
        lines.block(`if (row < end && ${here} < ${column.extent})`, () => {
          frame.unpack(rows, "row");
          const compute = (): void => recompute(frame, kernel, all);
          if (span === undefined) return compute();
          const bound = (value: Expr): string => statements.scalars(value).print(value);
          lines.block(`if (${here} >= ${bound(span.from)} && ${here} < ${bound(span.to)})`, compute);
        });
        for (const [i, tile] of tiles.entries()) lines.add(`${tile}[pair] = left${i};`);
      });
      lines.add(...dialect.barrier("shared"));
      frame.index("count", `min(end - first, ${BLOCK})`);
      for (const [i, leave] of leaves.entries())
        eachResult(frame, kernel, leave, threads, () => {
          lines.add(zeroed(frame, "sum", dtypes[i]!));
          lines.block(dialect.loop("r", "0", "count"), () => {
            frame.unpack(rows, "(first + r)");
            const x = statements.scalars(leave.x).print(leave.x);
            lines.add(`sum += ${tiles[i]}[r * ${BLOCK} + own_column] * ${x};`);
          });
          lines.add(dialect.store(sumAt(i), "i", `${frame.language.load(sumAt(i), "i")} + sum`));
        });
    });
    for (const [i, leave] of leaves.entries())
      eachResult(frame, kernel, leave, threads, () => {
        const scalars = new Statements(frame, 1).scalars(...leave.at);
        const offset = names.offset(leave.to, leave.at, (x) => scalars.print(x));
        lines.add(dialect.store(names.store(leave.to), offset, frame.language.load(sumAt(i), "i")));
      });
  });
  const workgroups = [{ of: extentsOf(batch) }, { of: [column.extent], by: BLOCK }];
  frame.entry("columns", threads, workgroups, { before });
}

/** `begin` and `end`: the rows of the first and the last token whose span meets the block. */
function tokensThatSee(frame: Frame, kernel: PlaneKernel, statements: Statements, inner: readonly string[]): void {
  const { lines, dialect } = frame;
  const [tokens] = kernel.rows as [Axis];
  const { from, to } = kernel.span!;
  lines.add(dialect.variable("low", "i32", String(tokens.extent)), dialect.variable("high", "i32", "0"));
  lines.block(dialect.loop("token", "lane", String(tokens.extent), String(statements.threads)), () => {
    frame.unpack([tokens], "token");
    const scalars = statements.scalars(from, to);
    lines.block(`if (${scalars.print(from)} < first_column + ${BLOCK} && ${scalars.print(to)} > first_column)`, () =>
      lines.add("low = min(low, token);", "high = max(high, token + 1);"),
    );
  });
  lines.add(
    `low = ${statements.together("min", "i32", "low")};`,
    `high = ${statements.together("max", "i32", "high")};`,
  );
  const [begin, end] = dialect.uniform(frame, "seen", "tokens", () => ["low", "high"]);
  const rowsOf = (token: string): string => [token, ...inner].join(" * ");
  frame.index("begin", rowsOf(begin!));
  frame.index("end", rowsOf(end!));
}

/** The body for every result of a sum over tokens in the block of columns: `i` of them, each belongs to one thread. */
function eachResult(
  frame: Frame,
  { column }: PlaneKernel,
  { n }: LeaveColumns,
  threads: number,
  body: () => void,
): void {
  const { lines, names, dialect } = frame;
  const size = sizeText(n);
  lines.block(dialect.loop("i", "lane", `${BLOCK} * ${size}`, String(threads)), () => {
    frame.index("own_column", `i / (${size})`);
    frame.index(names.axis(column.name), "first_column + own_column");
    lines.block(`if (${names.axis(column.name)} < ${column.extent})`, () => {
      frame.unpack(n, `(i % (${size}))`);
      body();
    });
  });
}

/** The values of a row at one column, in the order of the body; those that leave go to `left0`, `left1`, … */
function recompute(frame: Frame, kernel: PlaneKernel, rowsOfBatch: string): void {
  const { lines, dialect, language } = frame;
  const needed = neededFor(kernel);
  const arrays = needed.locals.filter(({ shape }) => shape.length > 0);
  // At one column, an array of the row is a value.
  const names = frame.names.redeclared(arrays.map((local) => ({ ...local, shape: [] })));
  const scalars = (...exprs: readonly Expr[]): Scalars => {
    const own = new Scalars(language, names, lines, () => frame.temp("v"));
    own.prepare(...exprs);
    return own;
  };
  for (const { name, dtype } of arrays) lines.add(dialect.variable(name, dtype));
  const saved = scalarsOf(needed);
  if (saved.length > 0) frame.index("saved", `batch * ${rowsOfBatch} + row`);
  for (const { name, dtype } of saved)
    lines.add(language.named(name, dtype, language.load(frame.names.store(`saved_${name}`), "saved")));
  let left = 0;
  for (const stmt of needed.body) {
    if (stmt.kind === "row" && stmt.stmt.kind === "assign")
      lines.add(`${stmt.stmt.to} = ${scalars(stmt.stmt.value).print(stmt.stmt.value)};`);
    else if (stmt.kind === "enter") {
      const sum = frame.temp("sum");
      lines.add(zeroed(frame, sum, dtypeIn(frame, stmt.local)));
      for (const { k, a, b } of stmt.products)
        lines.block("", () =>
          new Statements(frame, 1).loops(k, () => {
            const own = scalars(a, b);
            lines.add(`${sum} += ${own.print(a)} * ${own.print(b)};`);
          }),
        );
      lines.add(`${stmt.local} = ${sum};`);
    } else if (stmt.kind === "leave_columns") lines.add(`left${left++} = ${stmt.local};`);
  }
}

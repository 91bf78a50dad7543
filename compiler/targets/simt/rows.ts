import { walk } from "../../kernel-ir/expr.ts";
import type { Axis, Expr, RowsKernel, SerialKernel, Stmt } from "../../kernel-ir/types.ts";
import { extentsOf, knownSize, sizeText } from "./axes.ts";
import type { Dialect, Part } from "./dialect.ts";
import { Frame } from "./frame.ts";
import { printSortedTiles } from "./sorted-tiles.ts";
import { Statements } from "./statements.ts";

/** Rows with so little to do that each belongs to one thread. */
const SMALL = 16;
/** Threads of a workgroup of such rows. */
const ROWS = 64;

/** One workgroup per row, or one thread where rows are small. */
export function printRows(dialect: Dialect, kernel: RowsKernel, part?: Part): Frame {
  const most = Math.max(0, ...kernel.body.map(work));
  const small = most <= SMALL;
  const frame = new Frame(dialect, kernel, kernel.locals, part);
  const threads = small ? ROWS : dialect.threads.row(most, part);
  const statements = new Statements(frame, small ? 1 : threads);
  if (!small) for (const { name, dtype, shape } of kernel.locals) if (shape.length > 0) frame.array(name, dtype, shape);
  const of = extentsOf(kernel.rows);
  frame.main("main", threads, () => {
    const { lines } = frame;
    if (small) {
      frame.index("item", `${dialect.item} * ${ROWS} + lane`);
      lines.block(`if (item >= ${sizeText(kernel.rows)})`, () => lines.add("return;"));
    } else frame.item("item");
    frame.unpack(kernel.rows, "item");
    for (const { name, dtype, shape } of kernel.locals) {
      if (shape.length === 0) lines.add(dialect.variable(name, dtype));
      else if (small)
        lines.add(
          dialect.array(
            name,
            dtype,
            shape.reduce<number>((n, s) => n * Number(s), 1),
          ),
        );
    }
    for (const stmt of kernel.body) statements.print(stmt);
  });
  frame.entry("main", threads, small ? [{ of, by: ROWS }] : [{ of }]);
  return frame;
}

/** One workgroup does everything, or several where each can have indices of its own in whatever is written. */
export function printSerial(dialect: Dialect, kernel: SerialKernel, part?: Part): Frame {
  const [first] = kernel.body;
  if (first?.kind === "sort") return printSortedTiles(dialect, kernel, first);
  const frame = new Frame(dialect, kernel, kernel.locals, part);
  const axis = dialect.threads.spread === undefined ? undefined : sharedAxis(kernel);
  if (axis !== undefined) return printScatters(frame, kernel, axis);
  const threads = dialect.threads.serial;
  const statements = new Statements(frame, threads);
  for (const { name, dtype, shape } of kernel.locals) if (shape.length > 0) frame.array(name, dtype, shape);
  frame.main("main", threads, () => {
    frame.item("item");
    for (const { name, dtype, shape } of kernel.locals)
      if (shape.length === 0) frame.lines.add(dialect.variable(name, dtype));
    for (const stmt of kernel.body) statements.print(stmt);
  });
  frame.entry("main", threads, []);
  return frame;
}

/** Indices of a workgroup that scatters, and its threads. */
const SCATTERED = 32;
const SCATTERERS = 256;

/** Each workgroup scatters along a few indices of an axis. */
function printScatters(frame: Frame, { body }: SerialKernel, { name, extent }: Axis): Frame {
  const statements = new Statements(frame, SCATTERERS);
  frame.main("main", SCATTERERS, () => {
    frame.item("item");
    frame.index("first", `item * ${SCATTERED}`);
    frame.index("end", `min(first + ${SCATTERED}, ${extent})`);
    statements.limit(name, "first", "end");
    for (const stmt of body) statements.print(stmt);
  });
  frame.entry("main", SCATTERERS, [{ of: [extent], by: SCATTERED }]);
  return frame;
}

/** An axis that keeps everything that is written apart: all statements scatter, and have it as the same index of what they write. */
function sharedAxis({ body }: SerialKernel): Axis | undefined {
  const [first] = body;
  if (first?.kind !== "scatter") return undefined;
  const written = new Set(body.map(({ to }) => to));
  const readsWritten = (expr: Expr): boolean => {
    let found = false;
    walk(expr, (x) => {
      if (x.kind === "load" && written.has(x.from)) found = true;
    });
    return found;
  };
  if (body.some((stmt) => stmt.kind === "scatter" && (readsWritten(stmt.when) || readsWritten(stmt.value))))
    return undefined;
  return first.axes.find(({ name }) =>
    body.every((stmt) => {
      if (stmt.kind !== "scatter") return false;
      const isAxis = (x: Expr): boolean => x.kind === "axis" && x.axis === name;
      const place = stmt.at.findIndex(isAxis);
      return place >= 0 && stmt.zeroedAt[place] !== undefined && isAxis(stmt.zeroedAt[place]);
    }),
  );
}

/** Iterations of a statement; arrays that a thread has for itself need a known size. */
function work(stmt: Stmt): number {
  const axes = [
    ...("axes" in stmt ? stmt.axes : []),
    ...("over" in stmt ? (Array.isArray(stmt.over) ? stmt.over : [stmt.over]) : []),
    ...("zeroed" in stmt ? stmt.zeroed : []),
  ];
  return knownSize(axes) ?? Infinity;
}

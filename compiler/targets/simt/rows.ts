import type { RowsKernel, SerialKernel, Stmt } from "../../kernel-ir/types.ts";
import { extentsOf, knownSize, sizeText } from "./axes.ts";
import type { Dialect, Part } from "./dialect.ts";
import { Frame } from "./frame.ts";
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

/** One workgroup does everything. */
export function printSerial(dialect: Dialect, kernel: SerialKernel, part?: Part): Frame {
  const frame = new Frame(dialect, kernel, kernel.locals, part);
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

/** Iterations of a statement; arrays that a thread has for itself need a known size. */
function work(stmt: Stmt): number {
  const axes = [
    ...("axes" in stmt ? stmt.axes : []),
    ...("over" in stmt ? (Array.isArray(stmt.over) ? stmt.over : [stmt.over]) : []),
    ...("zeroed" in stmt ? stmt.zeroed : []),
  ];
  return knownSize(axes) ?? Infinity;
}

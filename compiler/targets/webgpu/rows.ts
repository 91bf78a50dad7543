import type { RowsKernel, SerialKernel, Stmt } from "../../kernel-ir/types.ts";
import { extentsOf, knownSize, sizeText } from "./axes.ts";
import { type File, Frame } from "./frame.ts";
import { Statements } from "./statements.ts";
import { valueType } from "./wgsl.ts";

/** Rows with so little to do that each belongs to one thread. */
const SMALL = 16;
/** Threads of a workgroup that has one row. */
const THREADS = 64;

/** One workgroup per row, or one thread where rows are small. */
export function printRows(kernel: RowsKernel): File {
  const small = kernel.body.every((stmt) => work(stmt) <= SMALL);
  const frame = new Frame(kernel, kernel.locals);
  const statements = new Statements(frame, small ? 1 : THREADS);
  const { lines } = frame;
  if (!small) for (const { name, dtype, shape } of kernel.locals) if (shape.length > 0) frame.array(name, dtype, shape);
  const of = extentsOf(kernel.rows);
  frame.main("main", THREADS, () => {
    if (small) {
      lines.add(`let item = i32(group.y * groups.x + group.x) * ${THREADS} + lane;`);
      lines.block(`if (item >= ${sizeText(kernel.rows)})`, () => lines.add("return;"));
    } else frame.item("item");
    frame.unpack(kernel.rows, "item");
    for (const { name, dtype, shape } of kernel.locals) {
      if (shape.length === 0) lines.add(`var ${name}: ${valueType(dtype)};`);
      else if (small)
        lines.add(`var ${name}: array<${valueType(dtype)}, ${shape.reduce<number>((n, s) => n * Number(s), 1)}>;`);
    }
    for (const stmt of kernel.body) statements.print(stmt);
  });
  frame.entry("main", THREADS, small ? [{ of, by: THREADS }] : [{ of }]);
  return frame.file();
}

/** One workgroup does everything. */
export function printSerial(kernel: SerialKernel): File {
  const frame = new Frame(kernel, kernel.locals);
  const statements = new Statements(frame, 256);
  for (const { name, dtype, shape } of kernel.locals) if (shape.length > 0) frame.array(name, dtype, shape);
  frame.main("main", 256, () => {
    frame.item("item");
    for (const { name, dtype, shape } of kernel.locals)
      if (shape.length === 0) frame.lines.add(`var ${name}: ${valueType(dtype)};`);
    for (const stmt of kernel.body) statements.print(stmt);
  });
  frame.entry("main", 256, []);
  return frame.file();
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

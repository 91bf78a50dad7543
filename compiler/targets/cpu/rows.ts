import type { RowsKernel, SerialKernel } from "../../kernel-ir/types.ts";
import { Frame, product } from "./frame.ts";

/** One iteration of the outer loop per row. */
export function printRows(kernel: RowsKernel): string {
  const frame = new Frame(kernel, kernel.locals);
  const { body, statements } = frame;
  // Where a row is a single element, rows are what vectors run along.
  const plain =
    kernel.rows.length === 1 && kernel.body.every((stmt) => stmt.kind === "assign" && stmt.axes.length === 0);
  if (plain) body.add("#pragma omp simd");
  body.block("for (int64_t item = begin; item < end; item++)", () => {
    frame.unpack(kernel.rows, "item");
    frame.scalars(kernel.locals);
    for (const stmt of kernel.body) statements.print(stmt);
  });
  return frame.file(product(kernel.rows.map(({ extent }) => String(extent))));
}

/** One item does everything. */
export function printSerial(kernel: SerialKernel): string {
  const frame = new Frame(kernel, kernel.locals);
  frame.scalars(kernel.locals);
  for (const stmt of kernel.body) frame.statements.print(stmt);
  return frame.file("1");
}

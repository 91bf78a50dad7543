import { dtypeOf } from "../../kernel-ir/expr.ts";
import type { ColumnsKernel } from "../../kernel-ir/types.ts";
import { startOf } from "../scalars.ts";
import { extentsOf, sizeText } from "./axes.ts";
import { type File, Frame } from "./frame.ts";
import { Statements } from "./statements.ts";
import { folded, valueType, WGSL } from "./wgsl.ts";

/** Columns next to each other that a workgroup sums, and threads for each of them. */
const COLUMNS = 32;
const PARTS = 8;

export function printColumns(kernel: ColumnsKernel): File {
  return kernel.columns.length === 0 ? printTotals(kernel) : printBlocks(kernel);
}

/** All of it into one number. */
function printTotals(kernel: ColumnsKernel): File {
  const frame = new Frame(kernel);
  const statements = new Statements(frame, 256);
  frame.main("main", 256, () => {
    frame.item("item");
    for (const { reduction, value, to, at } of kernel.sums)
      statements.print({ kind: "reduce", reduction, axes: [], over: kernel.over, value, to, at });
  });
  frame.entry("main", 256, []);
  return frame.file();
}

/** Each thread sums every eighth row of a column; the parts of a column are added in order. */
function printBlocks(kernel: ColumnsKernel): File {
  const frame = new Frame(kernel);
  const { lines } = frame;
  const statements = new Statements(frame, COLUMNS * PARTS);
  frame.main("main", COLUMNS * PARTS, () => {
    frame.item("item");
    lines.add(`let column = item * ${COLUMNS} + lane % ${COLUMNS};`, `let part = lane / ${COLUMNS};`);
    lines.add(`let inside = column < ${sizeText(kernel.columns)};`);
    frame.unpack(kernel.columns, "column");
    for (const { reduction, value, to, at } of kernel.sums) {
      const dtype = dtypeOf(value);
      const type = valueType(dtype);
      const parts = frame.shared(`parts_${type}`, `array<${type}, ${COLUMNS * PARTS}>`);
      lines.block("", () => {
        lines.add(`var sum = ${startOf(WGSL, reduction, dtype)};`);
        lines.block("if (inside)", () =>
          lines.block(`for (var row = part; row < ${sizeText(kernel.over)}; row += ${PARTS})`, () => {
            frame.unpack(kernel.over, "row");
            lines.add(`sum = ${folded(reduction, type, "sum", statements.scalars(value).print(value))};`);
          }),
        );
        lines.add(`${parts}[lane] = sum;`, "workgroupBarrier();");
        lines.block("if (part == 0 && inside)", () => {
          lines.block(`for (var other = 1; other < ${PARTS}; other++)`, () =>
            lines.add(`sum = ${folded(reduction, type, "sum", `${parts}[lane + other * ${COLUMNS}]`)};`),
          );
          statements.write(to, at, statements.scalars(...at), "sum");
        });
        lines.add("workgroupBarrier();");
      });
    }
  });
  frame.entry("main", COLUMNS * PARTS, [{ of: extentsOf(kernel.columns), by: COLUMNS }]);
  return frame.file();
}

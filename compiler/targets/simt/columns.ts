import { dtypeOf } from "../../kernel-ir/expr.ts";
import type { ColumnsKernel } from "../../kernel-ir/types.ts";
import { startOf } from "../scalars.ts";
import { extentsOf, sizeText } from "./axes.ts";
import type { Dialect, Part } from "./dialect.ts";
import { Frame } from "./frame.ts";
import { Statements } from "./statements.ts";

/** Columns next to each other that a workgroup sums, and threads for each of them. */
const COLUMNS = 32;
const PARTS = 8;

export function printColumns(dialect: Dialect, kernel: ColumnsKernel, part?: Part): Frame {
  const frame = new Frame(dialect, kernel, [], part);
  if (kernel.columns.length === 0) printTotals(frame, kernel);
  else printBlocks(frame, kernel);
  return frame;
}

/** All of it into one number. */
function printTotals(frame: Frame, kernel: ColumnsKernel): void {
  const threads = frame.dialect.threads.serial;
  const statements = new Statements(frame, threads);
  frame.main("main", threads, () => {
    frame.item("item");
    for (const { reduction, value, to, at } of kernel.sums)
      statements.print({ kind: "reduce", reduction, axes: [], over: kernel.over, value, to, at });
  });
  frame.entry("main", threads, []);
}

/** Each thread sums every eighth row of a column; the parts of a column are added in order. */
function printBlocks(frame: Frame, kernel: ColumnsKernel): void {
  const { dialect, language } = frame;
  const statements = new Statements(frame, COLUMNS * PARTS);
  frame.main("main", COLUMNS * PARTS, () => {
    const { lines } = frame;
    frame.item("item");
    frame.index("column", `item * ${COLUMNS} + lane % ${COLUMNS}`);
    frame.index("part", `lane / ${COLUMNS}`);
    lines.add(language.named("inside", "bool", `column < ${sizeText(kernel.columns)}`));
    frame.unpack(kernel.columns, "column");
    for (const { reduction, value, to, at } of kernel.sums) {
      const dtype = dialect.wide(dtypeOf(value));
      const parts = frame.shared(`parts_${dialect.type(dtype)}`, dtype, COLUMNS * PARTS);
      lines.block("", () => {
        lines.add(dialect.variable("sum", dtype, startOf(language, reduction, dtype)));
        lines.block("if (inside)", () =>
          lines.block(dialect.loop("row", "part", sizeText(kernel.over), String(PARTS)), () => {
            frame.unpack(kernel.over, "row");
            const term = statements.scalars(value).print(value);
            lines.add(`sum = ${dialect.fold(reduction, dtype, "sum", term)};`);
          }),
        );
        lines.add(`${parts}[lane] = sum;`, ...dialect.barrier("shared"));
        lines.block("if (part == 0 && inside)", () => {
          lines.block(dialect.loop("other", "1", String(PARTS)), () =>
            lines.add(`sum = ${dialect.fold(reduction, dtype, "sum", `${parts}[lane + other * ${COLUMNS}]`)};`),
          );
          statements.write(to, at, statements.scalars(...at), "sum");
        });
        lines.add(...dialect.barrier("shared"));
      });
    }
  });
  frame.entry("main", COLUMNS * PARTS, [{ of: extentsOf(kernel.columns), by: COLUMNS }]);
}

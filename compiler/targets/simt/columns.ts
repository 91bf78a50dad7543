import { dtypeOf } from "../../kernel-ir/expr.ts";
import type { ColumnsKernel } from "../../kernel-ir/types.ts";
import { startOf } from "../scalars.ts";
import { extentsOf, knownSize, sizeText } from "./axes.ts";
import type { Dialect, Part } from "./dialect.ts";
import { Frame } from "./frame.ts";
import { Statements } from "./statements.ts";

/** Columns next to each other that a workgroup sums, and threads for each of them. */
const COLUMNS = 32;
const PARTS = 8;
/** Terms up to which one workgroup sums them. */
const FEW_TERMS = 2 ** 16;
/** Terms of a thread where several workgroups sum. */
const TERMS = 8;

export function printColumns(dialect: Dialect, kernel: ColumnsKernel, part?: Part): Frame {
  const frame = new Frame(dialect, kernel, [], part);
  if (kernel.columns.length === 0) printTotals(frame, kernel);
  else printBlocks(frame, kernel);
  return frame;
}

/** All of it into one number: by one workgroup, or by several where there are many terms and the target wants it. */
function printTotals(frame: Frame, kernel: ColumnsKernel): void {
  const { serial, spread } = frame.dialect.threads;
  const known = knownSize(kernel.over);
  const mayBeMany = spread !== undefined && (known === undefined || known > FEW_TERMS);
  if (known === undefined || !mayBeMany || known <= FEW_TERMS) {
    const statements = new Statements(frame, serial);
    frame.main("main", serial, () => {
      frame.item("item");
      for (const { reduction, value, to, at } of kernel.sums)
        statements.print({ kind: "reduce", reduction, axes: [], over: kernel.over, value, to, at });
    });
    const upTo = { product: extentsOf(kernel.over), most: FEW_TERMS };
    frame.entry("main", serial, [], mayBeMany ? { upTo } : {});
  }
  if (mayBeMany) printSpreadTotals(frame, kernel, spread);
}

/** Workgroups take turns with blocks of terms; what each found is added in their order by the entry point that runs after. */
function printSpreadTotals(frame: Frame, kernel: ColumnsKernel, most: number): void {
  const { dialect, language, names } = frame;
  const threads = dialect.threads.serial;
  const statements = new Statements(frame, threads);
  const sums = kernel.sums.map((sum, i) => {
    const dtype = dialect.wide(dtypeOf(sum.value)) as "f32" | "f64" | "i32";
    const parts = names.local(`parts${i}`);
    frame.shareScratch(parts, dtype, [most]);
    return { ...sum, dtype, parts };
  });
  const reduced = (
    sum: (typeof sums)[number],
    each: (take: (term: string) => void) => void,
    to: (all: string) => void,
  ): void =>
    frame.lines.block("", () => {
      const { reduction, dtype } = sum;
      frame.lines.add(dialect.variable("sum", dtype, startOf(language, reduction, dtype)));
      each((term) => frame.lines.add(`sum = ${dialect.fold(reduction, dtype, "sum", term)};`));
      frame.lines.add(language.named("all", dtype, statements.together(reduction, dtype, "sum")));
      frame.lines.block("if (lane == 0)", () => to("all"));
    });
  frame.main("parts", threads, () => {
    const { lines } = frame;
    for (const sum of sums)
      reduced(
        sum,
        (take) => {
          const [from, step] = [dialect.group, dialect.groups].map((number) => `${number} * ${threads}`);
          const size = sizeText(kernel.over);
          lines.block(dialect.longLoop("i", `${from} + lane`, size, step!), () => {
            frame.unpack(kernel.over, "i");
            take(statements.scalars(sum.value).print(sum.value));
          });
        },
        (all) => lines.add(dialect.store(names.store(sum.parts), dialect.group, all)),
      );
  });
  frame.main("fold", threads, () => {
    frame.index("count", `min(${dialect.given("items_before")}, ${most})`);
    for (const sum of sums)
      reduced(
        sum,
        (take) =>
          frame.lines.block(dialect.loop("i", "lane", "count", String(threads)), () =>
            take(language.load(names.store(sum.parts), "i")),
          ),
        (all) => statements.write(sum.to, sum.at, statements.scalars(...sum.at), all),
      );
  });
  const workgroups = [{ of: extentsOf(kernel.over), by: threads * TERMS }];
  frame.entry("fold", threads, [], { before: { name: "parts", workgroupSize: threads, workgroups, most } });
}

/** Rows up to which one workgroup sums a block of columns; workgroups that a launch should have beyond it, and most for a block. */
const FEW_ROWS = 256;
const ENOUGH = 1024;
const MOST_SHARES = 64;

/** A workgroup has a block of columns and all of their rows, or where there are many rows and the target wants it, a share of them. */
function printBlocks(frame: Frame, kernel: ColumnsKernel): void {
  const threads = COLUMNS * PARTS;
  const statements = new Statements(frame, threads);
  const workgroups = { of: extentsOf(kernel.columns), by: COLUMNS };
  const rows = knownSize(kernel.over) ?? Infinity;
  const mayBeMany = frame.dialect.threads.spread !== undefined && rows > FEW_ROWS;
  const isKnown = rows < Infinity;
  if (!mayBeMany || !isKnown) {
    frame.main("main", threads, () => {
      frame.item("item");
      printShare(frame, kernel, statements, "item", ["part", String(PARTS)], ({ to, at }) =>
        statements.write(to, at, statements.scalars(...at), "sum"),
      );
    });
    const upTo = { product: extentsOf(kernel.over), most: FEW_ROWS };
    frame.entry("main", threads, [workgroups], mayBeMany ? { upTo } : {});
  }
  if (mayBeMany) printSharedBlocks(frame, kernel, statements);
}

/** Each thread sums every eighth row of a column (of a workgroup's share); the parts of a column are added in order. */
function printShare(
  frame: Frame,
  kernel: ColumnsKernel,
  statements: Statements,
  block: string,
  [first, step]: readonly [string, string],
  deliver: (sum: ColumnsKernel["sums"][number], i: number) => void,
): void {
  const { dialect, language, lines } = frame;
  frame.index("column", `${block} * ${COLUMNS} + lane % ${COLUMNS}`);
  frame.index("part", `lane / ${COLUMNS}`);
  lines.add(language.named("inside", "bool", `column < ${sizeText(kernel.columns)}`));
  frame.unpack(kernel.columns, "column");
  const isLong =
    (knownSize(kernel.over) ?? 0) >= 2 ** 31 ||
    kernel.over.filter(({ extent }) => typeof extent === "string").length > 1;
  const loop = isLong ? dialect.longLoop : dialect.loop;
  for (const [i, sum] of kernel.sums.entries()) {
    const { reduction, value } = sum;
    const dtype = dialect.wide(dtypeOf(value));
    const parts = frame.shared(`parts_${dialect.type(dtype)}`, dtype, COLUMNS * PARTS);
    lines.block("", () => {
      lines.add(dialect.variable("sum", dtype, startOf(language, reduction, dtype)));
      lines.block("if (inside)", () =>
        lines.block(loop("row", first, sizeText(kernel.over), step), () => {
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
        deliver(sum, i);
      });
      lines.add(...dialect.barrier("shared"));
    });
  }
}

/** Shares take turns with rows; what each found is added in their order by the entry point that runs after. */
function printSharedBlocks(frame: Frame, kernel: ColumnsKernel, statements: Statements): void {
  const { dialect, language, names } = frame;
  const threads = COLUMNS * PARTS;
  const size = sizeText(kernel.columns);
  const wide = kernel.columns.length === 1 ? size : `(${size})`;
  const blocks = Math.ceil((knownSize(kernel.columns) ?? 1024) / COLUMNS);
  const shares = Math.min(MOST_SHARES, 2 ** Math.ceil(Math.log2(Math.max(2, ENOUGH / blocks))));
  const found = kernel.sums.map(({ value }, i) => {
    const name = names.local(`shares${i}`);
    frame.shareScratch(name, dialect.wide(dtypeOf(value)) as "f32" | "f64" | "i32", [
      shares,
      ...extentsOf(kernel.columns),
    ]);
    return name;
  });
  frame.main("shares", threads, () => {
    frame.index("share", `${dialect.group} % ${shares}`);
    const rows = [`share * ${PARTS} + part`, String(shares * PARTS)] as const;
    printShare(frame, kernel, statements, `(${dialect.group} / ${shares})`, rows, (_, i) =>
      frame.lines.add(dialect.store(names.store(found[i]!), `share * ${wide} + column`, "sum")),
    );
  });
  frame.main("fold", threads, () => {
    const { lines } = frame;
    frame.index("column", `${dialect.group} * ${threads} + lane`);
    lines.block(`if (column < ${size})`, () => {
      frame.unpack(kernel.columns, "column");
      for (const [i, { reduction, value, to, at }] of kernel.sums.entries()) {
        const dtype = dialect.wide(dtypeOf(value));
        lines.block("", () => {
          lines.add(dialect.variable("sum", dtype, startOf(language, reduction, dtype)));
          lines.block(dialect.loop("share", "0", String(shares)), () => {
            const term = language.load(names.store(found[i]!), `share * ${wide} + column`);
            lines.add(`sum = ${dialect.fold(reduction, dtype, "sum", term)};`);
          });
          statements.write(to, at, statements.scalars(...at), "sum");
        });
      }
    });
  });
  const of = extentsOf(kernel.columns);
  const before = { name: "shares", workgroupSize: threads, workgroups: [{ of, by: COLUMNS }, { of: [shares] }] };
  frame.entry("fold", threads, [{ of, by: threads }], { before });
}

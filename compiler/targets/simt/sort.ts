/** Rows or terms of groups (experts) in their order: what tiles of them are found by. */
import type { Axis } from "../../kernel-ir/types.ts";
import { extentsOf, sizeText } from "./axes.ts";
import type { Frame } from "./frame.ts";

/** Threads that sort rows by their groups: one workgroup. */
export const SORTERS = 128;

/** An element of an array of the frame. */
export function loadFrom({ language, names }: Frame, array: string, at: string): string {
  return language.load(names.store(array), at);
}

/**
 * Entry point `sort`: `order` has the rows (or terms) of all groups one group after the other, those of none at the end;
 * `starts` says where each begins. The frame has `group_of`.
 * @param axes of the rows, or terms
 * @param own how many groups there are
 */
export function printSort(frame: Frame, axes: readonly Axis[], own: number): void {
  const load = (array: string, at: string): string => loadFrom(frame, array, at);
  const store = (array: string, at: string, value: string): string =>
    frame.dialect.store(frame.names.store(array), at, value);
  frame.shareScratch("order", "i32", extentsOf(axes));
  frame.shareScratch("starts", "i32", [own + 2]);
  frame.shareScratch("counts", "i32", [own + 1, SORTERS]);
  frame.shared("part_sums", "i32", SORTERS);
  const dialect = frame.dialect;
  frame.func(
    "sorted_group",
    [["i", "index"]],
    "i32",
    () => {
      frame.index("own", "group_of(i)");
      frame.lines.add(`return ${dialect.select(`(own < 0) | (own > ${own})`, String(own), "own")};`);
    },
    false,
  );
  frame.main("sort", SORTERS, () => {
    const { lines } = frame;
    const [n, buckets] = [sizeText(axes), own + 1];
    lines.add("// Each thread counts a run of rows of its own.");
    frame.index("each", `(${n} + ${SORTERS - 1}) / ${SORTERS}`);
    frame.index("begin", "lane * each");
    frame.index("end", `min(begin + each, ${n})`);
    lines.block(dialect.loop("e", "0", String(buckets)), () =>
      lines.add(store("counts", `e * ${SORTERS} + lane`, "0")),
    );
    lines.block(dialect.loop("i", "begin", "end"), () => {
      frame.index("at", `sorted_group(i) * ${SORTERS} + lane`);
      lines.add(store("counts", "at", `${load("counts", "at")} + 1`));
    });
    lines.add(
      ...dialect.barrier("stored"),
      `// Where each group begins, and in it each thread's rows: a running sum over ${buckets} x ${SORTERS} counts.`,
      dialect.variable("sum", "i32", "0"),
    );
    lines.block(dialect.loop("c", "0", String(buckets)), () =>
      lines.add(`sum += ${load("counts", `lane * ${buckets} + c`)};`),
    );
    lines.add("part_sums[lane] = sum;", ...dialect.barrier("shared"), dialect.variable("at", "i32", "0"));
    lines.block(dialect.loop("other", "0", "lane"), () => lines.add("at += part_sums[other];"));
    lines.block(dialect.loop("c", `lane * ${buckets}`, `(lane + 1) * ${buckets}`), () => {
      frame.index("here", load("counts", "c"));
      lines.add(store("counts", "c", "at"));
      lines.block(`if (c % ${SORTERS} == 0)`, () => lines.add(store("starts", `c / ${SORTERS}`, "at")));
      lines.add("at += here;");
    });
    lines.block("if (lane == 0)", () => lines.add(store("starts", String(buckets), n)));
    lines.add(...dialect.barrier("stored"));
    lines.block(dialect.loop("i", "begin", "end"), () => {
      frame.index("next", `sorted_group(i) * ${SORTERS} + lane`);
      frame.index("place", load("counts", "next"));
      lines.add(store("order", "place", "i"), store("counts", "next", "place + 1"));
    });
  });
}

/** `tiles_of(expert)`: how many tiles of so many rows a group has. */
export function printTilesOf(frame: Frame, tile: number): void {
  const load = (at: string): string => loadFrom(frame, "starts", at);
  frame.func(
    "tiles_of",
    [["expert", "index"]],
    "i32",
    () => {
      const rows = `(${load("expert + 1")} - ${load("expert")} + ${tile - 1})`;
      frame.lines.add(`return ${rows} / ${tile};`);
    },
    false,
  );
}

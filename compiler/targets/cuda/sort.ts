/** Rows (or terms, or tiles of them) in the order of their groups, those of each in their own: a block for each group. */
import type { Lines } from "../../emit/lines.ts";

/** Threads of a block that sorts: each block finds the rows of one group, each warp those of a part of all rows. */
export const SORTERS = 1024;

export interface Sorting {
  /** How many rows there are, in the language. */
  readonly size: string;
  readonly groups: number;
  /** Arrays of the sorted rows' numbers, those of no group last, and of where groups begin, and the end. */
  readonly order: string;
  readonly starts: string;
  /** The number of a thread in its block, which is known, and what that in its warp is called. */
  readonly thread: string;
  readonly lane: string;
}

/**
 * The body of the entry point that sorts, with a block more than there are groups: block g counts rows of groups before g, then writes down its own in
 * their order.
 * @param groupOf prints what the group of row `i` needs, and returns it
 */
export function printSortOfGroups(
  lines: Lines,
  { size, groups, order, starts, thread, lane }: Sorting,
  groupOf: () => string,
): void {
  const warps = SORTERS / 32;
  lines.add(`__shared__ int counts[${warps}];`);
  lines.add(`const int own = blockIdx.x, warp = ${thread} / 32, ${lane} = ${thread} % 32;`);
  lines.add(`const int sorted_end = ${size};`);
  lines.add(`// The group of a row; ${groups} for none.`);
  lines.block(
    "const auto group_of = [&](int i)",
    () => {
      lines.add(`const int group = ${groupOf()};`);
      lines.add(`return group < 0 || group >= ${groups} ? ${groups} : group;`);
    },
    "};",
  );
  lines.add("// Each warp looks at a part of the rows, many at a time.");
  lines.add(
    `const int length = (sorted_end + ${SORTERS - 1}) / ${SORTERS} * 32;`,
    "const int first = warp * length, end = min(first + length, sorted_end);",
    "int before = 0, all = 0;",
    "#pragma unroll 8",
  );
  lines.block(`for (int i = first + ${lane}; i < end; i += 32)`, () => {
    lines.add("const int group = group_of(i);", "before += group < own;", "all += group == own;");
  });
  lines.add(`int at = over_block<Sum, ${SORTERS}>(before);`);
  lines.add(`if (${thread} == 0) ${starts}[own] = at;`);
  lines.add(`if (${thread} == 0 && own == ${groups}) ${starts}[own + 1] = sorted_end;`);
  lines.add("all = over_lanes<Sum, 32>(all);", `if (${lane} == 0) counts[warp] = all;`, "__syncthreads();");
  lines.add(`for (int i = 0; i < ${warps}; i++) at += i < warp ? counts[i] : 0;`);
  lines.add("#pragma unroll 8");
  lines.block("for (int line = first; line < end; line += 32)", () => {
    lines.add(`const bool mine = line + ${lane} < end && group_of(line + ${lane}) == own;`);
    lines.add("const unsigned found = __ballot_sync(0xffffffffu, mine);");
    lines.add(
      `if (mine) ${order}[at + __popc(found & ((1u << ${lane}) - 1))] = line + ${lane};`,
      "at += __popc(found);",
    );
  });
}

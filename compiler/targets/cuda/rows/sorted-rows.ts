/** Rows that are sorted by their groups before tiles of them are looked up. */
import type { Grid } from "../../../../runtime/program/grids.ts";
import { extentsOf, sizeText } from "../../simt/axes.ts";
import type { Frame } from "../../simt/frame.ts";
import type { Rows } from "../../simt/sorted-tiles.ts";
import { Statements } from "../../simt/statements.ts";
import { printSortOfGroups, SORTERS } from "../sort.ts";

/** A block for each group, and one for rows of none. */
export function printSortedRows(frame: Frame, { over, groups, value }: Rows): Grid {
  frame.shareScratch("order", "i32", extentsOf(over));
  frame.shareScratch("starts", "i32", [groups + 2]);
  frame.main("sort", SORTERS, () => {
    const sorting = {
      size: sizeText(over),
      groups,
      order: "order",
      starts: "starts",
      thread: "lane",
      lane: "own_lane",
    };
    printSortOfGroups(frame.lines, sorting, () => {
      frame.unpack(over, "i");
      return new Statements(frame, 1).scalars(value).print(value);
    });
  });
  return { name: "sort", workgroupSize: SORTERS, workgroups: [{ of: [], plus: groups }] };
}

/** Rows in the order of their groups, in tiles that have rows of one group: they are sorted, then workgroups look up a tile each. */
import type { Grid } from "../../../runtime/program/grids.ts";
import type { SerialKernel, Stmt } from "../../kernel-ir/types.ts";
import { extentsOf } from "./axes.ts";
import type { Dialect } from "./dialect.ts";
import { Frame } from "./frame.ts";
import { loadFrom, printSort, printTilesOf, SORTERS } from "./sort.ts";
import { Statements } from "./statements.ts";

/** Threads of a workgroup that has a tile. */
const THREADS = 128;

/** What is sorted: the group of each of the rows, -1 for none. */
export type Rows = Pick<Sort, "over" | "groups" | "value">;

export type Sort = Stmt & { readonly kind: "sort" };

export function printSortedTiles(
  dialect: Dialect,
  kernel: SerialKernel,
  { axes, over, groups, value, to, at }: Sort,
): Frame {
  const frame = new Frame(dialect, kernel);
  const { names } = frame;
  const [tiles, place] = axes;
  const size = Number(place.extent);
  const sort = dialect.sort ?? printSortAlone;
  const before = sort(frame, { over, groups, value });
  printTilesOf(frame, size);
  frame.main("main", THREADS, () => {
    const { lines } = frame;
    frame.item("item");
    frame.index(names.axis(tiles.name), "item");
    lines.add("// The group that the tile is of, and which one of that it is.");
    lines.add(dialect.variable("expert", "i32", "0"), dialect.variable("tile", "i32", "item"));
    lines.block(`while (expert < ${groups} && tile >= tiles_of(expert))`, () =>
      lines.add("tile -= tiles_of(expert);", "expert++;"),
    );
    frame.index("first", `${loadFrom(frame, "starts", "expert")} + tile * ${size}`);
    frame.index("end", dialect.select(`expert < ${groups}`, loadFrom(frame, "starts", "expert + 1"), "0"));
    const own = names.axis(place.name);
    lines.block(dialect.loop(own, "lane", String(size), String(THREADS)), () => {
      const row = dialect.select(`first + ${own} < end`, loadFrom(frame, "order", `first + ${own}`), "-1");
      const statements = new Statements(frame, 1);
      statements.write(to, at, statements.scalars(...at), row);
    });
  });
  frame.entry("main", THREADS, [{ of: extentsOf([tiles]) }], { before });
  return frame;
}

/** One workgroup sorts. */
function printSortAlone(frame: Frame, { over, groups, value }: Rows): Grid {
  frame.func("group_of", [["row", "index"]], "i32", () => {
    frame.unpack(over, "row");
    frame.lines.add(`return ${new Statements(frame, 1).scalars(value).print(value)};`);
  });
  printSort(frame, over, groups);
  return { name: "sort", workgroupSize: SORTERS, workgroups: [] };
}

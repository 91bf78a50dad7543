/** Lists of one launch: which rows their tables have, and how blocks are shared out among them. */
import { expect, test } from "vitest";
import { type List, tableLaunches } from "../../../../runtime/device/cuda/tables.ts";
import type { ListsEntry } from "../../../../runtime/program/grids.ts";

const UPDATE: ListsEntry = {
  entry: { name: "lists_main", workgroupSize: 256, workgroups: [{ of: ["elements"], by: 1024 }] },
  most: 4,
  args: ["x", "sum"],
};
const SUM: ListsEntry = {
  ...UPDATE,
  entry: {
    name: "lists_fold",
    workgroupSize: 256,
    workgroups: [],
    before: { name: "lists_parts", workgroupSize: 256, workgroups: [{ of: ["elements"], by: 1024 }] },
  },
};

/** With elements of 4 bytes at an offset, and one value beside them. */
function list(elements: number, offset: number): List {
  return {
    elements,
    places: [
      { space: 1, offset, stride: 4 },
      { space: 0, offset: offset + 1, stride: 0 },
    ],
  };
}

function tables(entry: ListsEntry, lists: readonly List[]): [string, number, ...(readonly number[])][][] {
  return tableLaunches(entry, lists).map(({ runs }) =>
    runs.map(({ grid, blocks, table }) => [grid.name, blocks, ...table]),
  );
}

test("lists begin where those before them end", () => {
  const lists = [list(1, 100), list(4097, 200), list(1024, 300)];
  const rows = [0, 1, 1, 100, 0, 101, 1, 4097, 1, 200, 0, 201, 6, 1024, 1, 300, 0, 301];
  expect(tables(UPDATE, lists)).toEqual([[["lists_main", 7, 3, 7, ...rows]]]);
  // What adds parts up has a block for each list.
  expect(tables(SUM, lists)).toEqual([
    [
      ["lists_parts", 7, 3, 7, ...rows],
      ["lists_fold", 3, 3, 7, ...rows],
    ],
  ]);
});

test("more lists than a table has room for are several launches", () => {
  const launches = tableLaunches(
    UPDATE,
    Array.from({ length: 9 }, (_, i) => list(10, 64 * i)),
  );
  expect(launches.map(({ runs: [run] }) => run!.table[0])).toEqual([4, 4, 1]);
  expect(launches.map(({ work }) => work.items)).toEqual([
    [4, 0],
    [4, 0],
    [1, 0],
  ]);
});

test("a list of more elements than a kernel counts is several rows of one table, which make one value", () => {
  const most = 2 ** 30;
  const [blocks] = [most / 1024];
  const small = [0, 100, 1, 0, 0, 1];
  const row = (i: number, elements: number): number[] => [i * blocks, elements, 1, 8 + 4 * i * most, 0, 9];
  expect(tables(SUM, [list(100, 0), list(2 * most + 5, 8)])).toEqual([
    [
      [
        "lists_parts",
        2 + 2 * blocks,
        4,
        2 + 2 * blocks,
        ...small,
        ...shifted(row(0, most)),
        ...shifted(row(1, most)),
        ...shifted(row(2, 5)),
      ],
      ["lists_fold", 2, 2, 2 + 2 * blocks, ...small, ...shifted(row(0, most))],
    ],
  ]);
});

/** Behind one block. */
function shifted([first, ...rest]: readonly number[]): number[] {
  return [first! + 1, ...rest];
}

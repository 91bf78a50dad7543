/** Tables of lists that one launch goes over (`ListsEntry`). */
import { type Grid, itemsOf, type ListsEntry, type Work } from "../../program/grids.ts";

/** Elements of a row of a table; a kernel may count a block of them further. */
export const MOST_ELEMENTS = 2 ** 30;
/** Blocks of a launch. */
const MOST_BLOCKS = 2 ** 31 - 1;

/** Where an argument lies, in the memory with a number. */
export interface ArgPlace {
  readonly space: number;
  /** In bytes. */
  readonly offset: number;
  /** From one element to the next one; 0 of a single value. */
  readonly stride: number;
}

export interface List {
  readonly elements: number;
  /** Of the arguments that it has for itself. */
  readonly places: readonly ArgPlace[];
}

/** A launch of an entry point, and the numbers of its table as the addon takes them. */
interface TableRun {
  readonly grid: Grid;
  readonly blocks: number;
  readonly table: readonly number[];
}

/** An entry point for some of the lists, and the one before it. */
export interface TableLaunch {
  readonly work: Work;
  readonly runs: readonly TableRun[];
}

interface Row extends List {
  /** Of the blocks of all rows. */
  readonly first: number;
}

/** The lists, as many of them in a launch as a table has room for; those of too many elements are several rows of one table. */
export function tableLaunches({ entry, most }: ListsEntry, lists: readonly List[]): TableLaunch[] {
  const launches: TableLaunch[] = [];
  let rows: Row[][] = [];
  let [count, blocks] = [0, 0];
  const finish = (): void => {
    if (blocks > 0) launches.push(launchOf(entry, rows, blocks));
    rows = [];
    [count, blocks] = [0, 0];
  };
  for (const list of lists) {
    const pieces = piecesOf(list);
    const own = pieces.map(({ elements }) => itemsOf(entry.before ?? entry, { elements }));
    const all = own.reduce((a, b) => a + b, 0);
    if (count + pieces.length > most || blocks + all > MOST_BLOCKS) finish();
    rows.push(pieces.map((piece, i) => ({ ...piece, first: (blocks += own[i]!) - own[i]! })));
    count += pieces.length;
  }
  finish();
  return launches;
}

function piecesOf({ elements, places }: List): List[] {
  return Array.from({ length: Math.max(1, Math.ceil(elements / MOST_ELEMENTS)) }, (_, i) => {
    const begin = i * MOST_ELEMENTS;
    return {
      elements: Math.min(MOST_ELEMENTS, elements - begin),
      places: places.map((place) => ({ ...place, offset: place.offset + begin * place.stride })),
    };
  });
}

function launchOf(
  { before, ...grid }: ListsEntry["entry"],
  rows: readonly (readonly Row[])[],
  blocks: number,
): TableLaunch {
  const tableOf = (all: readonly Row[]): number[] => [
    all.length,
    blocks,
    ...all.flatMap(({ first, elements, places }) => [
      first,
      elements,
      ...places.flatMap(({ space, offset }) => [space, offset]),
    ]),
  ];
  const each = { blocks, table: tableOf(rows.flat()) };
  // What runs after has a block for each list, and finds in its table which blocks ran before.
  const runs =
    before === undefined
      ? [{ grid, ...each }]
      : [
          { grid: before, ...each },
          { grid, blocks: rows.length, table: tableOf(rows.map(([first]) => first!)) },
        ];
  const items = before === undefined ? [blocks, 0] : [rows.length, blocks];
  return {
    work: { items, runs: [{ grids: runs.map((run) => ({ ...run, groups: run.blocks })), groups: blocks, parts: [0] }] },
    runs,
  };
}

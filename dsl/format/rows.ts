/** A line of output in columns. */
export interface Row {
  readonly indent: number;
  /** Text by column. The last one may hold line breaks. */
  readonly cells: readonly string[];
  /** Rows next to each other with an equal key in a column are aligned behind it. */
  readonly keys: readonly (string | undefined)[];
  readonly comment?: string;
  readonly blankBefore: boolean;
}

export function line(indent: number, text: string, blankBefore = false, comment?: string): Row {
  return { indent, cells: [text], keys: [], blankBefore, ...(comment === undefined ? {} : { comment }) };
}

/** The text of rows, with columns and trailing comments aligned. */
export function layOut(rows: readonly Row[]): string {
  const columns = largest(rows, (row) => row.cells.length - 1);
  const cells = rows.map((r) => [...r.cells]);
  for (let column = 0; column < columns; column++) {
    for (const run of runs(
      rows,
      (row) => alignable(row) && row.keys[column] !== undefined && column < row.cells.length - 1,
      (a, b) => a.keys[column] === b.keys[column],
    )) {
      const width = largest(run, (i) => cells[i]![column]!.length);
      for (const i of run) cells[i]![column] = cells[i]![column]!.padEnd(width);
    }
  }
  const texts = rows.map((row, i) => `${" ".repeat(row.indent)}${cells[i]!.join(" ")}`.trimEnd());
  const lastLine = (i: number): number => texts[i]!.length - (texts[i]!.lastIndexOf("\n") + 1);
  for (const run of runs(
    rows,
    (row) => row.comment !== undefined,
    () => true,
  )) {
    const width = largest(run, lastLine);
    for (const i of run) texts[i] += `${" ".repeat(width - lastLine(i) + 2)}${rows[i]!.comment!}`;
  }
  return texts.map((text, i) => (rows[i]!.blankBefore && i > 0 ? `\n${text}` : text)).join("\n");
}

/** `Math.max` takes no more arguments than the stack holds. */
export function largest<T>(items: readonly T[], sizeOf: (item: T) => number): number {
  return items.reduce((most, item) => Math.max(most, sizeOf(item)), 0);
}

function alignable(row: Row): boolean {
  return !row.cells.some((cell) => cell.includes("\n"));
}

/** Maximal runs of neighbors that take part and belong together; an empty line ends a run. */
function runs(
  rows: readonly Row[],
  takesPart: (row: Row) => boolean,
  together: (a: Row, b: Row) => boolean,
): number[][] {
  const found: number[][] = [];
  let before: Row | undefined;
  for (const [i, row] of rows.entries()) {
    if (!takesPart(row)) {
      before = undefined;
      continue;
    }
    if (before !== undefined && !row.blankBefore && before.indent === row.indent && together(before, row))
      found.at(-1)!.push(i);
    else found.push([i]);
    before = row;
  }
  return found;
}

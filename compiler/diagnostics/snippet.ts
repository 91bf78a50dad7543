/** The framed piece of one source file with its labels: marks on one line, bars beside spans of several lines. */
import { showLine } from "./text-line.ts";
import { lineText, positionAt, type SourceFile, type Span } from "./source.ts";

export interface SnippetLabel {
  readonly span: Span;
  readonly text: string;
  readonly primary: boolean;
}

export interface Paint {
  readonly frame: (text: string) => string;
  readonly primary: (text: string) => string;
  readonly secondary: (text: string) => string;
}

/** A label on one line; offsets are in that line. */
interface Mark {
  readonly line: number;
  readonly from: number;
  readonly to: number;
  readonly label: SnippetLabel;
}

/** A label over several lines; each has its own column beside the text. */
interface Bar {
  readonly first: number;
  readonly last: number;
  readonly from: number;
  readonly to: number;
  readonly label: SnippetLabel;
}

/** A row under construction: characters by column, each painted as its label. */
class Row {
  readonly #cells: { text: string; label?: SnippetLabel }[] = [];

  put(column: number, text: string, label: SnippetLabel): void {
    while (this.#cells.length < column) this.#cells.push({ text: " " });
    // A text of any width may stand last only, so it takes one cell.
    this.#cells[column] = { text, label };
  }

  fill(from: number, to: number, character: string, label: SnippetLabel): void {
    for (let column = from; column < to; column++) this.put(column, character, label);
  }

  get length(): number {
    return this.#cells.length;
  }

  toString(paint: Paint): string {
    let out = "";
    for (let i = 0; i < this.#cells.length;) {
      const { label } = this.#cells[i]!;
      let run = "";
      for (; i < this.#cells.length && this.#cells[i]!.label === label; i++) run += this.#cells[i]!.text;
      out += label === undefined ? run : paintOf(label, paint)(run);
    }
    return out;
  }
}

function paintOf(label: SnippetLabel, paint: Paint): (text: string) => string {
  return label.primary ? paint.primary : paint.secondary;
}

function split(labels: readonly SnippetLabel[]): { marks: Mark[]; bars: Bar[] } {
  const marks: Mark[] = [];
  const bars: Bar[] = [];
  for (const label of labels) {
    const { file, start, end } = label.span;
    const at = positionAt(file, start);
    // A span that ends with a line break ends on the line before it.
    const to = positionAt(file, end > start && file.text[end - 1] === "\n" ? end - 1 : end);
    const range = { from: at.column - 1, to: to.column - 1, label };
    if (at.line === to.line) marks.push({ line: at.line, ...range });
    else bars.push({ first: at.line, last: to.line, ...range });
  }
  return { marks, bars: bars.toSorted((a, b) => a.first - b.first || b.last - a.last) };
}

/** The lines to show, with single-line gaps closed; 0 stands for a longer gap. */
function linesOf(marks: readonly Mark[], bars: readonly Bar[]): number[] {
  const wanted = [...new Set([...marks.map((m) => m.line), ...bars.flatMap((b) => [b.first, b.last])])];
  const lines: number[] = [];
  for (const line of wanted.toSorted((a, b) => a - b)) {
    const before = lines.at(-1) ?? line - 1;
    if (line === before + 2) lines.push(line - 1);
    else if (line > before + 2) lines.push(0);
    lines.push(line);
  }
  return lines;
}

/** The rows below a source line: one of underlines with the last label's text, then one for each other text. */
function markRows(marks: readonly Mark[], columnOf: (offset: number) => number): Row[] {
  const placed = marks.map(({ from, to, label }) => {
    const a = columnOf(from);
    return { a, b: Math.max(a + 1, columnOf(to)), label };
  });
  const underline = new Row();
  for (const { a, b, label } of placed.toSorted((x, y) => Number(x.label.primary) - Number(y.label.primary))) {
    underline.fill(a, b, label.primary ? "^" : "-", label);
  }
  const byEnd = placed.toSorted((x, y) => y.b - x.b || y.a - x.a);
  const inline = byEnd[0]!;
  if (inline.label.text !== "") underline.put(underline.length + 1, inline.label.text, inline.label);
  const rows = [underline];
  const hanging = byEnd.slice(1).filter((mark) => mark.label.text !== "");
  const pending = hanging.toSorted((x, y) => y.a - x.a);
  pending.forEach(({ a, label }, index) => {
    const row = new Row();
    for (const other of pending.slice(index + 1)) row.put(other.a, "│", other.label);
    row.put(a, label.text, label);
    rows.push(row);
  });
  return rows;
}

/** The bars beside a row: `open` tells which of them run past it. */
function barCells(bars: readonly Bar[], open: (bar: Bar) => boolean, starts: Bar | undefined): Row {
  const row = new Row();
  bars.forEach((bar, index) => {
    if (bar === starts) row.put(2 * index, "╭", bar.label);
    else if (open(bar)) row.put(2 * index, "│", bar.label);
  });
  return row;
}

/** `╭───^` or `╰───^ label`, from the bar's column to a column of the text. */
function cornerRow(bars: readonly Bar[], bar: Bar, open: (bar: Bar) => boolean, corner: string, column: number): Row {
  const row = barCells(bars, open, undefined);
  const index = bars.indexOf(bar);
  const target = 2 * bars.length + column;
  row.put(2 * index, corner, bar.label);
  row.fill(2 * index + 1, target, "─", bar.label);
  row.put(target, bar.label.primary ? "^" : "-", bar.label);
  return row;
}

/**
 * Draws the labels of one file.
 * @param gutter the width of the line numbers
 */
export function drawSnippet(file: SourceFile, labels: readonly SnippetLabel[], gutter: number, paint: Paint): string[] {
  const { marks, bars } = split(labels);
  const started = new Set<Bar>();
  const open = (bar: Bar): boolean => started.has(bar);
  const width = 2 * bars.length;
  const out: string[] = [];
  const frame = (number: string, edge: string, text: string): void => {
    out.push(`${paint.frame(`${number.padStart(gutter)} ${edge}`)} ${text}`.trimEnd());
  };
  const beside = (row: Row): string => row.toString(paint) + " ".repeat(width - row.length);

  for (const line of linesOf(marks, bars)) {
    if (line === 0) {
      frame("", "·", beside(barCells(bars, open, undefined)));
      continue;
    }
    const text = lineText(file, line);
    const here = marks.filter((mark) => mark.line === line);
    const opening = bars.filter((bar) => bar.first === line);
    const closing = bars.filter((bar) => bar.last === line);
    const focus = (here.find((mark) => mark.label.primary) ?? here[0] ?? opening[0])?.from ?? closing[0]?.to ?? 0;
    const shown = showLine(text, focus);
    // A bar that opens where the line begins needs no corner row of its own.
    const quick = opening.find((bar) => text.slice(0, bar.from).trim() === "");
    frame(String(line), "│", beside(barCells(bars, open, quick)) + shown.text);
    if (quick !== undefined) started.add(quick);
    for (const row of here.length > 0 ? markRows(here, shown.columnOf) : []) {
      frame("", "│", beside(barCells(bars, open, undefined)) + row.toString(paint));
    }
    for (const bar of opening.filter((other) => other !== quick)) {
      frame("", "│", cornerRow(bars, bar, open, "╭", shown.columnOf(bar.from)).toString(paint));
      started.add(bar);
    }
    for (const bar of closing.toReversed()) {
      const row = cornerRow(bars, bar, open, "╰", shown.columnOf(Math.max(0, bar.to - 1)));
      if (bar.label.text !== "") row.put(row.length + 1, bar.label.text, bar.label);
      frame("", "│", row.toString(paint));
      started.delete(bar);
    }
  }
  return out;
}

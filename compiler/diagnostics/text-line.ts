/** Where the characters of one source line stand on a terminal: tabs, wide and combining characters, long lines. */

const TAB = 4;
/** Longer lines are shown through a window around what is marked. */
const LONGEST = 200;
const WINDOW = 120;
const BEFORE = 40;
/** Of a line with more characters than this only those around the mark are looked at: graphemes take their time. */
const NEAR = 1_000;

const WIDE =
  /[\p{Emoji_Presentation}ᄀ-ᅟ⺀-〾ぁ-㉇㉐-䶿一-꓆ꥠ-ꥼ가-힣豈-﫿︰-﹫！-｠￠-￦\u{1b000}-\u{1b2fb}\u{20000}-\u{3fffd}]/u;
const INVISIBLE = /^[\p{M}\p{Cf}]+$/u;

interface Cell {
  readonly text: string;
  readonly offset: number;
  readonly column: number;
  readonly width: number;
}

/** A line as it is shown. */
export interface ShownLine {
  readonly text: string;
  /** The 0-based terminal column of an offset in the line; clamped to what is shown. */
  columnOf(offset: number): number;
}

/** Made when the first line is drawn: a run without diagnostics starts 10 ms sooner. */
let segmenter: Intl.Segmenter | undefined;

function widthOf(grapheme: string): number {
  if (INVISIBLE.test(grapheme)) return 0;
  return WIDE.test(grapheme) || grapheme.includes("\ufe0f") ? 2 : 1;
}

/** Control characters become visible pictures, so that no source text can steer the terminal. */
function visible(grapheme: string): string {
  const code = grapheme.codePointAt(0)!;
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  return code === 0x7f ? "␡" : code >= 0x80 && code < 0xa0 ? "�" : grapheme;
}

/** The cells of a part of a line; columns count from its start. */
const PLAIN = /^[\x20-\x7e]*$/;

function cellsOf(line: string, start: number, end: number): { cells: Cell[]; width: number } {
  const cells: Cell[] = [];
  let column = 0;
  if (PLAIN.test(line)) {
    for (let offset = start; offset < end; offset++)
      cells.push({ text: line[offset]!, offset, column: offset - start, width: 1 });
    return { cells, width: end - start };
  }
  segmenter ??= new Intl.Segmenter("en", { granularity: "grapheme" });
  for (const { segment, index } of segmenter.segment(line.slice(start, end))) {
    const tab = segment === "\t";
    const width = tab ? TAB - (column % TAB) : widthOf(segment);
    cells.push({ text: tab ? " ".repeat(width) : visible(segment), offset: start + index, column, width });
    column += width;
  }
  return { cells, width: column };
}

/**
 * Lays out a line of which the offset `focus` matters most: a line of more than 200 columns is cut to a window around
 * it, with `…` at the cut ends.
 */
export function showLine(line: string, focus: number): ShownLine {
  const start = line.length > NEAR ? Math.max(0, Math.min(focus, line.length) - NEAR / 2) : 0;
  const stop = Math.min(line.length, start + NEAR);
  const { cells, width } = cellsOf(line, start, stop);
  const columnOf = (offset: number): number =>
    offset >= stop ? width : (cells.findLast((cell) => cell.offset <= offset)?.column ?? 0);
  const whole = start === 0 && stop === line.length;
  if (whole && width <= LONGEST) return { text: cells.map((cell) => cell.text).join(""), columnOf };
  const low = Math.max(0, Math.min(columnOf(focus) - BEFORE, width - WINDOW));
  const kept = cells.filter((cell) => cell.column >= low && cell.column + cell.width <= low + WINDOW);
  const first = kept[0]!.column;
  const end = kept.at(-1)!.column + kept.at(-1)!.width;
  const lead = first > 0 || start > 0 ? "…" : "";
  const tail = end < width || stop < line.length ? "…" : "";
  const text = lead + kept.map((cell) => cell.text).join("") + tail;
  return {
    text,
    columnOf: (offset) => Math.min(Math.max(columnOf(offset), first), end) - first + lead.length,
  };
}

/** Lines around a change that are shown with it. */
const CONTEXT = 3;

interface Edit {
  readonly kind: " " | "-" | "+";
  readonly line: string;
}

/** The difference of two texts in unified format, as `diff -u` gives it; empty when they are equal. */
export function unifiedDiff(before: string, after: string, names: readonly [string, string]): string {
  const edits = editsOf(linesOf(before), linesOf(after));
  const changed = edits.flatMap(({ kind }, index) => (kind === " " ? [] : [index]));
  if (changed.length === 0) return "";
  const out = [`--- ${names[0]}`, `+++ ${names[1]}`];
  for (const [from, to] of hunks(changed, edits.length)) {
    const count = (part: readonly Edit[], kind: "-" | "+"): number => part.filter((edit) => edit.kind !== kind).length;
    const [above, inside] = [edits.slice(0, from), edits.slice(from, to)];
    const range = (kind: "-" | "+"): string => {
      const length = count(inside, kind);
      return `${count(above, kind) + (length === 0 ? 0 : 1)}${length === 1 ? "" : `,${length}`}`;
    };
    out.push(`@@ -${range("+")} +${range("-")} @@`, ...inside.map(({ kind, line }) => `${kind}${line}`));
  }
  return `${out.join("\n")}\n`;
}

function linesOf(text: string): string[] {
  return text.replace(/\n$/, "").split("\n");
}

/** Changes whose contexts touch make one hunk. */
function hunks(changed: readonly number[], total: number): [number, number][] {
  const found: [number, number][] = [];
  for (const index of changed) {
    const [from, to] = [Math.max(index - CONTEXT, 0), Math.min(index + CONTEXT + 1, total)];
    const last = found.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = to;
    else found.push([from, to]);
  }
  return found;
}

/** Lines that stand once in both texts are the anchors (patience diff): ops are such lines, they start with their ids. */
function editsOf(a: readonly string[], b: readonly string[]): Edit[] {
  const edits: Edit[] = [];
  let [x, y] = [0, 0];
  for (const [toX, toY] of [...anchors(a, b), [a.length, b.length] as const]) {
    while (x < toX && y < toY && a[x] === b[y]) {
      edits.push({ kind: " ", line: a[x]! });
      x++;
      y++;
    }
    for (; x < toX; x++) edits.push({ kind: "-", line: a[x]! });
    for (; y < toY; y++) edits.push({ kind: "+", line: b[y]! });
  }
  return edits;
}

/** The longest list of pairs of equal, unique lines in which both sides rise. */
function anchors(a: readonly string[], b: readonly string[]): (readonly [number, number])[] {
  const places = uniquePlaces(b);
  const pairs = [...uniquePlaces(a)].flatMap(([line, x]) => {
    const y = places.get(line);
    return y === undefined ? [] : [[x, y] as const];
  });
  /** For each length, the pair with the smallest end that a list of that length can have. */
  const ends: number[] = [];
  const before: number[] = [];
  for (const [index, [, y]] of pairs.entries()) {
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pairs[ends[middle]!]![1] < y) low = middle + 1;
      else high = middle;
    }
    before[index] = low === 0 ? -1 : ends[low - 1]!;
    ends[low] = index;
  }
  const found: (readonly [number, number])[] = [];
  for (let at = ends.at(-1) ?? -1; at >= 0; at = before[at]!) found.push(pairs[at]!);
  return found.toReversed();
}

/** The lines that stand once, with their places. */
function uniquePlaces(lines: readonly string[]): Map<string, number> {
  const places = new Map<string, number>();
  for (const [index, line] of lines.entries()) places.set(line, places.has(line) ? -1 : index);
  return new Map([...places].filter(([, index]) => index >= 0));
}

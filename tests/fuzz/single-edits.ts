/** One small mistake at a time in a file that is sound. */

export interface Edit {
  /** What was done, for people: `misspelt Mla`. */
  readonly what: string;
  readonly text: string;
  readonly at: number;
}

const PIECE = /\/\/[^\n]*|"[^"\n]*"|\d[\w.]*%?|[A-Za-z_]\w*|[=-]>|\.\.|[=<>!]=|\S/g;

interface Piece {
  readonly text: string;
  readonly at: number;
}

function pieces(text: string): Piece[] {
  return [...text.matchAll(PIECE)].flatMap(({ 0: piece, index }) =>
    piece.startsWith("//") ? [] : [{ text: piece, at: index }],
  );
}

function replaced(text: string, { text: old, at }: Piece, by: string): string {
  return text.slice(0, at) + by + text.slice(at + old.length);
}

const isWord = ({ text }: Piece): boolean => /^[A-Za-z_]/.test(text);
const isNumber = ({ text }: Piece): boolean => /^\d/.test(text);

/** `Mla` becomes `Mlax`: what the checker can guess; `far`, a word that is like no other. */
export function misspellings(text: string, far = false): Edit[] {
  return pieces(text)
    .filter(isWord)
    .map((piece) => ({
      what: `misspelt ${piece.text}`,
      text: replaced(text, piece, far ? "zyzzyva" : `${piece.text}x`),
      at: piece.at,
    }));
}

export function deletions(text: string): Edit[] {
  return pieces(text).map((piece) => ({
    what: `deleted ${piece.text}`,
    text: replaced(text, piece, ""),
    at: piece.at,
  }));
}

export function numbers(text: string): Edit[] {
  return pieces(text)
    .filter(isNumber)
    .map((piece) => {
      const [, digits, unit] = /^([\d_]+)(.*)$/s.exec(piece.text)!;
      const by = `${Number(digits!.replaceAll("_", "")) + 1}${unit}`;
      return { what: `${piece.text} became ${by}`, text: replaced(text, piece, by), at: piece.at };
    });
}

const UNITS = ["tokens", "steps", "epochs", "sequences", "nodes", "gpus", "sms", "GiB"];

export function units(text: string): Edit[] {
  return pieces(text)
    .filter(({ text: word }) => UNITS.includes(word))
    .map((piece) => {
      const by = UNITS[(UNITS.indexOf(piece.text) + 3) % UNITS.length]!;
      return { what: `${piece.text} became ${by}`, text: replaced(text, piece, by), at: piece.at };
    });
}

function byLine(text: string, what: string, edit: (line: string) => string): Edit[] {
  let at = 0;
  return text.split(/(?<=\n)/).flatMap((line) => {
    const start = at;
    at += line.length;
    if (line.trim() === "" || line.trim().startsWith("//")) return [];
    return [
      {
        what: `${what}: ${line.trim()}`,
        text: text.slice(0, start) + edit(line) + text.slice(start + line.length),
        at: start,
      },
    ];
  });
}

export const deletedLines = (text: string): Edit[] => byLine(text, "line deleted", () => "");
export const doubledLines = (text: string): Edit[] => byLine(text, "line doubled", (line) => line + line);

/** Two neighbours in a list of arguments or dims change places. */
export function swaps(text: string): Edit[] {
  return [...text.matchAll(/(?<=[([,] ?)([^()[\],{}\n]+), ([^()[\],{}\n]+)(?=[)\],])/g)].map(
    ({ 0: both, 1: a, 2: b, index }) => ({
      what: `swapped ${both}`,
      text: `${text.slice(0, index)}${b!}, ${a!}${text.slice(index + both.length)}`,
      at: index,
    }),
  );
}

export const EDITS: Readonly<Record<string, (text: string) => Edit[]>> = {
  misspellings,
  far: (text) => misspellings(text, true),
  deletions,
  numbers,
  units,
  deletedLines,
  doubledLines,
  swaps,
};

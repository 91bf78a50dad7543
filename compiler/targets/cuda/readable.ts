/** Lines of C++ as a reader wants them: without needless parentheses, and no longer than a screen is wide. */
import { withoutParentheses } from "./parentheses.ts";

/** Columns of a line. */
export const WIDTH = 128;

export function readable(text: string): string {
  return text
    .split("\n")
    .flatMap((line) => wrapped(withoutParentheses(line)))
    .join("\n");
}

/** Behind commas and before operators a line may go on. */
const BREAK = /(?<=, )|(?<= )(?=(?:[-+*/%&|?:<>]|&&|\|\||<=|>=|==|!=) )/g;

/** A long statement on several lines, broken where it falls apart best. Directives, comments and strings are left alone. */
function wrapped(line: string): string[] {
  if (line.length <= WIDTH || line.includes('"') || line.includes("//") || /^\s*#/.test(line)) return [line];
  const indent = line.search(/\S/) + 4;
  const lines: string[] = [];
  let rest = line;
  while (rest.length > WIDTH) {
    const place = placeToBreak(rest, lines.length === 0 ? indent - 4 : indent);
    if (place === undefined) break;
    lines.push(rest.slice(0, place).trimEnd());
    rest = " ".repeat(indent) + rest.slice(place);
  }
  return [...lines, rest];
}

function placeToBreak(line: string, indent: number): number | undefined {
  const places = [...line.matchAll(BREAK)].map(({ index }) => index).filter((place) => place <= WIDTH);
  // A line that is nearly empty is no better than one that is broken deeper inside.
  const full = places.filter((place) => place > indent + 40);
  const best = Math.min(...full.map((place) => costOf(line, place)));
  return full.findLast((place) => costOf(line, place) === best) ?? places.findLast((place) => place > indent + 4);
}

/** Outside of brackets before inside, between arguments before terms, between terms before factors. */
function costOf(line: string, place: number): number {
  const operator = line.slice(place, place + 1);
  return depthAt(line, place) * 3 + (line[place - 2] === "," ? 0 : "*/%".includes(operator) ? 2 : 1);
}

/** Brackets that are open at a place of a line. */
function depthAt(line: string, place: number): number {
  let depth = 0;
  for (const character of line.slice(0, place)) {
    if ("([{".includes(character)) depth++;
    if (")]}".includes(character)) depth--;
  }
  return depth;
}

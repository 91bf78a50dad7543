/** Plain text in files: a document each, long ones in parts. */
import { chunksOf } from "../files.ts";
import { cutLength, whyNoText } from "./utf8.ts";

/** A document, or a part of one that is too long to be handled at once. */
export interface TextPart {
  readonly text: string;
  readonly first: boolean;
  readonly last: boolean;
}

/** What is wrong with a file, and where in it. */
export class BadFile extends Error {}

/**
 * The text of a file in parts of at most `longest` UTF-16 units, cut between paragraphs where there are any, else between
 * lines. Nothing for an empty file.
 * @throws BadFile for binary data and what is no UTF-8
 */
export function* readText(path: string, longest: number): Generator<TextPart> {
  let rest = "";
  let first = true;
  for (const text of decoded(path)) {
    rest += text;
    while (rest.length > longest) {
      const cut = cutOf(rest, longest);
      yield { text: rest.slice(0, cut), first, last: false };
      rest = rest.slice(cut);
      first = false;
    }
  }
  if (rest !== "") yield { text: rest, first, last: true };
}

function* decoded(path: string): Generator<string> {
  let cut = Buffer.alloc(0);
  for (const { bytes, at } of chunksOf(path)) {
    const joined = cut.length === 0 ? bytes : Buffer.concat([cut, bytes]);
    const start = at - cut.length;
    const why = whyNoText(joined, start);
    if (why !== undefined) throw new BadFile(why);
    const end = joined.length - cutLength(joined);
    const text = joined.toString("utf8", 0, end);
    yield start === 0 && text.startsWith("\uFEFF") ? text.slice(1) : text;
    cut = Buffer.from(joined.subarray(end));
  }
  if (cut.length > 0) throw new BadFile("its last character is cut");
}

/** Behind the last empty line of the second half, else behind the last line of it, else at the limit. */
function cutOf(text: string, longest: number): number {
  for (const border of ["\n\n", "\n", " "]) {
    const at = text.lastIndexOf(border, longest - border.length);
    if (at >= longest / 2) return at + border.length;
  }
  const inPair = /[\uD800-\uDBFF]/.test(text[longest - 1]!);
  return inPair ? longest - 1 : longest;
}

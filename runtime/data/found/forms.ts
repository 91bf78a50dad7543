/** From files of several forms to paragraphs of plain text. */

export type Form = "plain" | "markdown" | "pod" | "python" | "topics" | "comments";

/** The paragraphs of a file, each on one line; what is code is left out. */
export function paragraphsOf(text: string, form: Form): string[] {
  return READERS[form](text).filter((paragraph) => paragraph !== "");
}

const READERS: Readonly<Record<Form, (text: string) => string[]>> = {
  plain: paragraphs,
  markdown,
  pod,
  python: (text) => python(text).flatMap(paragraphs),
  topics: (text) => pythonTopics(text).flatMap(paragraphs),
  comments: (text) => comments(text).flatMap(paragraphs),
};

/** What stands between empty lines, and list items by themselves. Indented blocks are code where others are not. */
function paragraphs(text: string): string[] {
  const blocks = text.replaceAll("\r\n", "\n").split(/\n[ \t\f]*\n+/);
  const indents = blocks.flatMap((block) => (block.trim() === "" ? [] : [indentOf(block)]));
  const usual = Math.min(...indents.filter((indent) => indent < 40), 40);
  return blocks
    .filter((block) => indentOf(block) < usual + 4 || isItem(block))
    .flatMap(items)
    .map(oneLine);
}

function indentOf(block: string): number {
  return /^\n*([ \t]*)/.exec(block)![1]!.replaceAll("\t", "        ").length;
}

const ITEM = /^[ \t]*(?:[*+-]|\d+[.)])[ \t]+/;

function isItem(block: string): boolean {
  return ITEM.test(block);
}

/** A list without empty lines between its items. */
function items(block: string): string[] {
  return block.split(/\n(?=[ \t]*(?:[*+-]|\d+[.)])[ \t]+\S)/).map((item) => item.replace(ITEM, ""));
}

/** Words that are broken at the end of a line stay broken: a hyphen there may be part of the word. */
function oneLine(block: string): string {
  return block.replaceAll(/\s+/g, " ").trim();
}

function markdown(text: string): string[] {
  const plain = text
    .replaceAll(/^---\n[\s\S]*?\n---\n/g, "")
    .replaceAll(/^[ \t]*(```|~~~)[\s\S]*?^[ \t]*\1[^\n]*$/gm, "\n")
    .replaceAll(/<!--[\s\S]*?-->/g, "")
    .replaceAll(/^#{1,6}[ \t]+.*$/gm, "\n")
    .replaceAll(/^\[[^\]]+\]:.*$/gm, "")
    .replaceAll(/^[ \t]*\|.*$/gm, "\n")
    .replaceAll(/!\[[^\]]*\]\([^)]*\)/g, "")
    .replaceAll(/\[([^\]]+)\](?:\([^)]*\)|\[[^\]]*\])/g, "$1")
    .replaceAll(/<\/?[a-zA-Z][^>\n]*>/g, "")
    .replaceAll(/^[ \t]*>[ \t]?/gm, "")
    .replaceAll(/\*\*([^*\n]+)\*\*/g, "$1")
    .replaceAll(/(?<![\w`])[*_]([^*_\n]+)[*_](?![\w`])/g, "$1")
    .replaceAll(/`+([^`\n]*)`+/g, "$1");
  return paragraphs(plain);
}

/** Plain Old Documentation of Perl, alone or between code (perlpod). */
function pod(text: string): string[] {
  const blocks = text.replaceAll("\r\n", "\n").split(/\n[ \t]*\n+/);
  const out: string[] = [];
  let inside = false;
  for (const block of blocks) {
    const command = /^=([a-z]+\d?)/.exec(block)?.[1];
    if (command !== undefined) inside = command !== "cut" && command !== "begin";
    else if (inside && /^\S/.test(block)) out.push(oneLine(podText(block)));
  }
  return out;
}

/** `C<code>` is code, `L<text|page>` is text. */
function podText(text: string): string {
  let plain = text;
  for (let before = ""; before !== plain;) {
    before = plain;
    plain = plain
      .replaceAll(/[XZ](?:<<+ .*? >>+|<[^<>]*>)/gs, "")
      .replaceAll(/L<([^<>|]*)\|[^<>]*>/gs, "$1")
      .replaceAll(/[A-Z](?:<<+ (.*?) >>+|<([^<>]*)>)/gs, "$1$2");
  }
  return plain.replaceAll("lt>", "<");
}

/** Texts between three quotes, and comments of whole lines. */
function python(text: string): string[] {
  const docs = [...text.matchAll(/("""|''')([\s\S]*?)\1/g)].map(([, , doc]) =>
    dedent(doc!)
      .replaceAll(/^[ \t]*(?:>>>|\.\.\.) .*$/gm, "\n")
      .replaceAll(/\\n|\\t/g, " "),
  );
  const comments = [...text.matchAll(/(?:^[ \t]*#[^\n]*\n){2,}/gm)].map(([block]) =>
    block.replaceAll(/^[ \t]*#+ ?/gm, ""),
  );
  return [...docs, ...comments].map((doc) =>
    doc.replaceAll(/:[a-z:]+:`~?([^`<]+)(?:<[^>`]*>)?`/g, "$1").replaceAll(/`+([^`\n]*)`+_{0,2}/g, "$1"),
  );
}

/** Without the indent that all lines but the first share (`inspect.cleandoc`). */
function dedent(doc: string): string {
  const [first, ...rest] = doc.split("\n");
  const common = Math.min(...rest.filter((line) => line.trim() !== "").map((line) => line.search(/\S/)));
  return [first!.trimStart(), ...rest.map((line) => line.slice(common))].join("\n");
}

/** The language reference that `pydoc` shows: texts in single quotes, line by line. */
function pythonTopics(text: string): string[] {
  return text.split(/(?:^|\{) {0,10}'[\w.]+': /m).map((topic) =>
    [...topic.matchAll(/'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"/g)]
      .map(([, single, double]) => single ?? double!)
      .join("")
      .replaceAll("\\n", "\n")
      .replaceAll(/\\(.)/g, "$1"),
  );
}

/** Comments between slashes and stars. */
function comments(text: string): string[] {
  return [...text.matchAll(/\/\*+([\s\S]*?)\*\//g)].map(([, body]) =>
    body!
      .replaceAll(/^[ \t]*\*+[ \t]?/gm, "")
      .replaceAll(/^[ \t]*[@\\](?!brief|return|note|details|par\b|remarks)\w+.*$/gm, "\n")
      .replaceAll(/[@\\](?:brief|returns?|note|details|par|remarks|[acpe]\b)[ \t]*/g, "")
      .replaceAll(/\{@\w+ ([^}]*)\}|\[([^\]]+)\]\([^)]*\)/g, "$1$2")
      .replaceAll(/\*\*([^*\n]+)\*\*/g, "$1")
      .replaceAll(/<\/?[a-zA-Z][^>\n]*>|`|%(?=[a-z])/g, ""),
  );
}

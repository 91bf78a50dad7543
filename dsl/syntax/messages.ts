import type { IParserErrorMessageProvider, IRecognitionException, IToken } from "chevrotain";
import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import type { SourceFile, Span } from "../../compiler/diagnostics/source.ts";
import { isReserved } from "./tokens.ts";

/** What could have stood where a rule found none of its beginnings. */
const BEGINNINGS: Readonly<Record<string, string>> = {
  decl: "a declaration",
  item: "an item of the block",
  stmt: "a statement",
  entry: "`name = value` or `name { ... }`",
  schemaField: "`name: type` or `name { ... }`",
  atom: "a value",
  type: "a type",
  typeDim: "a dim",
  formal: "a dim's name",
  letStmt: "a name",
  piece: "a number or `end`",
};

/** The parser's messages are only what was expected: the rest is written by `report`. */
export const messages: IParserErrorMessageProvider = {
  buildMismatchTokenMessage: ({ expected }) =>
    expected.name === "Name" ? "a name" : expected.name === "EOF" ? "a declaration" : (expected.LABEL ?? expected.name),
  buildNotAllInputParsedMessage: () => "",
  buildNoViableAltMessage: ({ ruleName }) => BEGINNINGS[ruleName] ?? "something else",
  buildEarlyExitMessage: ({ ruleName }) => BEGINNINGS[ruleName] ?? "a name",
};

const HELP: Readonly<Record<string, string>> = {
  "`:`": "a type stands after a colon: `param w: [D, F]`",
  "`=`": "values stand after `=`",
  "`=>`": "a piece of a schedule is `..10T => value`",
  "`of`": "layers are written `3 of Block[D]`",
};

/** Reports one syntax error. `tokens` are those that were parsed, in order. */
export function reportSyntax(
  error: IRecognitionException,
  tokens: readonly IToken[],
  source: SourceFile,
  diagnostics: Diagnostics,
): void {
  const { token, message } = error;
  const atEnd = token.tokenType.name === "EOF";
  const previous = atEnd ? tokens.at(-1) : tokens[tokens.indexOf(token) - 1];
  const found = atEnd
    ? previous?.endOffset === lastOffset(source)
      ? "the end of the file"
      : "the end of it"
    : foundText(token);
  const at = placeOf(token, previous, atEnd, source, message);
  if (message === "") {
    diagnostics.report("DSK0011", at, { found, where: "here" });
    return;
  }
  if (message === "a name" && isReserved(token.image)) {
    diagnostics.report("DSK0012", at, { word: token.image }, { help: "take another name" });
    return;
  }
  const help = HELP[message];
  diagnostics.report("DSK0010", at, { expected: message, found }, help === undefined ? {} : { help });
}

function foundText(token: IToken): string {
  const text = token.image.length > 30 ? `${token.image.slice(0, 29)}…` : token.image;
  return text.startsWith('"') ? "a string" : `\`${text}\``;
}

function lastOffset(source: SourceFile): number {
  return source.text.trimEnd().length - 1;
}

/** Where something is missing at a line's end, the place is behind what stands there, not the next line. */
function placeOf(
  token: IToken,
  previous: IToken | undefined,
  atEnd: boolean,
  source: SourceFile,
  message: string,
): Span {
  const behind = previous === undefined ? 0 : previous.endOffset! + 1;
  if (atEnd) return { file: source, start: behind, end: behind };
  if (previous !== undefined && message !== "" && token.startLine !== previous.endLine)
    return { file: source, start: behind, end: behind };
  return { file: source, start: token.startOffset, end: token.endOffset! + 1 };
}

import type { IParserErrorMessageProvider, IRecognitionException, IToken } from "chevrotain";
import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import type { SourceFile, Span } from "../../compiler/diagnostics/source.ts";
import { didYouMean } from "../../compiler/diagnostics/did-you-mean.ts";
import { isReserved } from "./tokens.ts";
import { UNITS } from "./units.ts";

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

/** The words that begin what was expected. */
export const KEYWORDS = {
  "a declaration": "import block model data train layout serve target",
  "an item of the block": "dim param state cache use fn on expect extern",
  "a statement": "let metric loss return",
} as const;

/** The words that stand between parts of an item. */
const BETWEEN = ["as", "by", "extends", "for", "from", "of", "over", "within"];

/** A file as it is parsed in parts. */
export interface Parsing {
  readonly source: SourceFile;
  readonly tokens: readonly IToken[];
  /** Where characters were that begin no token: what fails because of them is told already. */
  readonly skipped: readonly number[];
  /** Words of the language that were taken for names, which is told. */
  readonly taken: Set<string>;
  /** How many times a brace was missing: then one that closes is left over. */
  readonly missing: { braces: number };
  readonly diagnostics: Diagnostics;
}

/** Reports one syntax error of a part of a file. */
export function reportSyntax(
  { token: at, message }: IRecognitionException,
  part: readonly IToken[],
  parsing: Parsing,
): void {
  const { source, tokens, skipped, diagnostics } = parsing;
  const ended = at.tokenType.name === "EOF";
  const previous = ended ? part.at(-1) : part[part.indexOf(at) - 1];
  const behind = previous === undefined ? 0 : previous.endOffset! + 1;
  const token = ended ? tokens.find((t) => t.startOffset >= behind) : at;
  if (skipped.some((place) => place >= behind && place < (token?.startOffset ?? Infinity))) return;
  const isStatement = message === "" && (token?.image === "let" || token?.image === "return");
  if (message === "`{`" || isStatement) parsing.missing.braces++;
  // Of the statements behind a missing head the first one is told.
  if (isStatement && parsing.missing.braces > 1) return;
  const found = token === undefined ? "the end of the file" : foundText(token);
  // Where something is missing at a line's end, the place is behind what stands there, not the next line.
  const missing =
    token === undefined || (previous !== undefined && message !== "" && token.startLine !== previous.endLine);
  const span: Span = missing
    ? { file: source, start: behind, end: behind }
    : { file: source, start: token.startOffset, end: token.endOffset! + 1 };
  const unit = message === "`of`" ? undefined : misspeltUnit(part, at);
  if (unit !== undefined) {
    const help = didYouMean(unit.image, Object.keys(UNITS)) ?? `units are ${SOME_UNITS}, and others of that kind`;
    const place = { file: source, start: unit.startOffset, end: unit.endOffset! + 1 };
    diagnostics.report("DSK0011", place, { found: foundText(unit), where: "behind a number" }, { help });
    return;
  }
  const word = token !== undefined && isReserved(token.image) ? token.image : undefined;
  const opens = previous !== undefined && ["(", "[", ","].includes(previous.image);
  if (word !== undefined && (message === "a name" || (opens && (message === "`)`" || message === "`]`")))) {
    parsing.taken.add(word);
    diagnostics.report("DSK0012", span, { word }, { help: "take another name" });
    return;
  }
  // What uses a name that cannot be one is no second mistake.
  if (word !== undefined && parsing.taken.has(word)) return;
  if (message === "") {
    const help = token?.tokenType.name === "Identifier" ? didYouMean(token.image, BETWEEN) : undefined;
    diagnostics.report("DSK0011", span, { found, where: "here" }, help === undefined ? {} : { help });
    return;
  }
  const words = token?.tokenType.name === "Identifier" ? (KEYWORDS as Record<string, string>)[message] : undefined;
  const help = HELP[message] ?? (words === undefined ? undefined : didYouMean(token!.image, words.split(" ")));
  diagnostics.report("DSK0010", span, { expected: message, found }, help === undefined ? {} : { help });
}

const SOME_UNITS = "tokens, steps, epochs, sequences, nodes, gpus, sms, s, h, GiB, GB/s";

/** A word behind a number on its line that is no unit, where the parser stopped at it or right behind it. */
function misspeltUnit(part: readonly IToken[], at: IToken): IToken | undefined {
  const stop = at.tokenType.name === "EOF" ? part.length : part.indexOf(at);
  return [part[stop], part[stop - 1]].find((word) => {
    const number = word === undefined ? undefined : part[part.indexOf(word) - 1];
    if (word?.tokenType.name !== "Identifier" || number?.tokenType.name !== "Number") return false;
    return number.startLine === word.startLine && /^[\d._eE+-]+[KMBT]?i?$/.test(number.image);
  });
}

function foundText(token: IToken): string {
  const text = token.image.length > 30 ? `${token.image.slice(0, 29)}…` : token.image;
  return /^["']/.test(text) ? "a string" : `\`${text}\``;
}

import { createToken, Lexer, type TokenType } from "chevrotain";
import { UNITS } from "./units.ts";

/** Any word that may be a name: identifiers, and keywords that mean something only in their place. */
export const Name = createToken({ name: "Name", pattern: Lexer.NA });
export const Identifier = createToken({
  name: "Identifier",
  pattern: /[A-Za-z_][A-Za-z0-9_]*/,
  categories: [Name],
  line_breaks: false,
});

function keyword(word: string, soft: boolean): TokenType {
  return createToken({
    name: `"${word}"`,
    label: `\`${word}\``,
    pattern: new RegExp(`${word}(?![A-Za-z0-9_])`),
    longer_alt: Identifier,
    categories: soft ? [Name] : [],
  });
}

const RESERVED = ["block", "model", "import", "let", "return", "fn", "param", "use", "expect"] as const;
const SOFT =
  "edition from as extends for data train layout serve target schema signature dim state cache over on " +
  "within metric loss schedule by stack of end extern kernel";

/** Keyword tokens by word. */
export const KEYWORDS: Readonly<Record<string, TokenType>> = Object.fromEntries([
  ...RESERVED.map((word) => [word, keyword(word, false)] as const),
  ...SOFT.split(" ").map((word) => [word, keyword(word, true)] as const),
]);

export function isReserved(word: string): boolean {
  return (RESERVED as readonly string[]).includes(word);
}

const unitWords = Object.keys(UNITS)
  .filter((unit) => unit !== "%")
  .toSorted((a, b) => b.length - a.length)
  .join("|");

/** A number with what is glued to it, and a unit if one stands behind it on the line. */
export const Number = createToken({
  name: "Number",
  label: "a number",
  pattern: new RegExp(
    `\\d[\\d_]*(?:\\.\\d[\\d_]*)*(?:[eE][+-]?\\d+)?[A-Za-z0-9_%]*(?:[ \\t]+(?:${unitWords})(?![A-Za-z0-9_]))?`,
  ),
  line_breaks: false,
});

export const Text = createToken({
  name: "Text",
  label: "a string",
  pattern: /"(?:[^"\\\n\r]|\\[^\n\r])*"/,
  line_breaks: false,
});
/** A string that the line's end cuts off. */
export const OpenText = createToken({
  name: "OpenText",
  pattern: /"(?:[^"\\\n\r]|\\[^\n\r])*\\?/,
  categories: [Text],
  line_breaks: false,
});

/** A string between other quotes: told by the builder. */
export const QuotedText = createToken({
  name: "QuotedText",
  pattern: /'[^'\n\r]*'/,
  categories: [Text],
  line_breaks: false,
});

const Space = createToken({
  name: "Space",
  pattern: /[ \t\r\n\f\u00a0\ufeff]+/,
  group: Lexer.SKIPPED,
  line_breaks: true,
});
const Doc = createToken({ name: "Doc", pattern: /\/\/\/[^\n\r]*/, group: "docs", line_breaks: false });
const Comment = createToken({ name: "Comment", pattern: /\/\/[^\n\r]*/, group: "comments", line_breaks: false });
const BlockComment = createToken({
  name: "BlockComment",
  pattern: /\/\*[^]*?(?:\*\/|$(?![^]))/,
  group: "blockComments",
  line_breaks: true,
});

function sign(name: string, text: string): TokenType {
  return createToken({ name, label: `\`${text}\``, pattern: text });
}

export const FatArrow = sign("FatArrow", "=>");
export const Arrow = sign("Arrow", "->");
export const DotDot = sign("DotDot", "..");
export const EqualEqual = sign("EqualEqual", "==");
export const NotEqual = sign("NotEqual", "!=");
export const LessEqual = sign("LessEqual", "<=");
export const GreaterEqual = sign("GreaterEqual", ">=");
export const Less = sign("Less", "<");
export const Greater = sign("Greater", ">");
export const Equal = sign("Equal", "=");
export const Plus = sign("Plus", "+");
export const Minus = sign("Minus", "-");
export const Star = sign("Star", "*");
export const Slash = sign("Slash", "/");
export const At = sign("At", "@");
export const Caret = sign("Caret", "^");
export const Bar = sign("Bar", "|");
export const And = sign("And", "&");
export const Dot = sign("Dot", ".");
export const Comma = sign("Comma", ",");
export const Colon = sign("Colon", ":");
export const LeftBrace = sign("LeftBrace", "{");
export const RightBrace = sign("RightBrace", "}");
export const LeftBracket = sign("LeftBracket", "[");
export const RightBracket = sign("RightBracket", "]");
export const LeftParen = sign("LeftParen", "(");
export const RightParen = sign("RightParen", ")");

const LONG_SIGNS = [FatArrow, Arrow, DotDot, EqualEqual, NotEqual, LessEqual, GreaterEqual];
const BRACKETS = [LeftBrace, RightBrace, LeftBracket, RightBracket, LeftParen, RightParen];
const SIGNS = [Less, Greater, Equal, Plus, Minus, Star, Slash, At, Caret, Bar, And, Dot, Comma, Colon];

/** `1f1b` is a name although it begins with a digit. */
const OneForwardOneBackward = createToken({
  name: "OneForwardOneBackward",
  pattern: /1f1b(?![A-Za-z0-9_])/,
  categories: [Name],
});
const WORDS = [OneForwardOneBackward, Number, Text, OpenText, QuotedText, ...Object.values(KEYWORDS), Identifier];

/** In the order of matching. */
export const TOKENS: TokenType[] = [Space, Doc, Comment, BlockComment].concat(WORDS, LONG_SIGNS, SIGNS, BRACKETS, [
  Name,
]);

export const lexer = new Lexer(TOKENS, { positionTracking: "full", skipValidations: true });

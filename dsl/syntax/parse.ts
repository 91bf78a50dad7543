import type { ILexingResult, IToken } from "chevrotain";
import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import type { SourceFile } from "../../compiler/diagnostics/source.ts";
import type * as ast from "./ast.ts";
import { AstBuilder } from "./build-ast.ts";
import { Docs } from "./docs.ts";
import { parser } from "./grammar.ts";
import { reportSyntax } from "./messages.ts";
import { Recovery } from "./recover.ts";
import { lexer } from "./tokens.ts";

/** How deep brackets may lie in each other. */
export const DEEPEST = 200;

/** How many operators may lie in each other. One after the other there may be fewer, see `build-expr.ts`. */
const MOST_OPERATORS = 1_000;

export interface Parsed {
  readonly file: ast.File;
  /** False when the text has syntax errors: they are reported, and the file holds what is sound. */
  readonly ok: boolean;
}

/** Parses any text whatever; never throws. */
export function parseFile(source: SourceFile, diagnostics: Diagnostics): Parsed {
  const lexed = lexer.tokenize(source.text);
  let ok = reportLexing(lexed, source, diagnostics);
  const span = { file: source, start: 0, end: source.text.length };
  if (!nestingIsSane(lexed.tokens, source, diagnostics)) {
    return { file: { source, imports: [], decls: [], broken: [], torn: true, span }, ok: false };
  }
  const before = diagnostics.errorCount;
  const builder = new AstBuilder(source, new Docs(source, lexed.groups["docs"] ?? []), diagnostics);
  parser.input = lexed.tokens;
  const tree = parser.file();
  if (parser.errors.length > 0) {
    const [error] = parser.errors;
    const skipped = lexed.errors.map((e) => e.offset);
    const parsing = {
      source,
      tokens: lexed.tokens,
      skipped,
      taken: new Set<string>(),
      missing: { braces: 0 },
      diagnostics,
    };
    const parts = new Recovery(parsing, builder).file();
    // Parts that are sound one by one may still not stand in this order.
    if (ok && diagnostics.errorCount === before) reportSyntax(error!, lexed.tokens, parsing);
    return { file: { source, ...parts, span }, ok: false };
  }
  const edition = builder.optional(tree, "edition");
  const file: ast.File = {
    source,
    ...(edition === undefined ? {} : { edition: builder.edition(edition) }),
    imports: builder.nodes(tree, "importDecl").map((n) => builder.import(n)),
    decls: builder.nodes(tree, "decl").map((n) => builder.decl(n)),
    broken: [],
    torn: lexed.errors.length > 0,
    span,
  };
  ok &&= diagnostics.errorCount === before;
  return { file, ok };
}

/** Characters that begin no token, and comments that the language does not have. False if there were any. */
function reportLexing(lexed: ILexingResult, source: SourceFile, diagnostics: Diagnostics): boolean {
  for (const { offset, length } of lexed.errors) {
    const text = source.text.slice(offset, offset + length);
    const shown = /^[\x20-\x7e]+$/.test(text)
      ? `\`${text.length > 30 ? `${text.slice(0, 29)}…` : text}\``
      : codePoint(text);
    const help = MEANT[text];
    const span = { file: source, start: offset, end: offset + length };
    diagnostics.report("DSK0001", span, { text: shown }, help === undefined ? {} : { help });
  }
  for (const comment of lexed.groups["blockComments"] ?? []) {
    diagnostics.report(
      "DSK0003",
      { file: source, start: comment.startOffset, end: comment.endOffset! + 1 },
      {},
      { help: "begin each line with `//`" },
    );
  }
  return lexed.errors.length === 0 && (lexed.groups["blockComments"] ?? []).length === 0;
}

const MEANT: Readonly<Record<string, string>> = {
  "“": 'strings stand between `"`',
  "”": 'strings stand between `"`',
  "„": 'strings stand between `"`',
  "#": "comments begin with `//`",
  ";": "an item ends where the next one begins: no `;` is needed",
  "!": "`not(mask)` negates, `!=` compares",
  "&&": "`&` joins masks",
  "−": "did you mean `-`?",
  "–": "did you mean `-`?",
  "×": "did you mean `*`?",
  "·": "did you mean `*`?",
  "÷": "did you mean `/`?",
  "≤": "did you mean `<=`?",
  "≥": "did you mean `>=`?",
  "≠": "did you mean `!=`?",
  "→": "did you mean `->`?",
  "⇒": "did you mean `=>`?",
  "%": "a percentage is written `30%`; there is no remainder",
};

function codePoint(text: string): string {
  const code = text.codePointAt(0)!;
  const visible = /^[\p{L}\p{N}\p{P}\p{S}]/u.test(text) ? `\`${String.fromCodePoint(code)}\` ` : "";
  return `${visible}(U+${code.toString(16).toUpperCase().padStart(4, "0")})`;
}

/** The parser and all that follows recurse: text that lies too deep is refused before. */
function nestingIsSane(tokens: readonly IToken[], source: SourceFile, diagnostics: Diagnostics): boolean {
  const help = "name inner parts with `let` or in blocks of their own";
  /** Of each open bracket, the operators that lie in each other so far: `((a + b) + c) + d` has three. */
  const open = [0];
  let powers = 0;
  for (const token of tokens) {
    const { image } = token;
    const span = { file: source, start: token.startOffset, end: token.endOffset! + 1 };
    if (image === "(" || image === "[" || image === "{") open.push(0);
    else if (image === ")" || image === "]" || image === "}") {
      const inner = open.length > 1 ? open.pop()! : 0;
      open[open.length - 1] = Math.max(open.at(-1)!, inner + 1);
    } else if (SEPARATORS.has(image)) open[open.length - 1] = powers = 0;
    else if (OPERATORS.has(image)) open[open.length - 1]!++;
    if (image === "^") powers++;
    if (open.length > DEEPEST + 1) {
      diagnostics.report("DSK0013", span, { limit: DEEPEST }, { help });
      return false;
    }
    if (open.at(-1)! > MOST_OPERATORS || powers > DEEPEST) {
      diagnostics.report("DSK0017", span, { limit: powers > DEEPEST ? DEEPEST : MOST_OPERATORS }, { help });
      return false;
    }
  }
  return true;
}

/** What ends an expression. */
const SEPARATORS = new Set(["=", ",", ":", "=>", "let", "return", "of", "..", "over"]);
const OPERATORS = new Set("| & < <= > >= == != + - * / @ ^ .".split(" "));

import type { CstNode, IToken } from "chevrotain";
import { closest, didYouMean } from "../../compiler/diagnostics/did-you-mean.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "./ast.ts";
import type { AstBuilder } from "./build-ast.ts";
import { parser, type RuleName } from "./grammar.ts";
import { KEYWORDS, reportSyntax, type Parsing } from "./messages.ts";
import { isReserved, KEYWORDS as KEYWORD_TOKENS } from "./tokens.ts";

/*
 * A file with errors is parsed in parts: declarations, their items, statements. The parts are found by the words that begin
 * them at the start of a line. Each part has at most one error, and what it would have declared stands for nothing that
 * is known, so that no error is only a consequence of another.
 */

const DECLS = new Set(["block", "model", "data", "train", "layout", "serve", "target", "schema", "signature"]);
const ITEMS = new Set(["dim", "param", "state", "cache", "use", "fn", "extern", "on", "expect"]);
/** Items that other items refer to. */
const NAMED = new Set(["dim", "param", "state", "cache", "use"]);
/** Items whose word may be the name of a setting as well. */
const SOFT_ITEMS = new Set(["state", "cache", "extern", "on"]);
const STATEMENTS = new Set(["let", "metric", "loss"]);

export class Recovery {
  readonly #parsing: Parsing;
  readonly #builder: AstBuilder;
  #torn = false;

  constructor(parsing: Parsing, builder: AstBuilder) {
    this.#parsing = parsing;
    this.#builder = builder;
  }

  file(): Omit<ast.File, "source" | "span"> {
    const { tokens } = this.#parsing;
    const imports: ast.Import[] = [];
    const decls: ast.Decl[] = [];
    const broken: ast.Name[] = [];
    let edition: ast.File["edition"];
    /** The kinds of parts that came so far. */
    const order = new Set<string>();
    for (const found of this.#parts(tokens)) {
      const part = isImport(0, found) ? this.#corrected("a declaration", found) : found;
      const word = part[0]!.image;
      if (word === "edition" ? order.size > 0 : word === "import" && order.has("decl")) this.#misplaced(part[0]!);
      order.add(DECLS.has(word) ? "decl" : word);
      if (word === "import") {
        const tree = this.#parse("importDecl", part);
        if (tree === undefined) broken.push(...this.#lostImport(part));
        else imports.push(this.#builder.import(tree));
      } else if (word === "edition") {
        const tree = this.#parse("edition", part);
        if (tree !== undefined) edition = this.#builder.edition(tree);
      } else {
        const decl = this.#decl(part);
        if (decl !== undefined) decls.push(decl);
        else if ((DECLS.has(word) || this.#isMisspelt(0, part)) && isName(part[1]))
          broken.push(this.#builder.name(part[1]!));
        else {
          this.#torn = true;
          if (word === "{") broken.push(...this.#lostImport([part[0]!, ...part]));
          if (word === "block") broken.push({ text: "", span: this.#span([part[0]!]) });
        }
      }
    }
    const torn = this.#torn || this.#parsing.skipped.length > 0;
    return { imports, decls, broken, torn, ...(edition === undefined ? {} : { edition }) };
  }

  /** What an import that could not be parsed may have been for: its names, and any block of the file that it names. */
  #lostImport(tokens: readonly IToken[]): ast.Name[] {
    const [path] = tokens.filter((token) => token.image.startsWith('"'));
    const names = tokens.slice(1).filter((token) => isName(token));
    const from = path === undefined ? [] : [{ text: path.image.replaceAll('"', ""), span: this.#span([path]) }];
    return [...names.map((token) => this.#builder.name(token)), ...from];
  }

  #misplaced(word: IToken): void {
    const found = `\`${word.image}\``;
    const help = "a file starts with its edition, then come imports, then declarations";
    this.#parsing.diagnostics.report("DSK0011", this.#span([word]), { found, where: "here" }, { help });
  }

  /** Editions, imports and declarations; what follows an edition or an import is a part of its own. */
  #parts(tokens: readonly IToken[]): IToken[][] {
    return this.#split(tokens, (i) => this.#beginsDecl(i, tokens)).flatMap((part) => {
      const word = isImport(0, part) ? "import" : part[0]!.image;
      const path = part.findIndex((t) => /^["']/.test(t.image));
      const end = word === "edition" ? 2 : word === "import" && path >= 0 ? path + 1 : part.length;
      return [part.slice(0, end), part.slice(end)].filter((p) => p.length > 0);
    });
  }

  /** Cuts tokens before each one that begins a part. */
  #split(tokens: readonly IToken[], begins: (index: number) => boolean): IToken[][] {
    const parts: IToken[][] = [];
    for (const [i, token] of tokens.entries()) {
      if (i === 0 || begins(i)) parts.push([token]);
      else parts.at(-1)!.push(token);
    }
    return parts;
  }

  #firstOnLine(i: number, tokens: readonly IToken[]): boolean {
    return i === 0 || tokens[i]!.startLine !== tokens[i - 1]!.endLine;
  }

  #beginsDecl(i: number, tokens: readonly IToken[]): boolean {
    if (!this.#firstOnLine(i, tokens)) return false;
    const [word, next, after] = [tokens[i]!.image, tokens[i + 1], tokens[i + 2]];
    if (word === "import" || isImport(i, tokens)) return true;
    if (word === "edition") return next?.tokenType.name === "Number";
    if (tokens[i]!.startColumn === 1 && this.#isMisspelt(i, tokens)) return true;
    if (!DECLS.has(word) || next === undefined || next.startLine !== tokens[i]!.startLine) return false;
    if (word === "block" || word === "model") return true;
    const behind = word === "signature" ? ["("] : ["{", "for", "from"];
    return isName(next) && behind.includes(after?.image ?? behind[0]!);
  }

  /** `parm w`, `retrun y`: no keyword in front of a name, at the start of a line. */
  #isMisspelt(i: number, tokens: readonly IToken[]): boolean {
    const [word, name] = [tokens[i]!, tokens[i + 1]];
    if (!this.#firstOnLine(i, tokens) || word.tokenType.name !== "Identifier") return false;
    return isName(name) && name!.startLine === word.endLine;
  }

  /** Reports the word that begins a part; gives the part with the word that was meant, if that is clear. */
  #corrected(expected: keyof typeof KEYWORDS, tokens: IToken[]): IToken[] {
    const [word, ...rest] = tokens as [IToken, ...IToken[]];
    const words = KEYWORDS[expected].split(" ");
    const help = didYouMean(word.image, words) ?? `it begins with ${words.join(", ")}`;
    this.#parsing.diagnostics.report("DSK0010", this.#span([word]), { expected, found: `\`${word.image}\`` }, { help });
    const [meant, second] = closest(word.image, words);
    if (meant === undefined || second !== undefined) return tokens;
    const tokenType = KEYWORD_TOKENS[meant]!;
    return [{ ...word, image: meant, tokenType, tokenTypeIdx: tokenType.tokenTypeIdx! }, ...rest];
  }

  /** The tree of a part, or its first error. */
  #parse(rule: RuleName, tokens: IToken[], quiet = false): CstNode | undefined {
    parser.input = tokens;
    const tree = parser[rule]();
    const [error] = parser.errors;
    if (error === undefined) return tree;
    if (!quiet) reportSyntax(error, tokens, this.#parsing);
    return undefined;
  }

  #span(tokens: readonly IToken[]): Span {
    return { file: this.#parsing.source, start: tokens[0]!.startOffset, end: tokens.at(-1)!.endOffset! + 1 };
  }

  #decl(tokens: IToken[]): ast.Decl | undefined {
    const whole = this.#parse("decl", tokens, true);
    if (whole !== undefined) return this.#builder.decl(whole);
    const kind = tokens[0]!.image;
    if (this.#isMisspelt(0, tokens)) {
      this.#corrected("a declaration", tokens);
      return undefined;
    }
    const open = tokens.findIndex((t) => t.image === "{");
    if (!DECLS.has(kind) || kind === "schema" || kind === "signature" || open < 0) {
      this.#parse("decl", tokens);
      return undefined;
    }
    const headRule = kind === "block" ? "blockHead" : kind === "model" ? "modelHead" : "sectionHead";
    const before = this.#parsing.missing.braces;
    const head = this.#parse(headRule, tokens.slice(0, open));
    // The first brace is one of the body: that of the head is missing.
    if (head === undefined && tokens[open]!.startLine !== tokens[0]!.startLine) this.#parsing.missing.braces++;
    const extra: IToken[] = [];
    const body = this.#insideOf(tokens, open, extra);
    // Nothing but the head, which is there again behind it.
    if (open === tokens.length - 1) return undefined;
    const span = this.#span(tokens);
    if (headRule === "sectionHead") {
      const entries = this.#entries(body);
      this.#extra(extra, before);
      return head === undefined ? undefined : this.#builder.section(head, entries, span, span);
    }
    const items = this.#items(body);
    this.#extra(extra, before);
    if (head === undefined) return undefined;
    return kind === "block" ? this.#builder.block(head, items, span) : this.#builder.model(head, items, span);
  }

  /** The tokens between a brace and the one that closes it; says so if there is none, or if more follows. */
  #insideOf(tokens: IToken[], open: number, later: IToken[] = []): IToken[] {
    let depth = 0;
    for (let i = open; i < tokens.length; i++) {
      depth += tokens[i]!.image === "{" ? 1 : tokens[i]!.image === "}" ? -1 : 0;
      if (depth > 0) continue;
      const extra = tokens[i + 1];
      if (extra === undefined) return tokens.slice(open + 1, i);
      later.push(extra);
      this.#torn = true;
      // A brace too many inside of the body: what follows it is part of the body.
      const rest = tokens.slice(i + 1);
      const isBody = rest.length > 1 && rest.at(-1)!.image === "}" && this.#closes(rest) < 0;
      return [...tokens.slice(open + 1, i), ...(isBody ? rest.slice(0, -1) : [])];
    }
    const closes = tokens.at(-1)!.image === "}" && tokens.length - 1 > open && !this.#closesInner(tokens, open);
    if (closes) return tokens.slice(open + 1, -1);
    this.#neverClosed(tokens[open]!);
    return tokens.slice(open + 1);
  }

  /** What follows the brace that closes a declaration; where a brace is missing inside of it, that is told. */
  #extra([extra]: readonly IToken[], before: number): void {
    if (extra === undefined || this.#parsing.missing.braces > before) return;
    const help = didYouMean(extra.image, DECLS);
    const found = { found: `\`${extra.image}\``, where: "here" };
    this.#parsing.diagnostics.report("DSK0011", this.#span([extra]), found, help === undefined ? {} : { help });
  }

  /** How many more braces open than close. */
  #closes(tokens: readonly IToken[]): number {
    return tokens.reduce((depth, { image }) => depth + (image === "{" ? 1 : image === "}" ? -1 : 0), 0);
  }

  /** True when the last brace closes an inner one although the outer one is indented less: the outer one is open. */
  #closesInner(tokens: readonly IToken[], open: number): boolean {
    const depth = this.#closes(tokens.slice(open));
    const [head, last] = [tokens[0]!, tokens.at(-1)!];
    return depth > 0 && last.startLine !== head.startLine && last.startColumn! > head.startColumn!;
  }

  #neverClosed(brace: IToken): void {
    this.#parsing.diagnostics.report(
      "DSK0015",
      this.#span([brace]),
      { bracket: brace.image },
      { help: "close it with `}`" },
    );
  }

  #items(tokens: IToken[]): ast.Item[] {
    let depth = 0;
    const begins = (i: number): boolean => {
      const [token, next] = [tokens[i]!, tokens[i + 1]];
      const first = this.#firstOnLine(i, tokens);
      const soft = SOFT_ITEMS.has(token.image);
      const within = !first && depth === 0 && isReserved(token.image) && endsValue(tokens[i - 1]!);
      const item = (first || within) && (soft ? next?.image !== "=" : ITEMS.has(token.image));
      if (item) depth = 0;
      const misspelt = depth === 0 && this.#isMisspelt(i, tokens);
      const setting = first && depth === 0 && isName(token) && next?.image === "=";
      // The word in front of it may be missing.
      const behind = first && i > 0 && endsValue(tokens[i - 1]!) && (next?.image === ":" || next?.image === "(");
      const bare = depth === 0 && isName(token) && behind;
      if (token.image === "{" || token.image === "(" || token.image === "[") depth++;
      if (token.image === "}" || token.image === ")" || token.image === "]") depth = Math.max(0, depth - 1);
      return item || setting || misspelt || bare;
    };
    if (tokens.length > 0) begins(0);
    return this.#split(tokens, begins).flatMap((part) => this.#item(part));
  }

  #item(part: IToken[]): ast.Item[] {
    const tokens = this.#isMisspelt(0, part) ? this.#corrected("an item of the block", part) : part;
    if (this.#isMisspelt(0, tokens)) return this.#standIn(tokens[1]!, tokens);
    const open = tokens.findIndex((t) => t.image === "{");
    const word = tokens[0]!.image;
    const code = (word === "fn" || word === "on") && open > 0;
    const tree = this.#parse("item", tokens, code);
    if (tree !== undefined) return [this.#builder.item(tree)];
    if (!code) return this.#unknownItem(tokens);
    const extra: IToken[] = [];
    const inside = this.#insideOf(tokens, open, extra);
    this.#extra(extra, this.#parsing.missing.braces);
    const isOpen = open + inside.length + 1 >= tokens.length;
    // Nothing but the head, which is there again behind it.
    if (isOpen && inside.length === 0) return [];
    const found = this.#statements(inside);
    const stmts = isOpen ? this.#returning(found, inside) : found;
    const body = { stmts, span: this.#span(tokens.slice(open)) };
    if (word === "on") {
      const event = tokens[1]!;
      if (open === 2 && isName(event))
        return [{ kind: "on", event: this.#builder.name(event), body, span: this.#span(tokens) }];
      this.#parse("item", tokens);
      return [];
    }
    const head = this.#parse("fnHead", tokens.slice(0, open));
    return head === undefined ? this.#unknownItem(tokens) : [this.#builder.fn(head, body, this.#span(tokens))];
  }

  /** An item that could not be parsed declares its name, as something that nothing is known of. */
  #unknownItem(tokens: readonly IToken[]): ast.Item[] {
    const [word, first, second] = tokens;
    // `w: [D]`, `f(x: [D])`: the word in front of it is missing.
    if (isName(word) && (first?.image === ":" || first?.image === "(")) return this.#standIn(word!, tokens);
    const name = word?.image === "extern" ? second : first;
    if (
      word === undefined ||
      !ITEMS.has(word.image) ||
      word.image === "expect" ||
      name === undefined ||
      !isName(name)
    ) {
      this.#torn = true;
      const declares = word !== undefined && NAMED.has(word.image);
      return declares ? [this.#nothing({ text: "", span: this.#span([word]) }, tokens)] : [];
    }
    return this.#standIn(name, tokens);
  }

  #standIn(name: IToken, tokens: readonly IToken[]): ast.Item[] {
    return [this.#nothing(this.#builder.name(name), tokens)];
  }

  /** Something of which nothing is known but its name; that is empty where the name is missing. */
  #nothing(name: ast.Name, tokens: readonly IToken[]): ast.Item {
    const span = this.#span(tokens);
    return { kind: "use", doc: undefined, name, value: { kind: "error", span }, span };
  }

  #statements(tokens: IToken[]): ast.Stmt[] {
    const begins = (i: number): boolean => {
      const [token, next] = [tokens[i]!, tokens[i + 1]];
      if (token.image === "return") return tokens[i - 1]?.image !== "let";
      if (!this.#firstOnLine(i, tokens)) return token.image === "let" && endsValue(tokens[i - 1]!);
      const misspelt = this.#isMisspelt(i, tokens) || isReturn(token, next);
      return STATEMENTS.has(token.image) || (isName(token) && next?.image === "=") || misspelt;
    };
    let lost: readonly IToken[] | undefined;
    const stmts = this.#split(tokens, begins).flatMap((found) => {
      const misspelt = this.#isMisspelt(0, found) || isReturn(found[0]!, found[1]);
      const part = misspelt ? this.#corrected("a statement", found) : found;
      if (this.#isMisspelt(0, part)) return this.#unknownStatement(part, "let");
      const tree = this.#parse("stmt", part);
      if (tree !== undefined) return [this.#builder.stmt(tree)];
      const unknown = this.#unknownStatement(part);
      if (unknown.length === 0) lost = part;
      return unknown;
    });
    return lost === undefined ? stmts : this.#returning(stmts, lost);
  }

  /** The statements of a body of which something is lost: that may have been what it returns. */
  #returning(stmts: readonly ast.Stmt[], lost: readonly IToken[]): ast.Stmt[] {
    if (stmts.some(({ kind }) => kind === "return")) return [...stmts];
    return [...stmts, ...this.#unknownStatement(lost, "return")];
  }

  #unknownStatement(tokens: readonly IToken[], word = tokens[0]!.image): ast.Stmt[] {
    const span = this.#span(tokens);
    const value: ast.Expr = { kind: "error", span };
    if (word === "return") return [{ kind: "return", value, span }];
    // `y[T] = ...`: the word in front of it is missing.
    if (!STATEMENTS.has(word) && isName(tokens[0]) && tokens[1]?.image === "[")
      return [this.#unknownLet(tokens[0]!, value, span)];
    if (!STATEMENTS.has(word)) return [];
    const end = tokens.findIndex((t) => t.image === "=");
    // `let (a, b) = ...`, or one name, which may have dims.
    const many = tokens[1]?.image === "(" ? tokens.slice(2, end < 0 ? 3 : end) : tokens.slice(1, 2);
    const names = many.filter((t, i) => isName(t) && (i === 0 || many[i - 1]!.image === ","));
    return names.map((name) => this.#unknownLet(name, value, span));
  }

  #unknownLet(name: IToken, value: ast.Expr, span: Span): ast.Stmt {
    const targets = [{ name: this.#builder.name(name), span: this.#span([name]) }];
    return { kind: "let", targets, tuple: false, value, span };
  }

  #entries(tokens: IToken[]): ast.Entry[] {
    let depth = 0;
    const begins = (i: number): boolean => {
      const [token, next] = [tokens[i]!, tokens[i + 1]];
      const top = depth === 0;
      if (token.image === "{") depth++;
      if (token.image === "}") depth = Math.max(0, depth - 1);
      if (!top || !(isName(token) || token.image === "expect")) return false;
      const sets = next?.image === "=" || (next?.image === "{" && !this.#isClock(i, tokens));
      if (!this.#firstOnLine(i, tokens)) return sets && endsValue(tokens[i - 1]!);
      return sets || token.image === "expect" || next?.tokenType.name === "Number" || this.#isMisspelt(i, tokens);
    };
    if (tokens.length > 0) begins(0);
    return this.#split(tokens, begins).flatMap((part) => this.#entry(part));
  }

  /** The name of a clock in `schedule by tokens {`, where the word in front of it may be misspelt. */
  #isClock(i: number, tokens: readonly IToken[]): boolean {
    const { startLine } = tokens[i]!;
    return [1, 2].some((back) => tokens[i - back]?.image === "schedule" && tokens[i - back]!.startLine === startLine);
  }

  #entry(tokens: IToken[]): ast.Entry[] {
    const group = tokens[1]?.image === "{" && isName(tokens[0]!);
    const tree = this.#parse("entry", tokens, group);
    if (tree !== undefined) return [this.#builder.entry(tree)];
    const [name] = tokens;
    if (name === undefined || !isName(name)) {
      this.#torn = true;
      return [];
    }
    const span = this.#span(tokens);
    // A line inside may be an entry that does not look like one.
    if (!group && tokens.some((_, i) => i > 0 && this.#firstOnLine(i, tokens))) this.#torn = true;
    if (!group)
      return [{ kind: "set", doc: undefined, name: this.#builder.name(name), value: { kind: "error", span }, span }];
    const extra: IToken[] = [];
    const entries = this.#entries(this.#insideOf(tokens, 1, extra));
    this.#extra(extra, this.#parsing.missing.braces);
    return [{ kind: "group", doc: undefined, name: this.#builder.name(name), body: { entries, span }, span }];
  }
}

/** True for a token that can be the last one of an item or an entry. `by` stands before the name of a clock. */
function endsValue({ image, tokenType }: IToken): boolean {
  if (image === "by" || isReserved(image)) return false;
  return /^[)\]}]$/.test(image) || /^[\w"]/.test(image) || tokenType.name === "Number";
}

/** `imprt { Mla } from "..."` */
function isImport(i: number, tokens: readonly IToken[]): boolean {
  const [word, brace] = [tokens[i]!, tokens[i + 1]];
  if (word.startColumn !== 1 || word.tokenType.name !== "Identifier" || brace?.image !== "{") return false;
  return closest(word.image, ["import"]).length > 0;
}

/** `retrun (x + y)` */
function isReturn(word: IToken, next: IToken | undefined): boolean {
  if (word.tokenType.name !== "Identifier" || next === undefined || next.image === "=") return false;
  return next.startLine === word.endLine && closest(word.image, ["return"]).length > 0;
}

function isName(token: IToken | undefined): boolean {
  if (token === undefined) return false;
  return (
    token.tokenType.name === "Identifier" ||
    ((token.tokenType.CATEGORIES?.length ?? 0) > 0 && !/^["']/.test(token.image))
  );
}

import type { CstNode, IToken } from "chevrotain";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "./ast.ts";
import type { AstBuilder } from "./build-ast.ts";
import { parser, type RuleName } from "./grammar.ts";
import { reportSyntax, type Parsing } from "./messages.ts";

/*
 * A file with errors is parsed in parts: declarations, their items, statements. The parts are found by the words that begin
 * them at the start of a line. Each part has at most one error, and what it would have declared stands for nothing that
 * is known, so that no error is only a consequence of another.
 */

const DECLS = new Set(["block", "model", "data", "train", "layout", "serve", "target", "schema", "signature"]);
const ITEMS = new Set(["dim", "param", "state", "cache", "use", "fn", "extern", "on", "expect"]);
/** Items whose word may be the name of a setting as well. */
const SOFT_ITEMS = new Set(["state", "cache", "extern", "on"]);
const STATEMENTS = new Set(["let", "metric", "loss"]);

export class Recovery {
  readonly #parsing: Parsing;
  readonly #builder: AstBuilder;

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
    for (const part of this.#parts(tokens)) {
      const word = part[0]!.image;
      if (word === "edition" ? order.size > 0 : word === "import" && order.has("decl")) this.#misplaced(part[0]!);
      order.add(DECLS.has(word) ? "decl" : word);
      if (word === "import") {
        const tree = this.#parse("importDecl", part);
        if (tree === undefined)
          broken.push(
            ...part
              .slice(1)
              .filter((t) => isName(t))
              .map((t) => this.#builder.name(t)),
          );
        else imports.push(this.#builder.import(tree));
      } else if (word === "edition") {
        const tree = this.#parse("edition", part);
        if (tree !== undefined) edition = this.#builder.edition(tree);
      } else {
        const decl = this.#decl(part);
        if (decl !== undefined) decls.push(decl);
        else if (part[1] !== undefined && isName(part[1])) broken.push(this.#builder.name(part[1]));
      }
    }
    return { imports, decls, broken, ...(edition === undefined ? {} : { edition }) };
  }

  #misplaced(word: IToken): void {
    const found = `\`${word.image}\``;
    const help = "a file starts with its edition, then come imports, then declarations";
    this.#parsing.diagnostics.report("DSK0011", this.#span([word]), { found, where: "here" }, { help });
  }

  /** Editions, imports and declarations; what follows an edition or an import is a part of its own. */
  #parts(tokens: readonly IToken[]): IToken[][] {
    return this.#split(tokens, (i) => this.#beginsDecl(i, tokens)).flatMap((part) => {
      const word = part[0]!.image;
      const path = part.findIndex((t) => t.tokenType.name === "Text" || t.tokenType.name === "OpenText");
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
    if (word === "import") return true;
    if (word === "edition") return next?.tokenType.name === "Number";
    if (!DECLS.has(word) || next === undefined || next.startLine !== tokens[i]!.startLine) return false;
    if (word === "block" || word === "model") return true;
    return isName(next) && ["{", "(", "for", "from"].includes(after?.image ?? "{");
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
    const open = tokens.findIndex((t) => t.image === "{");
    if (!DECLS.has(kind) || kind === "schema" || kind === "signature" || open < 0) {
      this.#parse("decl", tokens);
      return undefined;
    }
    const headRule = kind === "block" ? "blockHead" : kind === "model" ? "modelHead" : "sectionHead";
    const head = this.#parse(headRule, tokens.slice(0, open));
    const body = this.#insideOf(tokens, open);
    const span = this.#span(tokens);
    if (headRule === "sectionHead") {
      const entries = this.#entries(body);
      return head === undefined ? undefined : this.#builder.section(head, entries, span, span);
    }
    const items = this.#items(body);
    if (head === undefined) return undefined;
    return kind === "block" ? this.#builder.block(head, items, span) : this.#builder.model(head, items, span);
  }

  /** The tokens between a brace and the one that closes it; says so if there is none, or if more follows. */
  #insideOf(tokens: IToken[], open: number): IToken[] {
    let depth = 0;
    for (let i = open; i < tokens.length; i++) {
      depth += tokens[i]!.image === "{" ? 1 : tokens[i]!.image === "}" ? -1 : 0;
      if (depth > 0) continue;
      const extra = tokens[i + 1];
      if (extra !== undefined)
        this.#parsing.diagnostics.report("DSK0011", this.#span([extra]), {
          found: `\`${extra.image}\``,
          where: "here",
        });
      return tokens.slice(open + 1, i);
    }
    const closes = tokens.at(-1)!.image === "}" && tokens.length - 1 > open && !this.#closesInner(tokens, open);
    if (closes) return tokens.slice(open + 1, -1);
    this.#neverClosed(tokens[open]!);
    return tokens.slice(open + 1);
  }

  /** True when the last brace closes an inner one although the outer one is indented less: the outer one is open. */
  #closesInner(tokens: readonly IToken[], open: number): boolean {
    let depth = 0;
    for (const token of tokens.slice(open)) depth += token.image === "{" ? 1 : token.image === "}" ? -1 : 0;
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
      const item = first && (soft ? next?.image !== "=" : ITEMS.has(token.image));
      if (item) depth = 0;
      const setting = first && depth === 0 && isName(token) && next?.image === "=";
      if (token.image === "{" || token.image === "(" || token.image === "[") depth++;
      if (token.image === "}" || token.image === ")" || token.image === "]") depth = Math.max(0, depth - 1);
      return item || setting;
    };
    if (tokens.length > 0) begins(0);
    return this.#split(tokens, begins).flatMap((part) => this.#item(part));
  }

  #item(tokens: IToken[]): ast.Item[] {
    const open = tokens.findIndex((t) => t.image === "{");
    const word = tokens[0]!.image;
    const code = (word === "fn" || word === "on") && open > 0;
    const tree = this.#parse("item", tokens, code);
    if (tree !== undefined) return [this.#builder.item(tree)];
    if (!code) return this.#unknownItem(tokens);
    const stmts = this.#statements(this.#insideOf(tokens, open));
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
    const name = word?.image === "extern" ? second : first;
    if (word === undefined || !ITEMS.has(word.image) || word.image === "expect" || name === undefined || !isName(name))
      return [];
    const span = this.#span(tokens);
    return [{ kind: "use", doc: undefined, name: this.#builder.name(name), value: { kind: "error", span }, span }];
  }

  #statements(tokens: IToken[]): ast.Stmt[] {
    const begins = (i: number): boolean => {
      const [token, next] = [tokens[i]!, tokens[i + 1]];
      if (token.image === "return") return tokens[i - 1]?.image !== "let";
      if (!this.#firstOnLine(i, tokens)) return false;
      return STATEMENTS.has(token.image) || (isName(token) && next?.image === "=");
    };
    return this.#split(tokens, begins).flatMap((part) => {
      const tree = this.#parse("stmt", part);
      return tree === undefined ? this.#unknownStatement(part) : [this.#builder.stmt(tree)];
    });
  }

  #unknownStatement(tokens: readonly IToken[]): ast.Stmt[] {
    const span = this.#span(tokens);
    const value: ast.Expr = { kind: "error", span };
    const [first] = tokens;
    if (first!.image === "return") return [{ kind: "return", value, span }];
    if (!STATEMENTS.has(first!.image)) return [];
    const end = tokens.findIndex((t) => t.image === "=");
    const names = tokens
      .slice(1, end < 0 ? 2 : end)
      .filter((t, i, all) => isName(t) && (i === 0 || all[i - 1]!.image === "(" || all[i - 1]!.image === ","));
    return names.map((t): ast.Stmt => ({
      kind: "let",
      targets: [{ name: this.#builder.name(t), span: this.#span([t]) }],
      tuple: false,
      value,
      span,
    }));
  }

  #entries(tokens: IToken[]): ast.Entry[] {
    let depth = 0;
    const begins = (i: number): boolean => {
      const [token, next] = [tokens[i]!, tokens[i + 1]];
      const first = this.#firstOnLine(i, tokens) && depth === 0;
      if (token.image === "{") depth++;
      if (token.image === "}") depth = Math.max(0, depth - 1);
      return (
        first &&
        isName(token) &&
        (token.image === "expect" || next?.image === "=" || next?.image === "{" || next?.tokenType.name === "Number")
      );
    };
    if (tokens.length > 0) begins(0);
    return this.#split(tokens, begins).flatMap((part) => this.#entry(part));
  }

  #entry(tokens: IToken[]): ast.Entry[] {
    const group = tokens[1]?.image === "{" && isName(tokens[0]!);
    const tree = this.#parse("entry", tokens, group);
    if (tree !== undefined) return [this.#builder.entry(tree)];
    const [name] = tokens;
    if (name === undefined || !isName(name)) return [];
    const span = this.#span(tokens);
    if (!group)
      return [{ kind: "set", doc: undefined, name: this.#builder.name(name), value: { kind: "error", span }, span }];
    const entries = this.#entries(this.#insideOf(tokens, 1));
    return [{ kind: "group", doc: undefined, name: this.#builder.name(name), body: { entries, span }, span }];
  }
}

function isName(token: IToken | undefined): boolean {
  if (token === undefined) return false;
  return (
    token.tokenType.name === "Identifier" || ((token.tokenType.CATEGORIES?.length ?? 0) > 0 && token.image[0] !== '"')
  );
}

import { messages } from "./messages.ts";
import { CstParser, EOF, type CstNode, type ParserMethod, type TokenType } from "chevrotain";
import * as t from "./tokens.ts";

const k = (word: string): TokenType => t.KEYWORDS[word]!;

type Rule = ParserMethod<[], CstNode>;

/**
 * The grammar: LL(2), no backtracking. Newlines mean nothing. The parser stops at its first error; `recover.ts` finds the
 * others by parsing the parts of the file one by one.
 */
class DskParser extends CstParser {
  constructor() {
    super(t.TOKENS, {
      maxLookahead: 2,
      recoveryEnabled: false,
      errorMessageProvider: messages,
      nodeLocationTracking: "onlyOffset",
      skipValidations: true,
    });
    this.performSelfAnalysis();
  }

  #is(offset: number, type: TokenType): boolean {
    return this.LA(offset).tokenType === type;
  }

  // ---- files and declarations

  readonly file: Rule = this.RULE("file", () => {
    this.OPTION(() => this.SUBRULE(this.edition));
    this.MANY(() => this.SUBRULE(this.importDecl));
    this.MANY1(() => this.SUBRULE(this.decl));
    this.CONSUME(EOF);
  });

  readonly edition: Rule = this.RULE("edition", () => {
    this.CONSUME(k("edition"));
    this.CONSUME(t.Number);
  });

  readonly importDecl: Rule = this.RULE("importDecl", () => {
    this.CONSUME(k("import"));
    this.CONSUME(t.LeftBrace);
    this.MANY_SEP({ SEP: t.Comma, DEF: () => this.SUBRULE(this.imported) });
    this.CONSUME(t.RightBrace);
    this.CONSUME(k("from"));
    this.CONSUME(t.Text);
  });

  readonly imported: Rule = this.RULE("imported", () => {
    this.CONSUME(t.Name, { LABEL: "name" });
    this.OPTION(() => {
      this.CONSUME(k("as"));
      this.CONSUME1(t.Name, { LABEL: "as" });
    });
  });

  readonly decl: Rule = this.RULE("decl", () => {
    this.OR([
      { ALT: () => this.SUBRULE(this.block) },
      { ALT: () => this.SUBRULE(this.model) },
      { ALT: () => this.SUBRULE(this.schema) },
      { ALT: () => this.SUBRULE(this.signature) },
      { ALT: () => this.SUBRULE(this.section) },
    ]);
  });

  readonly block: Rule = this.RULE("block", () => {
    this.SUBRULE(this.blockHead);
    this.SUBRULE(this.body);
  });

  readonly blockHead: Rule = this.RULE("blockHead", () => {
    this.CONSUME(k("block"));
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.formals));
    this.OPTION1(() => this.SUBRULE(this.params));
    this.OPTION2(() => {
      this.CONSUME(k("extends"));
      this.SUBRULE(this.expr);
    });
  });

  readonly model: Rule = this.RULE("model", () => {
    this.SUBRULE(this.modelHead);
    this.SUBRULE(this.body);
  });

  readonly modelHead: Rule = this.RULE("modelHead", () => {
    this.CONSUME(k("model"));
    this.CONSUME(t.Name);
    this.OPTION(() => {
      this.CONSUME(k("extends"));
      this.SUBRULE(this.expr);
    });
  });

  readonly formals: Rule = this.RULE("formals", () => {
    this.CONSUME(t.LeftBracket);
    this.MANY_SEP({ SEP: t.Comma, DEF: () => this.SUBRULE(this.formal) });
    this.CONSUME(t.RightBracket);
  });

  readonly formal: Rule = this.RULE("formal", () => {
    this.OR([{ ALT: () => this.CONSUME(t.DotDot) }, { ALT: () => this.CONSUME(t.Name) }]);
  });

  readonly params: Rule = this.RULE("params", () => {
    this.CONSUME(t.LeftParen);
    this.MANY_SEP({ SEP: t.Comma, DEF: () => this.SUBRULE(this.param) });
    this.CONSUME(t.RightParen);
  });

  readonly param: Rule = this.RULE("param", () => {
    this.CONSUME(t.Name);
    this.CONSUME(t.Colon);
    this.SUBRULE(this.type);
    this.OPTION(() => {
      this.CONSUME(t.Equal);
      this.SUBRULE(this.expr);
    });
  });

  readonly section: Rule = this.RULE("section", () => {
    this.SUBRULE(this.sectionHead);
    this.SUBRULE(this.sectionBody);
  });

  readonly sectionHead: Rule = this.RULE("sectionHead", () => {
    this.OR(
      ["data", "train", "layout", "serve", "target"].map((word) => ({
        ALT: () => this.CONSUME(k(word), { LABEL: "kind" }),
      })),
    );
    this.CONSUME(t.Name, { LABEL: "name" });
    this.OPTION(() => {
      this.CONSUME(k("for"));
      this.CONSUME1(t.Name, { LABEL: "for" });
    });
    this.OPTION1(() => {
      this.CONSUME(k("from"));
      this.CONSUME2(t.Name, { LABEL: "from" });
    });
  });

  readonly sectionBody: Rule = this.RULE("sectionBody", () => {
    this.CONSUME(t.LeftBrace);
    this.MANY(() => this.SUBRULE(this.entry));
    this.CONSUME(t.RightBrace);
  });

  readonly entry: Rule = this.RULE("entry", () => {
    this.OR([
      { ALT: () => this.SUBRULE(this.expectItem) },
      {
        ALT: () => {
          this.CONSUME(t.Name);
          this.OR1([
            {
              ALT: () => {
                this.CONSUME(t.Equal);
                this.SUBRULE(this.expr);
              },
            },
            { ALT: () => this.SUBRULE(this.sectionBody) },
          ]);
        },
      },
    ]);
  });

  readonly schema: Rule = this.RULE("schema", () => {
    this.CONSUME(k("schema"));
    this.CONSUME(t.Name);
    this.SUBRULE(this.schemaBody);
  });

  readonly schemaBody: Rule = this.RULE("schemaBody", () => {
    this.CONSUME(t.LeftBrace);
    this.MANY(() => this.SUBRULE(this.schemaField));
    this.CONSUME(t.RightBrace);
  });

  readonly schemaField: Rule = this.RULE("schemaField", () => {
    this.CONSUME(t.Name);
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.Colon);
          this.SUBRULE(this.expr, { LABEL: "type" });
          this.OPTION(() => {
            this.CONSUME(t.Equal);
            this.SUBRULE1(this.expr, { LABEL: "value" });
          });
        },
      },
      { ALT: () => this.SUBRULE(this.schemaBody) },
    ]);
  });

  readonly signature: Rule = this.RULE("signature", () => {
    this.CONSUME(k("signature"));
    this.CONSUME(t.Name);
    this.CONSUME(t.LeftParen);
    this.MANY_SEP({ SEP: t.Comma, DEF: () => this.SUBRULE(this.signatureParam) });
    this.CONSUME(t.RightParen);
    this.CONSUME(t.Arrow);
    this.SUBRULE(this.expr);
  });

  readonly signatureParam: Rule = this.RULE("signatureParam", () => {
    this.CONSUME(t.Name);
    this.CONSUME(t.Colon);
    this.SUBRULE(this.expr, { LABEL: "type" });
    this.OPTION(() => {
      this.CONSUME(t.Equal);
      this.SUBRULE1(this.expr, { LABEL: "value" });
    });
  });

  // ---- bodies of blocks and models

  readonly body: Rule = this.RULE("body", () => {
    this.CONSUME(t.LeftBrace);
    this.MANY(() => this.SUBRULE(this.item));
    this.CONSUME(t.RightBrace);
  });

  /** `state`, `cache` and `on` begin an item unless `=` follows: then they are the name of a setting. */
  readonly item: Rule = this.RULE("item", () => {
    const keyword = (): boolean => this.#is(1, k("param")) || !this.#is(2, t.Equal);
    this.OR([
      { ALT: () => this.SUBRULE(this.dimItem) },
      { GATE: keyword, ALT: () => this.SUBRULE(this.storeItem) },
      { ALT: () => this.SUBRULE(this.useItem) },
      { ALT: () => this.SUBRULE(this.fnItem) },
      { ALT: () => this.SUBRULE(this.externItem) },
      { GATE: keyword, ALT: () => this.SUBRULE(this.onItem) },
      { ALT: () => this.SUBRULE(this.expectItem) },
      { ALT: () => this.SUBRULE(this.assignment) },
    ]);
  });

  readonly dimItem: Rule = this.RULE("dimItem", () => {
    this.CONSUME(k("dim"));
    this.CONSUME(t.Name);
    this.CONSUME(t.Equal);
    this.SUBRULE(this.expr);
  });

  readonly storeItem: Rule = this.RULE("storeItem", () => {
    this.OR(["param", "state", "cache"].map((word) => ({ ALT: () => this.CONSUME(k(word), { LABEL: "kind" }) })));
    this.CONSUME(t.Name, { LABEL: "name" });
    this.CONSUME(t.Colon);
    this.SUBRULE(this.type);
    this.OPTION(() => {
      this.CONSUME(t.Equal);
      this.SUBRULE(this.expr);
    });
  });

  readonly useItem: Rule = this.RULE("useItem", () => {
    this.CONSUME(k("use"));
    this.CONSUME(t.Name, { LABEL: "name" });
    this.CONSUME(t.Equal);
    this.SUBRULE(this.expr);
    this.OPTION(() => {
      this.CONSUME(k("over"));
      this.CONSUME1(t.Name, { LABEL: "over" });
    });
  });

  readonly fnItem: Rule = this.RULE("fnItem", () => {
    this.SUBRULE(this.fnHead);
    this.SUBRULE(this.code);
  });

  readonly fnHead: Rule = this.RULE("fnHead", () => {
    this.CONSUME(k("fn"));
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.formals));
    this.SUBRULE(this.params);
    this.OPTION1(() => {
      this.CONSUME(t.Arrow);
      this.SUBRULE(this.type);
    });
  });

  readonly externItem: Rule = this.RULE("externItem", () => {
    this.CONSUME(k("extern"));
    this.CONSUME(k("kernel"));
    this.CONSUME(t.Name);
    this.SUBRULE(this.params);
    this.OPTION(() => {
      this.CONSUME(t.Arrow);
      this.SUBRULE(this.type);
    });
    this.CONSUME(t.LeftBrace);
    this.MANY(() => this.SUBRULE(this.assignment));
    this.CONSUME(t.RightBrace);
  });

  readonly onItem: Rule = this.RULE("onItem", () => {
    this.CONSUME(k("on"));
    this.CONSUME(t.Name);
    this.SUBRULE(this.code);
  });

  readonly expectItem: Rule = this.RULE("expectItem", () => {
    this.CONSUME(k("expect"));
    this.SUBRULE(this.sum, { LABEL: "left" });
    this.CONSUME(t.EqualEqual);
    this.SUBRULE1(this.sum, { LABEL: "right" });
    this.OPTION(() => {
      this.CONSUME(k("within"));
      this.CONSUME(t.Number);
    });
  });

  readonly assignment: Rule = this.RULE("assignment", () => {
    this.CONSUME(t.Name);
    this.CONSUME(t.Equal);
    this.SUBRULE(this.expr);
  });

  // ---- types

  readonly type: Rule = this.RULE("type", () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.LeftParen);
          this.AT_LEAST_ONE_SEP({ SEP: t.Comma, DEF: () => this.SUBRULE(this.type) });
          this.CONSUME(t.RightParen);
        },
      },
      { ALT: () => this.SUBRULE(this.dims) },
      {
        ALT: () => {
          this.CONSUME(t.Name);
          this.OPTION(() => this.SUBRULE1(this.dims));
        },
      },
    ]);
  });

  readonly dims: Rule = this.RULE("dims", () => {
    this.CONSUME(t.LeftBracket);
    this.MANY_SEP({ SEP: t.Comma, DEF: () => this.SUBRULE(this.typeDim) });
    this.CONSUME(t.RightBracket);
  });

  readonly typeDim: Rule = this.RULE("typeDim", () => {
    this.OR([{ ALT: () => this.CONSUME(t.DotDot) }, { ALT: () => this.SUBRULE(this.expr) }]);
  });

  // ---- code

  readonly code: Rule = this.RULE("code", () => {
    this.CONSUME(t.LeftBrace);
    this.MANY(() => this.SUBRULE(this.stmt));
    this.CONSUME(t.RightBrace);
  });

  readonly stmt: Rule = this.RULE("stmt", () => {
    this.OR([
      {
        GATE: () => this.#is(1, k("let")) || !this.#is(2, t.Equal),
        ALT: () => this.SUBRULE(this.letStmt),
      },
      { ALT: () => this.SUBRULE(this.returnStmt) },
      { ALT: () => this.SUBRULE(this.assignment) },
    ]);
  });

  readonly letStmt: Rule = this.RULE("letStmt", () => {
    this.OR(["let", "metric", "loss"].map((word) => ({ ALT: () => this.CONSUME(k(word), { LABEL: "kind" }) })));
    this.OR1([
      { ALT: () => this.SUBRULE(this.letTarget) },
      {
        ALT: () => {
          this.CONSUME(t.LeftParen);
          this.AT_LEAST_ONE_SEP({ SEP: t.Comma, DEF: () => this.SUBRULE1(this.letTarget) });
          this.CONSUME(t.RightParen);
        },
      },
    ]);
    this.CONSUME(t.Equal);
    this.SUBRULE(this.expr);
  });

  readonly letTarget: Rule = this.RULE("letTarget", () => {
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.dims));
  });

  readonly returnStmt: Rule = this.RULE("returnStmt", () => {
    this.CONSUME(k("return"));
    this.SUBRULE(this.expr);
  });

  // ---- expressions, loosest first

  readonly expr: Rule = this.RULE("expr", () => {
    this.SUBRULE(this.comparison, { LABEL: "operand" });
    this.MANY(() => {
      this.OR([
        { ALT: () => this.CONSUME(t.Bar, { LABEL: "op" }) },
        { ALT: () => this.CONSUME(t.And, { LABEL: "op" }) },
      ]);
      this.SUBRULE1(this.comparison, { LABEL: "operand" });
    });
  });

  readonly comparison: Rule = this.RULE("comparison", () => {
    this.SUBRULE(this.sum, { LABEL: "operand" });
    this.MANY(() => {
      this.OR(
        [t.Less, t.LessEqual, t.Greater, t.GreaterEqual, t.EqualEqual, t.NotEqual].map((type) => ({
          ALT: () => this.CONSUME(type, { LABEL: "op" }),
        })),
      );
      this.SUBRULE1(this.sum, { LABEL: "operand" });
    });
  });

  readonly sum: Rule = this.RULE("sum", () => {
    this.SUBRULE(this.product, { LABEL: "operand" });
    this.MANY(() => {
      this.OR([
        { ALT: () => this.CONSUME(t.Plus, { LABEL: "op" }) },
        { ALT: () => this.CONSUME(t.Minus, { LABEL: "op" }) },
      ]);
      this.SUBRULE1(this.product, { LABEL: "operand" });
    });
  });

  readonly product: Rule = this.RULE("product", () => {
    this.SUBRULE(this.join, { LABEL: "operand" });
    this.MANY(() => {
      this.OR([
        { ALT: () => this.CONSUME(t.Star, { LABEL: "op" }) },
        { ALT: () => this.CONSUME(t.Slash, { LABEL: "op" }) },
      ]);
      this.SUBRULE1(this.join, { LABEL: "operand" });
    });
  });

  readonly join: Rule = this.RULE("join", () => {
    this.SUBRULE(this.unary, { LABEL: "operand" });
    this.MANY(() => {
      this.CONSUME(t.At, { LABEL: "op" });
      this.SUBRULE1(this.unary, { LABEL: "operand" });
    });
  });

  /** `-x ^ 2` is `-(x ^ 2)`; the right operand of `^` may have a sign: `N ^ -0.5`. */
  readonly unary: Rule = this.RULE("unary", () => {
    this.MANY(() => {
      this.OR([
        { ALT: () => this.CONSUME(t.Plus, { LABEL: "sign" }) },
        { ALT: () => this.CONSUME(t.Minus, { LABEL: "sign" }) },
      ]);
    });
    this.SUBRULE(this.postfix);
    this.OPTION(() => {
      this.CONSUME(t.Caret);
      this.SUBRULE(this.unary);
    });
  });

  readonly postfix: Rule = this.RULE("postfix", () => {
    this.SUBRULE(this.atom);
    this.MANY(() => this.SUBRULE(this.suffix));
  });

  readonly suffix: Rule = this.RULE("suffix", () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.Dot);
          this.CONSUME(t.Name);
        },
      },
      { ALT: () => this.SUBRULE(this.dims) },
      {
        ALT: () => {
          this.CONSUME(t.LeftParen);
          this.MANY_SEP({ SEP: t.Comma, DEF: () => this.SUBRULE(this.arg) });
          this.CONSUME(t.RightParen);
        },
      },
    ]);
  });

  readonly arg: Rule = this.RULE("arg", () => {
    this.OPTION({
      GATE: () => this.#is(2, t.Colon),
      DEF: () => {
        this.CONSUME(t.Name);
        this.CONSUME(t.Colon);
      },
    });
    this.SUBRULE(this.expr);
  });

  readonly atom: Rule = this.RULE("atom", () => {
    this.OR([
      { ALT: () => this.CONSUME(t.Number) },
      { ALT: () => this.CONSUME(t.Text) },
      { GATE: () => this.#is(2, k("by")), ALT: () => this.SUBRULE(this.schedule) },
      { GATE: () => this.#is(2, t.LeftBrace), ALT: () => this.SUBRULE(this.stack) },
      // A value that is missing at the end of an item is not the `dim` of the next one.
      { GATE: () => !this.#is(1, k("dim")), ALT: () => this.CONSUME(t.Name) },
      { ALT: () => this.SUBRULE(this.parens) },
      { ALT: () => this.SUBRULE(this.list) },
    ]);
  });

  readonly parens: Rule = this.RULE("parens", () => {
    this.CONSUME(t.LeftParen);
    this.AT_LEAST_ONE_SEP({ SEP: t.Comma, DEF: () => this.SUBRULE(this.expr) });
    this.CONSUME(t.RightParen);
  });

  readonly list: Rule = this.RULE("list", () => {
    this.CONSUME(t.LeftBracket);
    this.MANY_SEP({ SEP: t.Comma, DEF: () => this.SUBRULE(this.expr) });
    this.CONSUME(t.RightBracket);
  });

  readonly schedule: Rule = this.RULE("schedule", () => {
    this.CONSUME(k("schedule"));
    this.CONSUME(k("by"));
    this.CONSUME(t.Name);
    this.CONSUME(t.LeftBrace);
    this.MANY(() => this.SUBRULE(this.piece));
    this.CONSUME(t.RightBrace);
  });

  readonly piece: Rule = this.RULE("piece", () => {
    this.CONSUME(t.DotDot);
    this.OR([{ ALT: () => this.CONSUME(t.Number) }, { ALT: () => this.CONSUME(k("end")) }]);
    this.CONSUME(t.FatArrow);
    this.SUBRULE(this.expr);
  });

  readonly stack: Rule = this.RULE("stack", () => {
    this.CONSUME(k("stack"));
    this.CONSUME(t.LeftBrace);
    this.MANY(() => this.SUBRULE(this.layers));
    this.CONSUME(t.RightBrace);
  });

  readonly layers: Rule = this.RULE("layers", () => {
    this.SUBRULE(this.postfix, { LABEL: "count" });
    this.CONSUME(k("of"));
    this.SUBRULE(this.expr, { LABEL: "of" });
  });
}

export const parser: DskParser = new DskParser();
export type RuleName =
  | ("file" | "edition" | "importDecl" | "decl" | "blockHead" | "modelHead" | "sectionHead")
  | ("item" | "fnHead" | "stmt" | "entry");

import type { CstNode, IToken } from "chevrotain";
import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { cover, type SourceFile, type Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "./ast.ts";
import { quantityOf } from "./numbers.ts";

/** Operators in a row, suffixes in a row and signs in a row that one expression may have. */
const LONGEST = 500;

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", '"': '"', "\\": "\\" };

/** Makes expressions of the typed AST from the parser's trees. */
export class Expressions {
  readonly source: SourceFile;
  readonly diagnostics: Diagnostics;

  constructor(source: SourceFile, diagnostics: Diagnostics) {
    this.source = source;
    this.diagnostics = diagnostics;
  }

  // ---- trees

  nodes(node: CstNode, name: string): CstNode[] {
    return (node.children[name] ?? []) as CstNode[];
  }

  node(node: CstNode, name: string): CstNode {
    const found = node.children[name]?.[0];
    if (found === undefined) throw new Error(`${node.name} has no ${name}`);
    return found as CstNode;
  }

  optional(node: CstNode, name: string): CstNode | undefined {
    return node.children[name]?.[0] as CstNode | undefined;
  }

  tokens(node: CstNode, name: string): IToken[] {
    return (node.children[name] ?? []) as IToken[];
  }

  token(node: CstNode, name: string): IToken {
    const found = node.children[name]?.[0];
    if (found === undefined) throw new Error(`${node.name} has no ${name}`);
    return found as IToken;
  }

  span(node: CstNode): Span {
    const { startOffset, endOffset } = node.location!;
    return { file: this.source, start: startOffset, end: endOffset! + 1 };
  }

  tokenSpan(token: IToken): Span {
    return { file: this.source, start: token.startOffset, end: token.endOffset! + 1 };
  }

  name(token: IToken): ast.Name {
    return { text: token.image, span: this.tokenSpan(token) };
  }

  quantity(token: IToken): ast.Quantity {
    return quantityOf(token, this.tokenSpan(token), this.diagnostics);
  }

  text(token: IToken): ast.Str {
    const span = this.tokenSpan(token);
    if (token.tokenType.name === "QuotedText") {
      const value = token.image.slice(1, -1);
      const [title, text] = ['write `"`', JSON.stringify(value)];
      this.diagnostics.report(
        "DSK0001",
        span,
        { text: "`'`" },
        { help: 'strings stand between `"`', fix: { title, span, text } },
      );
      return { kind: "string", value, span };
    }
    const open = token.tokenType.name === "OpenText";
    if (open) this.diagnostics.report("DSK0002", span, {}, { help: 'close it with `"`' });
    const inner = token.image.slice(1, open ? undefined : -1);
    const value = inner.replace(/\\(.?)/g, (all, char: string) => {
      const found = ESCAPES[char];
      if (found === undefined && !open)
        this.diagnostics.report(
          "DSK0006",
          span,
          { text: all },
          { help: 'the escapes are `\\"`, `\\\\`, `\\n` and `\\t`' },
        );
      return found ?? char;
    });
    return { kind: "string", value, span };
  }

  // ---- expressions

  /** Any of the levels from `expr` down to `unary`. */
  expr(node: CstNode): ast.Expr {
    if (node.name === "unary") return this.#unary(node);
    if (node.name === "postfix") return this.#postfix(node);
    const operands = this.nodes(node, "operand");
    const ops = this.tokens(node, "op").toSorted((a, b) => a.startOffset - b.startOffset);
    if (ops.length > LONGEST) return this.#tooLong(node);
    if (node.name === "comparison" && ops.length > 1) {
      this.diagnostics.report(
        "DSK0014",
        this.tokenSpan(ops[1]!),
        {},
        { help: "join two comparisons by `&`: `(a < b) & (b < c)`" },
      );
      return { kind: "error", span: this.span(node) };
    }
    let left = this.expr(operands[0]!);
    for (const [i, op] of ops.entries()) {
      const right = this.expr(operands[i + 1]!);
      left = {
        kind: "binary",
        op: op.image as ast.BinaryOp,
        opSpan: this.tokenSpan(op),
        left,
        right,
        span: cover(left.span, right.span),
      };
    }
    return left;
  }

  #tooLong(node: CstNode): ast.Expr {
    const span = this.span(node);
    this.diagnostics.report("DSK0017", span, { limit: LONGEST }, { help: "name parts of it with `let`" });
    return { kind: "error", span };
  }

  #unary(node: CstNode): ast.Expr {
    let value = this.#postfix(this.node(node, "postfix"));
    const power = this.tokens(node, "Caret")[0];
    if (power !== undefined) {
      const right = this.#unary(this.node(node, "unary"));
      value = {
        kind: "binary",
        op: "^",
        opSpan: this.tokenSpan(power),
        left: value,
        right,
        span: cover(value.span, right.span),
      };
    }
    const signs = this.tokens(node, "sign");
    if (signs.length > LONGEST) return this.#tooLong(node);
    for (const sign of signs.toSorted((a, b) => b.startOffset - a.startOffset)) {
      value = {
        kind: "unary",
        op: sign.image as "+" | "-",
        operand: value,
        span: cover(this.tokenSpan(sign), value.span),
      };
    }
    return value;
  }

  #postfix(node: CstNode): ast.Expr {
    const suffixes = this.nodes(node, "suffix");
    if (suffixes.length > LONGEST) return this.#tooLong(node);
    let value = this.#atom(this.node(node, "atom"));
    for (const suffix of suffixes) {
      const span = cover(value.span, this.span(suffix));
      const member = this.tokens(suffix, "Name")[0];
      const dims = this.optional(suffix, "dims");
      if (member !== undefined) value = { kind: "member", object: value, name: this.name(member), span };
      else if (dims !== undefined) value = { kind: "index", object: value, dims: this.dims(dims), span };
      else value = { kind: "call", callee: value, args: this.nodes(suffix, "arg").map((a) => this.#arg(a)), span };
    }
    return value;
  }

  #arg(node: CstNode): ast.Arg {
    const name = this.tokens(node, "Name")[0];
    return {
      ...(name === undefined ? {} : { name: this.name(name) }),
      value: this.expr(this.node(node, "expr")),
      span: this.span(node),
    };
  }

  dims(node: CstNode): ast.TypeDim[] {
    return this.nodes(node, "typeDim").map((dim) => {
      const span = this.span(dim);
      const value = this.optional(dim, "expr");
      return value === undefined ? { kind: "rest", span } : { kind: "dim", value: this.expr(value), span };
    });
  }

  #atom(node: CstNode): ast.Expr {
    const [kind] = Object.keys(node.children);
    const [inner] = node.children[kind!]!;
    const span = this.span(node);
    switch (kind) {
      case "Number":
        return this.quantity(inner as IToken);
      case "Text":
        return this.text(inner as IToken);
      case "schedule":
        return this.#schedule(inner as CstNode);
      case "stack":
        return this.#stack(inner as CstNode);
      case "parens": {
        const items = this.nodes(inner as CstNode, "expr").map((e) => this.expr(e));
        return items.length === 1 ? { kind: "paren", inner: items[0]!, span } : { kind: "tuple", items, span };
      }
      case "list":
        return { kind: "list", items: this.nodes(inner as CstNode, "expr").map((e) => this.expr(e)), span };
      default:
        return { kind: "name", name: (inner as IToken).image, span };
    }
  }

  #schedule(node: CstNode): ast.Expr {
    const pieces = this.nodes(node, "piece").map((piece) => {
      const until = this.tokens(piece, "Number")[0];
      return {
        ...(until === undefined ? {} : { until: this.quantity(until) }),
        value: this.expr(this.node(piece, "expr")),
        span: this.span(piece),
      };
    });
    return { kind: "schedule", by: this.name(this.token(node, "Name")), pieces, span: this.span(node) };
  }

  #stack(node: CstNode): ast.Expr {
    const layers = this.nodes(node, "layers").map((layer) => ({
      count: this.#postfix(this.node(layer, "count")),
      of: this.expr(this.node(layer, "of")),
      span: this.span(layer),
    }));
    return { kind: "stack", layers, span: this.span(node) };
  }
}

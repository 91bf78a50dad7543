import type { CstNode } from "chevrotain";
import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import type { SourceFile, Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "./ast.ts";
import { Expressions } from "./build-expr.ts";
import type { Docs } from "./docs.ts";

/** Makes the typed AST of declarations and their parts from the parser's trees. */
export class AstBuilder extends Expressions {
  readonly #docs: Docs;

  constructor(source: SourceFile, docs: Docs, diagnostics: Diagnostics) {
    super(source, diagnostics);
    this.#docs = docs;
  }

  edition(node: CstNode): NonNullable<ast.File["edition"]> {
    const year = this.quantity(this.token(node, "Number"));
    if (year.value !== 2026) {
      this.diagnostics.report("DSK0016", year.span, { year: year.text }, { help: "write `edition 2026`" });
    }
    return { year, span: this.span(node) };
  }

  import(node: CstNode): ast.Import {
    const names = this.nodes(node, "imported").map((item) => {
      const as = this.tokens(item, "as")[0];
      return { name: this.name(this.token(item, "name")), ...(as === undefined ? {} : { as: this.name(as) }) };
    });
    return { names, from: this.text(this.token(node, "Text")), span: this.span(node) };
  }

  decl(node: CstNode): ast.Decl {
    const [kind] = Object.keys(node.children);
    const inner = this.node(node, kind!);
    switch (kind) {
      case "block":
        return this.block(this.node(inner, "blockHead"), this.items(this.node(inner, "body")), this.span(inner));
      case "model":
        return this.model(this.node(inner, "modelHead"), this.items(this.node(inner, "body")), this.span(inner));
      case "schema":
        return {
          kind: "schema",
          doc: this.#doc(inner),
          name: this.#name(inner),
          fields: this.#fields(this.node(inner, "schemaBody")),
          span: this.span(inner),
        };
      case "signature":
        return this.#signature(inner);
      default:
        return this.section(
          this.node(inner, "sectionHead"),
          this.entries(this.node(inner, "sectionBody")),
          this.span(inner),
          this.span(this.node(inner, "sectionBody")),
        );
    }
  }

  block(head: CstNode, items: readonly ast.Item[], span: Span): ast.BlockDecl {
    const base = this.optional(head, "expr");
    return {
      kind: "block",
      doc: this.#docAt(span),
      name: this.#name(head),
      dims: this.#formals(head),
      params: this.#params(head),
      ...(base === undefined ? {} : { extends: this.expr(base) }),
      items,
      span,
    };
  }

  model(head: CstNode, items: readonly ast.Item[], span: Span): ast.ModelDecl {
    const base = this.optional(head, "expr");
    return {
      kind: "model",
      doc: this.#docAt(span),
      name: this.#name(head),
      ...(base === undefined ? {} : { extends: this.expr(base) }),
      items,
      span,
    };
  }

  section(head: CstNode, entries: readonly ast.Entry[], span: Span, bodySpan: Span): ast.SectionDecl {
    const kind = this.token(head, "kind").image as ast.SectionKind;
    const named = (label: "for" | "from"): ast.Name | undefined => {
      const found = this.tokens(head, label)[0];
      return found === undefined ? undefined : this.name(found);
    };
    const [target, base] = [named("for"), named("from")];
    return {
      kind: "section",
      section: kind,
      doc: this.#docAt(span),
      name: this.name(this.token(head, "name")),
      ...(target === undefined ? {} : { for: target }),
      ...(base === undefined ? {} : { from: base }),
      body: { entries, span: bodySpan },
      span,
    };
  }

  entries(body: CstNode): ast.Entry[] {
    return this.nodes(body, "entry").map((entry) => this.entry(entry));
  }

  entry(node: CstNode): ast.Entry {
    const expect = this.optional(node, "expectItem");
    if (expect !== undefined) return this.#expect(expect);
    const name = this.#name(node);
    const span = this.span(node);
    const doc = this.#doc(node);
    const group = this.optional(node, "sectionBody");
    if (group !== undefined)
      return { kind: "group", doc, name, body: { entries: this.entries(group), span: this.span(group) }, span };
    return { kind: "set", doc, name, value: this.expr(this.node(node, "expr")), span };
  }

  #fields(body: CstNode): ast.SchemaField[] {
    return this.nodes(body, "schemaField").map((field): ast.SchemaField => {
      const [name, doc, span] = [this.#name(field), this.#doc(field), this.span(field)];
      const group = this.optional(field, "schemaBody");
      if (group !== undefined) return { kind: "group", doc, name, fields: this.#fields(group), span };
      return { kind: "field", doc, name, ...this.#typed(field), span };
    });
  }

  #typed(node: CstNode): { type: ast.Expr; value?: ast.Expr } {
    const value = this.optional(node, "value");
    return { type: this.expr(this.node(node, "type")), ...(value === undefined ? {} : { value: this.expr(value) }) };
  }

  #signature(node: CstNode): ast.SignatureDecl {
    const params = this.nodes(node, "signatureParam").map((p) => ({
      doc: this.#doc(p),
      name: this.#name(p),
      ...this.#typed(p),
      span: this.span(p),
    }));
    return {
      kind: "signature",
      doc: this.#doc(node),
      name: this.#name(node),
      params,
      result: this.expr(this.node(node, "expr")),
      span: this.span(node),
    };
  }

  items(body: CstNode): ast.Item[] {
    return this.nodes(body, "item").map((item) => this.item(item));
  }

  item(node: CstNode): ast.Item {
    const [kind] = Object.keys(node.children);
    const inner = this.node(node, kind!);
    const span = this.span(inner);
    const doc = this.#doc(inner);
    switch (kind) {
      case "dimItem":
        return { kind: "dim", doc, name: this.#name(inner), value: this.expr(this.node(inner, "expr")), span };
      case "storeItem": {
        const value = this.optional(inner, "expr");
        const store = this.token(inner, "kind").image as ast.StoreItem["kind"];
        return {
          kind: store,
          doc,
          name: this.name(this.token(inner, "name")),
          type: this.type(this.node(inner, "type")),
          ...(value === undefined ? {} : { value: this.expr(value) }),
          span,
        };
      }
      case "useItem": {
        const over = this.tokens(inner, "over")[0];
        return {
          kind: "use",
          doc,
          name: this.name(this.token(inner, "name")),
          value: this.expr(this.node(inner, "expr")),
          ...(over === undefined ? {} : { over: this.name(over) }),
          span,
        };
      }
      case "fnItem":
        return this.fn(this.node(inner, "fnHead"), this.code(this.node(inner, "code")), span);
      case "externItem":
        return this.#extern(inner, span);
      case "onItem":
        return { kind: "on", event: this.#name(inner), body: this.code(this.node(inner, "code")), span };
      case "expectItem":
        return this.#expect(inner);
      default:
        return { kind: "set", doc, name: this.#name(inner), value: this.expr(this.node(inner, "expr")), span };
    }
  }

  fn(head: CstNode, body: ast.Code, span: Span): ast.FnItem {
    const result = this.optional(head, "type");
    return {
      kind: "fn",
      doc: this.#docAt(span),
      name: this.#name(head),
      dims: this.#formals(head),
      params: this.#params(head),
      ...(result === undefined ? {} : { result: this.type(result) }),
      body,
      span,
    };
  }

  #extern(node: CstNode, whole: Span): ast.FnItem {
    const extern = this.nodes(node, "assignment").map((entry) => ({
      name: this.#name(entry),
      value: this.expr(this.node(entry, "expr")),
      span: this.span(entry),
    }));
    const params = this.#params(node);
    const callee = extern.find(({ name }) => name.text === "reference")?.value;
    const span = callee?.span ?? whole;
    const args = params.map(({ name }) => ({ value: { kind: "name", name: name.text, span } as const, span }));
    const value: ast.Expr = callee === undefined ? { kind: "error", span } : { kind: "call", callee, args, span };
    return { ...this.fn(node, { stmts: [{ kind: "return", value, span }], span }, whole), params, extern };
  }

  #expect(node: CstNode): ast.Expect {
    const within = this.tokens(node, "Number")[0];
    return {
      kind: "expect",
      left: this.expr(this.node(node, "left")),
      right: this.expr(this.node(node, "right")),
      ...(within === undefined ? {} : { within: this.quantity(within) }),
      span: this.span(node),
    };
  }

  #formals(node: CstNode): ast.DimFormal[] {
    const formals = this.optional(node, "formals");
    if (formals === undefined) return [];
    return this.nodes(formals, "formal").map((f) => {
      const rest = this.tokens(f, "DotDot")[0];
      return rest === undefined ? { kind: "name", name: this.#name(f) } : { kind: "rest", span: this.tokenSpan(rest) };
    });
  }

  #params(node: CstNode): ast.Param[] {
    const params = this.optional(node, "params");
    if (params === undefined) return [];
    return this.nodes(params, "param").map((p) => {
      const value = this.optional(p, "expr");
      return {
        name: this.#name(p),
        type: this.type(this.node(p, "type")),
        ...(value === undefined ? {} : { value: this.expr(value) }),
        span: this.span(p),
      };
    });
  }

  type(node: CstNode): ast.Type {
    const span = this.span(node);
    const parts = this.nodes(node, "type");
    if (parts.length > 0) return { kind: "tuple", parts: parts.map((p) => this.type(p)), span };
    const base = this.tokens(node, "Name")[0];
    const dims = this.optional(node, "dims");
    return {
      kind: "tensor",
      ...(base === undefined ? {} : { base: this.name(base) }),
      ...(dims === undefined ? {} : { dims: this.dims(dims) }),
      span,
    };
  }

  code(node: CstNode): ast.Code {
    return { stmts: this.nodes(node, "stmt").map((s) => this.stmt(s)), span: this.span(node) };
  }

  stmt(node: CstNode): ast.Stmt {
    const [kind] = Object.keys(node.children);
    const inner = this.node(node, kind!);
    const span = this.span(inner);
    const value = this.expr(this.node(inner, "expr"));
    if (kind === "returnStmt") return { kind: "return", value, span };
    if (kind === "assignment") return { kind: "assign", name: this.#name(inner), value, span };
    const targets = this.nodes(inner, "letTarget").map((target) => {
      const dims = this.optional(target, "dims");
      return {
        name: this.#name(target),
        ...(dims === undefined ? {} : { dims: this.dims(dims) }),
        span: this.span(target),
      };
    });
    const word = this.token(inner, "kind").image as ast.LetStmt["kind"];
    return { kind: word, targets, tuple: this.tokens(inner, "LeftParen").length > 0, value, span };
  }

  #name(node: CstNode): ast.Name {
    return this.name(this.token(node, "Name"));
  }

  #doc(node: CstNode): string | undefined {
    return this.#docAt(this.span(node));
  }

  #docAt(span: Span): string | undefined {
    return this.#docs.of(span);
  }
}

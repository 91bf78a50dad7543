import type { Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "../syntax/ast.ts";
import { moved, type Comments } from "./comments.ts";
import { largest } from "./rows.ts";

export const WIDTH = 120;

/** One of the items between brackets. */
export interface Listed {
  readonly span: Span;
  readonly write: (indent: number) => string;
  /** Doc comments belong to it. */
  readonly documented?: boolean;
}

/** Writes expressions and types: on one line where they fit, else broken from the outside in. */
export class ExpressionPrinter {
  readonly comments: Comments;

  constructor(comments: Comments) {
    this.comments = comments;
  }

  /** `column` is where the text begins, `indent` that of its line. */
  expr(expr: ast.Expr, indent: number, column: number): string {
    const flat = this.flat(expr);
    if (!this.#mustBreak(expr) && column + flat.length <= WIDTH) return flat;
    return this.#broken(expr, indent, column);
  }

  /** Comments inside and braces that were written on several lines stay there. */
  #mustBreak(expr: ast.Expr): boolean {
    if (this.comments.placesIn(expr.span.start, expr.span.end).some((at) => holds(expr, at))) return true;
    switch (expr.kind) {
      case "stack":
        return expr.layers.length > 0 && opensLine(expr.span, expr.layers[0]!.span);
      case "schedule":
        return expr.pieces.length > 0 && opensLine(expr.span, expr.pieces[0]!.span);
      case "call":
        return this.#mustBreak(expr.callee) || expr.args.some((a) => this.#mustBreak(a.value));
      case "list":
      case "tuple":
        return expr.items.some((item) => this.#mustBreak(item));
      case "binary":
        return this.#mustBreak(expr.left) || this.#mustBreak(expr.right);
      case "paren":
        return this.#mustBreak(expr.inner);
      default:
        return false;
    }
  }

  #broken(expr: ast.Expr, indent: number, column: number): string {
    const { span } = expr;
    switch (expr.kind) {
      case "call": {
        const callee = this.expr(expr.callee, indent, column);
        if (expr.args.length === 0) return `${callee}()`;
        const args = expr.args.map((arg) => ({ span: arg.span, write: (i: number): string => this.#arg(arg, i) }));
        return `${callee}${this.items("(", ",", ")", args, indent, span)}`;
      }
      case "list":
      case "tuple": {
        if (expr.items.length === 0) return expr.kind === "list" ? "[]" : "()";
        const items = expr.items.map((item) => ({
          span: item.span,
          write: (i: number): string => this.expr(item, i, i),
        }));
        return expr.kind === "list"
          ? this.items("[", ",", "]", items, indent, span)
          : this.items("(", ",", ")", items, indent, span);
      }
      case "stack": {
        const layers = expr.layers.map((l) => ({
          span: l.span,
          write: (i: number): string => this.#layer(l, i, widest(expr.layers.map((x) => this.flat(x.count)))),
        }));
        return layers.length === 0 ? "stack {}" : `stack ${this.items("{", "", "}", layers, indent, span)}`;
      }
      case "schedule": {
        const pieces = expr.pieces.map((p) => ({
          span: p.span,
          write: (i: number): string => this.#piece(p, i, widest(expr.pieces.map(until))),
        }));
        return pieces.length === 0
          ? `schedule by ${expr.by.text} {}`
          : `schedule by ${expr.by.text} ${this.items("{", "", "}", pieces, indent, span)}`;
      }
      case "binary": {
        const left = this.expr(expr.left, indent, column);
        const inner = indent + 2;
        return `${left}\n${" ".repeat(inner)}${expr.op} ${this.expr(expr.right, inner, inner + expr.op.length + 1)}`;
      }
      case "paren":
        return `(${this.expr(expr.inner, indent, column + 1)})`;
      default:
        return this.flat(expr);
    }
  }

  /** Items one per line between brackets, each with its comments. */
  items(
    open: string,
    separator: string,
    close: string,
    items: readonly Listed[],
    indent: number,
    around: Span,
  ): string {
    const inner = indent + 2;
    const pad = " ".repeat(inner);
    const lines: string[] = [];
    for (const [i, item] of items.entries()) {
      const before = this.comments.before(item.span.start);
      const leading = item.documented ? this.comments.settled(before, item.span.start) : before.map(moved);
      const text = item.write(inner);
      const within = this.comments.before(item.span.end).map(moved);
      for (const comment of [...within, ...leading]) lines.push(`${pad}${comment}`);
      const behind = this.comments.behind(item.span.end);
      const note = behind === undefined ? "" : ` ${item.documented ? behind.text : moved(behind)}`;
      lines.push(`${pad}${text}${i < items.length - 1 ? separator : ""}${note}`);
    }
    for (const comment of this.comments.before(around.end)) lines.push(`${pad}${moved(comment)}`);
    return `${open}\n${lines.join("\n")}\n${" ".repeat(indent)}${close}`;
  }

  #arg(arg: ast.Arg, indent: number): string {
    const name = arg.name === undefined ? "" : `${arg.name.text}: `;
    return `${name}${this.expr(arg.value, indent, indent + name.length)}`;
  }

  #layer(layer: { readonly count: ast.Expr; readonly of: ast.Expr }, indent: number, width: number): string {
    const head = `${this.flat(layer.count).padEnd(width)} of `;
    return `${head}${this.expr(layer.of, indent, indent + head.length)}`;
  }

  #piece(piece: ast.SchedulePiece, indent: number, width: number): string {
    const head = `${until(piece).padEnd(width)} => `;
    return `${head}${this.expr(piece.value, indent, indent + head.length)}`;
  }

  /** On one line. */
  flat(expr: ast.Expr): string {
    switch (expr.kind) {
      case "quantity":
        return expr.text.replace(/[ \t]+/g, " ");
      case "string":
        return sourceText(expr.span);
      case "name":
        return expr.name;
      case "binary": {
        const [left, right] = [this.flat(expr.left), this.flat(expr.right)];
        return `${left} ${expr.op} ${right}`;
      }
      case "unary":
        return `${expr.op}${this.flat(expr.operand)}`;
      case "member":
        return `${this.flat(expr.object)}.${expr.name.text}`;
      case "index":
        return `${this.flat(expr.object)}${this.dims(expr.dims)}`;
      case "call":
        return `${this.flat(expr.callee)}(${expr.args.map((a) => `${a.name === undefined ? "" : `${a.name.text}: `}${this.flat(a.value)}`).join(", ")})`;
      case "list":
        return `[${expr.items.map((i) => this.flat(i)).join(", ")}]`;
      case "paren":
        return `(${this.flat(expr.inner)})`;
      case "tuple":
        return `(${expr.items.map((i) => this.flat(i)).join(", ")})`;
      case "schedule":
        return `schedule by ${expr.by.text} ${braces(expr.pieces.map((p) => `${until(p)} => ${this.flat(p.value)}`))}`;
      case "stack":
        return `stack ${braces(expr.layers.map((l) => `${this.flat(l.count)} of ${this.flat(l.of)}`))}`;
      case "error":
        throw new Error("a file with syntax errors is not formatted");
    }
  }

  dims(dims: readonly ast.TypeDim[]): string {
    return `[${dims.map((d) => (d.kind === "rest" ? ".." : this.flat(d.value))).join(", ")}]`;
  }

  type(type: ast.Type): string {
    if (type.kind === "tuple") return `(${type.parts.map((p) => this.type(p)).join(", ")})`;
    return `${type.base?.text ?? ""}${type.dims === undefined ? "" : this.dims(type.dims)}`;
  }
}

/**
 * Whether a comment at a place has a line of its own when the expression is broken: between the items of brackets. Others
 * move before the statement.
 */
function holds(expr: ast.Expr, at: number): boolean {
  const inside = (part: { readonly span: Span }): boolean => at >= part.span.start && at < part.span.end;
  const among = (items: readonly { readonly span: Span; readonly value: ast.Expr }[]): boolean => {
    const around = items.find(inside);
    return around === undefined ? items.length > 0 : holds(around.value, at);
  };
  if (!inside(expr)) return false;
  switch (expr.kind) {
    case "call":
      return inside(expr.callee) ? holds(expr.callee, at) : among(expr.args);
    case "list":
    case "tuple":
      return among(expr.items.map((value) => ({ span: value.span, value })));
    case "stack":
      return among(expr.layers.map(({ span, of }) => ({ span, value: of })));
    case "schedule":
      return among(expr.pieces);
    case "binary":
      return holds(expr.left, at) || holds(expr.right, at);
    case "paren":
      return holds(expr.inner, at);
    default:
      return false;
  }
}

/** `{ a  b }` */
export function braces(items: readonly string[]): string {
  return items.length === 0 ? "{}" : `{ ${items.join("  ")} }`;
}

function until(piece: ast.SchedulePiece): string {
  return piece.until === undefined ? "..end" : `..${piece.until.text.replace(/[ \t]+/g, " ")}`;
}

function widest(texts: readonly string[]): number {
  return largest(texts, (text) => text.length);
}

export function sourceText({ file, start, end }: Span): string {
  return file.text.slice(start, end);
}

/** True when a line break stands between an opening brace and the first thing inside. */
export function opensLine(around: Span, first: Span): boolean {
  const text = around.file.text.slice(around.start, first.start);
  return text.slice(text.lastIndexOf("{") + 1).includes("\n");
}

import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import type { SourceFile, Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "../syntax/ast.ts";
import { parseFile } from "../syntax/parse.ts";
import { UNITS } from "../syntax/units.ts";
import { Comments, moved, type Comment } from "./comments.ts";
import { braces, ExpressionPrinter, type Listed, opensLine, sourceText, WIDTH } from "./expressions.ts";
import { layOut, line, type Row } from "./rows.ts";

/**
 * The text of a file in the one style there is: two spaces, 120 columns, columns of names and values aligned. Comments are
 * kept, the AST stays the same, and formatting twice changes nothing. Undefined when the text has syntax errors.
 */
export function formatFile(source: SourceFile, diagnostics: Diagnostics): string | undefined {
  const { file, ok } = parseFile(source, diagnostics);
  if (!ok) return undefined;
  const rows = new Formatter(source).file(file);
  return rows.length === 0 ? "" : `${layOut(rows)}\n`;
}

/** One thing on a line of its own, or on several. */
interface Unit {
  readonly span: Span;
  readonly write: () => Row[];
}

class Formatter {
  readonly #comments: Comments;
  readonly #printer: ExpressionPrinter;

  constructor(source: SourceFile) {
    this.#comments = new Comments(source);
    this.#printer = new ExpressionPrinter(this.#comments);
  }

  file(file: ast.File): Row[] {
    const rows: Row[] = [];
    const add = (units: readonly Unit[], apart: boolean): void => {
      for (const unit of units) {
        const made = this.#unit(unit, 0);
        if (rows.length > 0 && (apart || unit === units[0])) made[0] = { ...made[0]!, blankBefore: true };
        for (const row of made) rows.push(row);
      }
    };
    const { edition } = file;
    if (edition !== undefined)
      add([{ span: edition.span, write: () => [line(0, `edition ${edition.year.text}`)] }], false);
    add(
      file.imports.map((i) => ({ span: i.span, write: () => [line(0, this.#import(i))] })),
      false,
    );
    // Declarations of one line each may stand without a blank line between them.
    let close = false;
    for (const decl of file.decls) {
      const made = this.#unit({ span: decl.span, write: () => this.#decl(decl) }, 0);
      const short = isOneLine(made);
      const apart = !(close && short) || this.#comments.spacedBefore(decl.span.start);
      if (rows.length > 0 && apart) made[0] = { ...made[0]!, blankBefore: true };
      for (const row of made) rows.push(row);
      close = short;
    }
    return [...rows, ...this.#leading(this.#comments.before(Infinity), 0, Infinity)];
  }

  /** A unit with the comments before, inside and behind it. */
  #unit({ span, write }: Unit, indent: number): Row[] {
    const spaced = this.#comments.spacedBefore(span.start);
    const leading = this.#leading(this.#comments.before(span.start), indent, span.start);
    const rows = write();
    // What no inner part took: comments in the middle of an expression. Not between the item and its doc comment.
    const inside = this.#comments.before(span.end).map((c) => line(indent, moved(c)));
    const behind = this.#comments.behind(span.end);
    const last = rows.at(-1)!;
    if (behind !== undefined) rows[rows.length - 1] = { ...last, comment: behind.text };
    if (spaced) rows[0] = { ...rows[0]!, blankBefore: true };
    return [...inside, ...leading, ...rows];
  }

  /** Comments on lines of their own before a place. */
  #leading(comments: readonly Comment[], indent: number, place: number): Row[] {
    return this.#comments.settled(comments, place).map((text, i) => line(indent, text, comments[i]!.spaced));
  }

  /** A head, a body between braces and the units in it; on one line if it was and fits. */
  #body(head: string, around: Span, units: readonly Unit[], indent: number): Row[] {
    // Comments of the head that wait for a place count as well.
    const commented = this.#comments.anyIn(0, around.end);
    if (units.length === 0 && !commented) return [line(indent, `${head} {}`)];
    const inline = units.length > 0 && !opensLine(around, units[0]!.span) && !commented;
    if (inline) {
      const parts = units.map((u) => u.write());
      const texts = parts.flat().map((row) => row.cells.join(" "));
      const text = `${head} ${braces(texts)}`;
      const flat = parts.every((rows) => rows.length === 1) && !text.includes("\n") && !texts.some(isUnitOfLast);
      if (flat && indent + text.length <= WIDTH) return [line(indent, text)];
    }
    const inner = units.flatMap((u) => this.#unit(u, indent + 2));
    const rows = [...inner, ...this.#leading(this.#comments.before(around.end), indent + 2, around.end - 1)];
    if (rows.length > 0) rows[0] = { ...rows[0]!, blankBefore: false };
    return [line(indent, `${head} {`), ...rows, line(indent, "}")];
  }

  #import({ names, from }: ast.Import): string {
    const list = names.map(({ name, as }) => (as === undefined ? name.text : `${name.text} as ${as.text}`));
    const path = sourceText(from.span);
    const flat = `import ${list.length === 0 ? "{}" : `{ ${list.join(", ")} }`} from ${path}`;
    return flat.length <= WIDTH ? flat : `import {\n${list.map((n) => `  ${n}`).join(",\n")}\n} from ${path}`;
  }

  #decl(decl: ast.Decl): Row[] {
    switch (decl.kind) {
      case "block": {
        const base = decl.extends === undefined ? "" : ` extends ${this.#printer.expr(decl.extends, 0, 0)}`;
        const head = `block ${decl.name.text}${formals(decl.dims)}`;
        const params = decl.params.length === 0 ? "" : this.#params(decl, head.length, `${base} {`.length, 0);
        return this.#body(
          `${head}${params}${base}`,
          bodySpan(decl.span, decl.items),
          decl.items.map((i) => this.#item(i)),
          0,
        );
      }
      case "model": {
        const base = decl.extends === undefined ? "" : ` extends ${this.#printer.expr(decl.extends, 0, 0)}`;
        return this.#body(
          `model ${decl.name.text}${base}`,
          bodySpan(decl.span, decl.items),
          decl.items.map((i) => this.#item(i)),
          0,
        );
      }
      case "section": {
        const target = decl.for === undefined ? "" : ` for ${decl.for.text}`;
        const base = decl.from === undefined ? "" : ` from ${decl.from.text}`;
        return this.#body(
          `${decl.section} ${decl.name.text}${target}${base}`,
          decl.body.span,
          decl.body.entries.map((e) => this.#entry(e, 2)),
          0,
        );
      }
      case "schema":
        return this.#body(
          `schema ${decl.name.text}`,
          bodySpan(decl.span, decl.fields),
          decl.fields.map((f) => this.#field(f, 2)),
          0,
        );
      case "signature": {
        const result = ` -> ${this.#printer.flat(decl.result)}`;
        const params = decl.params.map((p) => ({
          span: p.span,
          documented: true,
          write: (): string => `${p.name.text}: ${this.#printer.flat(p.type)}${this.#default(p.value)}`,
        }));
        return [
          line(
            0,
            `signature ${decl.name.text}${this.#list(params, `signature ${decl.name.text}`.length, result.length, 0, decl.span)}${result}`,
          ),
        ];
      }
    }
  }

  #default(value: ast.Expr | undefined): string {
    return value === undefined ? "" : ` = ${this.#printer.flat(value)}`;
  }

  #params({ name, params }: ast.BlockDecl | ast.FnItem, before: number, after: number, indent: number): string {
    const items = params.map((p) => ({
      span: p.span,
      write: (): string => `${p.name.text}: ${this.#printer.type(p.type)}${this.#default(p.value)}`,
    }));
    const around = { ...name.span, start: name.span.end, end: params.at(-1)!.span.end };
    return this.#list(items, before, after, indent, around);
  }

  #list(
    items: readonly (Listed & { write: () => string })[],
    before: number,
    after: number,
    indent: number,
    around: Span,
  ): string {
    const flat = `(${items.map((i) => i.write()).join(", ")})`;
    const fits = indent + before + flat.length + after <= WIDTH;
    return items.length === 0 || (fits && !this.#comments.anyIn(around.start, around.end))
      ? flat
      : this.#printer.items("(", ",", ")", items, indent, around);
  }

  #item(item: ast.Item): Unit {
    return { span: item.span, write: () => this.#itemRows(item) };
  }

  #itemRows(item: ast.Item): Row[] {
    const indent = 2;
    switch (item.kind) {
      case "dim":
        return [this.#row(indent, ["dim", item.name.text], "=", item.value, [undefined, "dim"])];
      case "param":
      case "state":
      case "cache": {
        const text = `${this.#printer.type(item.type)}${item.value === undefined ? "" : ` = ${this.#printer.expr(item.value, indent, 20)}`}`;
        return [
          { indent, cells: [item.kind, `${item.name.text}:`, text], keys: ["item", item.kind], blankBefore: false },
        ];
      }
      case "use": {
        const row = this.#row(indent, ["use", item.name.text], "=", item.value, ["item", "use"]);
        return item.over === undefined
          ? [row]
          : [{ ...row, cells: [...row.cells.slice(0, -1), `${row.cells.at(-1)!} over ${item.over.text}`] }];
      }
      case "set":
        return [this.#row(indent, [item.name.text], "=", item.value, ["set"])];
      case "expect":
        return [line(indent, this.#expect(item))];
      case "on":
        return this.#body(
          `on ${item.event.text}`,
          item.body.span,
          item.body.stmts.map((s) => this.#stmt(s)),
          indent,
        );
      case "fn": {
        const result = item.result === undefined ? "" : ` -> ${this.#printer.type(item.result)}`;
        const head = `${item.extern === undefined ? "fn" : "extern kernel"} ${item.name.text}${formals(item.dims)}`;
        const params = item.params.length === 0 ? "()" : this.#params(item, head.length, result.length + 2, indent);
        const [around, units] =
          item.extern === undefined
            ? [item.body.span, item.body.stmts.map((s) => this.#stmt(s))]
            : [bodySpan(item.span, item.extern), item.extern.map((e) => this.#externEntry(e))];
        return this.#body(`${head}${params}${result}`, around, units, indent);
      }
    }
  }

  #externEntry({ name, value, span }: ast.ExternEntry): Unit {
    return { span, write: () => [this.#row(4, [name.text], "=", value, ["set"])] };
  }

  /** `name = value` with the value broken as it needs to be. */
  #row(
    indent: number,
    cells: readonly string[],
    sign: string,
    value: ast.Expr,
    keys: readonly (string | undefined)[],
  ): Row {
    const column = indent + cells.join(" ").length + sign.length + 2;
    return {
      indent,
      cells: [...cells, `${sign} ${this.#printer.expr(value, indent, column)}`],
      keys,
      blankBefore: false,
    };
  }

  #expect({ left, right, within }: ast.Expect): string {
    return `expect ${this.#printer.flat(left)} == ${this.#printer.flat(right)}${within === undefined ? "" : ` within ${this.#printer.flat(within)}`}`;
  }

  #stmt(stmt: ast.Stmt): Unit {
    const indent = 4;
    const write = (): Row[] => {
      if (stmt.kind === "return") return [line(indent, `return ${this.#printer.expr(stmt.value, indent, indent + 7)}`)];
      if (stmt.kind === "assign") return [this.#row(indent, [stmt.name.text], "=", stmt.value, ["assign"])];
      const targets = stmt.targets
        .map((t) => `${t.name.text}${t.dims === undefined ? "" : this.#printer.dims(t.dims)}`)
        .join(", ");
      return [
        this.#row(indent, [stmt.kind, stmt.tuple ? `(${targets})` : targets], "=", stmt.value, [undefined, stmt.kind]),
      ];
    };
    return { span: stmt.span, write };
  }

  #entry(entry: ast.Entry, indent: number): Unit {
    const write = (): Row[] => {
      if (entry.kind === "expect") return [line(indent, this.#expect(entry))];
      if (entry.kind === "set") return [this.#row(indent, [entry.name.text], "=", entry.value, ["set"])];
      return this.#body(
        entry.name.text,
        entry.body.span,
        entry.body.entries.map((e) => this.#entry(e, indent + 2)),
        indent,
      );
    };
    return { span: entry.span, write };
  }

  #field(field: ast.SchemaField, indent: number): Unit {
    const write = (): Row[] => {
      if (field.kind === "group")
        return this.#body(
          field.name.text,
          bodySpan(field.span, field.fields),
          field.fields.map((f) => this.#field(f, indent + 2)),
          indent,
        );
      const text = `${this.#printer.flat(field.type)}${field.value === undefined ? "" : ` = ${this.#printer.flat(field.value)}`}`;
      return [{ indent, cells: [`${field.name.text}:`, text], keys: ["field"], blankBefore: false }];
    };
    return { span: field.span, write };
  }
}

function formals(dims: readonly ast.DimFormal[]): string {
  return dims.length === 0 ? "" : `[${dims.map((d) => (d.kind === "rest" ? ".." : d.name.text)).join(", ")}]`;
}

/** From the brace that opens a body to its end. */
function bodySpan(span: Span, parts: readonly { readonly span: Span }[]): Span {
  const end = parts[0]?.span.start ?? span.end;
  const open = span.file.text.lastIndexOf("{", end - 1);
  return { ...span, start: Math.max(span.start, open) };
}

/** True when the text before one ends with a number whose unit the first word would become on the same line. */
function isUnitOfLast(text: string, at: number, texts: readonly string[]): boolean {
  return /\d\w*$/.test(texts[at - 1] ?? "") && Object.hasOwn(UNITS, /^\w*/.exec(text)![0]);
}

function isOneLine([row, ...more]: readonly Row[]): boolean {
  return more.length === 0 && !row!.cells.some((cell) => cell.includes("\n"));
}

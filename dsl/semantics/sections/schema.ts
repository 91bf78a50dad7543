/** The schemas and functions of sections, as the standard library declares them in `dsl/std/sections`. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import type * as ast from "../../syntax/ast.ts";
import { parseFile } from "../../syntax/parse.ts";
import { NUMBERS, type Type } from "./types.ts";
import { isMeasure } from "./units.ts";

export interface Field {
  readonly kind: "field";
  readonly name: string;
  readonly doc: string | undefined;
  readonly type: Type;
  /** False for fields with a default and for `optional(...)`. */
  readonly required: boolean;
  readonly value: ast.Expr | undefined;
}

export interface Group {
  readonly kind: "group";
  readonly name: string;
  readonly doc: string | undefined;
  readonly fields: ReadonlyMap<string, Field | Group>;
  /** The type of entries with other names, which are parts of the model. */
  readonly others: Type | undefined;
}

export interface Param {
  readonly name: string;
  readonly type: Type;
  readonly required: boolean;
  readonly value: ast.Expr | undefined;
  /** True for `each(T)`: takes all positional arguments. */
  readonly each: boolean;
}

export interface Signature {
  readonly name: string;
  readonly doc: string | undefined;
  readonly params: readonly Param[];
  readonly result: string;
}

export interface Schemas {
  /** By section kind; targets by their names. */
  readonly sections: ReadonlyMap<string, Group>;
  /** Functions of one name differ in their results. */
  readonly functions: ReadonlyMap<string, readonly Signature[]>;
}

/** The names of the functions that give something. */
export function functionsGiving({ functions }: Schemas, result: string): string[] {
  return [...functions].filter(([, all]) => all.some((each) => each.result === result)).map(([name]) => name);
}

/** Entries of this name in a schema stand for any other name. */
const OTHERS = "_";

const SECTIONS: readonly string[] = ["data", "train", "layout", "serve", "target"] satisfies ast.SectionKind[];

/** What only the standard library's author can do wrong. */
function broken(message: string): never {
  throw new Error(`dsl/std/sections: ${message}`);
}

function textOf({ span }: ast.Expr): string {
  return span.file.text.slice(span.start, span.end);
}

function namesOf(args: readonly ast.Arg[]): string[] {
  return args.map(({ value }) => (value.kind === "name" ? value.name : broken(`\`${textOf(value)}\` is not a name`)));
}

function typeOf(expr: ast.Expr, results: ReadonlySet<string>): Type {
  if (expr.kind === "paren") return typeOf(expr.inner, results);
  if (expr.kind === "binary" && expr.op === "|") {
    const of = [typeOf(expr.left, results), typeOf(expr.right, results)];
    return { kind: "union", of: of.flatMap((type) => (type.kind === "union" ? type.of : [type])) };
  }
  if (expr.kind === "name") return namedType(expr.name, results);
  if (expr.kind === "call" && expr.callee.kind === "name") {
    const { callee, args } = expr;
    if (callee.name === "one_of") return { kind: "choice", names: namesOf(args) };
    if (callee.name === "section") {
      const [section] = namesOf(args);
      if (!SECTIONS.includes(section!)) broken(`\`${section}\` is no section`);
      return { kind: "section", section: section as ast.SectionKind };
    }
    const [of] = args.map((arg) => typeOf(arg.value, results));
    const { name } = callee;
    if (of !== undefined && (name === "list" || name === "scheduled" || name === "sum" || name === "weighted")) {
      return { kind: name, of };
    }
  }
  return broken(`\`${textOf(expr)}\` is not a type`);
}

function namedType(name: string, results: ReadonlySet<string>): Type {
  const number = NUMBERS.find((type) => type.name === name);
  if (number !== undefined) return number;
  if (isMeasure(name)) return { kind: "quantity", measure: name };
  switch (name) {
    case "bool":
    case "text":
    case "part":
    case "axis":
    case "names":
    case "mesh":
      return { kind: name };
    default:
      return results.has(name) ? { kind: "result", of: name } : broken(`\`${name}\` is not a type`);
  }
}

/** `optional(T)` and `each(T)` belong to the field or parameter, not to the type. */
function unwrap(type: ast.Expr, wrapper: string): ast.Expr | undefined {
  const wrapped = type.kind === "call" && type.callee.kind === "name" && type.callee.name === wrapper;
  return wrapped ? type.args[0]!.value : undefined;
}

function groupOf(
  name: string,
  doc: string | undefined,
  fields: readonly ast.SchemaField[],
  results: ReadonlySet<string>,
): Group {
  const own = new Map<string, Field | Group>();
  let others: Type | undefined;
  for (const field of fields) {
    const { text } = field.name;
    if (field.kind === "group") own.set(text, groupOf(text, field.doc, field.fields, results));
    else if (text === OTHERS) others = typeOf(field.type, results);
    else {
      const optional = unwrap(field.type, "optional");
      const required = optional === undefined && field.value === undefined;
      const type = typeOf(optional ?? field.type, results);
      own.set(text, { kind: "field", name: text, doc: field.doc, type, required, value: field.value });
    }
  }
  return { kind: "group", name, doc, fields: own, others };
}

function signatureOf(decl: ast.SignatureDecl, result: string, results: ReadonlySet<string>): Signature {
  const params = decl.params.map(({ name, type, value }): Param => {
    const optional = unwrap(type, "optional");
    const each = unwrap(type, "each");
    const required = optional === undefined && value === undefined && each === undefined;
    return {
      name: name.text,
      type: typeOf(optional ?? each ?? type, results),
      required,
      value,
      each: each !== undefined,
    };
  });
  return { name: decl.name.text, doc: decl.doc, params, result };
}

function parseAll(folder: string): ast.Decl[] {
  const diagnostics = new Diagnostics();
  const names = readdirSync(folder).filter((name) => name.endsWith(".dsk"));
  const decls = names.toSorted().flatMap((name) => {
    const source = { path: `std/sections/${name}`, text: readFileSync(join(folder, name), "utf8") };
    return parseFile(source, diagnostics).file.decls;
  });
  const [first] = diagnostics.all;
  return first === undefined ? decls : broken(`${first.primary.span.file.path}: ${first.message}`);
}

/** Reads the schemas of a standard library folder (`dsl/std`). */
export function loadSchemas(std: string): Schemas {
  const decls = parseAll(join(std, "sections"));
  const results = new Set(
    decls.flatMap((decl) => (decl.kind === "signature" && decl.result.kind === "name" ? [decl.result.name] : [])),
  );
  const sections = new Map<string, Group>();
  const functions = new Map<string, Signature[]>();
  for (const decl of decls) {
    if (decl.kind === "schema") {
      sections.set(decl.name.text, groupOf(decl.name.text, decl.doc, decl.fields, results));
    } else if (decl.kind === "signature" && decl.result.kind === "name") {
      const same = functions.get(decl.name.text) ?? [];
      functions.set(decl.name.text, [...same, signatureOf(decl, decl.result.name, results)]);
    } else broken(`\`${decl.name.text}\` is neither a schema nor a signature`);
  }
  return { sections, functions };
}

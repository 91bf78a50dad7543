/** Checks the expressions of sections against the types that the schemas give them. */
import { closest, didYouMean } from "../../../compiler/diagnostics/did-you-mean.ts";
import type { Details, Fix } from "../../../compiler/diagnostics/diagnostic.ts";
import type * as ast from "../../syntax/ast.ts";
import { tableHelp } from "../name-tables.ts";
import { checkCall, isCall } from "./calls.ts";
import type { Context } from "./context.ts";
import { functionsGiving } from "./schema.ts";
import { checkMesh } from "./mesh.ts";
import { checkNumber, constant, isNumeric, unitFits, type Numeric } from "./numbers.ts";
import { Parts } from "./parts.ts";
import { checkSchedule, isShape } from "./schedules.ts";
import { NUMBER, typeText, withArticle, type Type, type Value } from "./types.ts";

/** The value of an expression that must be of a type. Mistakes are reported, and the value is `error`. */
export function checkValue(c: Context, expr: ast.Expr, type: Type): Value {
  const { span } = expr;
  if (expr.kind === "paren") return checkValue(c, expr.inner, type);
  if (expr.kind === "error") return { kind: "error", span };
  switch (type.kind) {
    case "union":
      return checkUnion(c, expr, type);
    case "scheduled":
      if (expr.kind === "schedule") return checkSchedule(c, expr, type.of);
      if (isShape(expr)) return shapeAlone(c, expr);
      return checkValue(c, expr, type.of);
    case "number":
    case "quantity":
      return isNumeric(expr) ? checkNumber(c, expr, [type]) : wrong(c, expr, type);
    case "bool": {
      const known = expr.kind === "name" && (expr.name === "true" || expr.name === "false");
      return known ? { kind: "bool", value: expr.name === "true", span } : wrong(c, expr, type);
    }
    case "text":
      return expr.kind === "string" ? { kind: "text", value: expr.value, span } : wrong(c, expr, type);
    case "choice":
      return expr.kind === "name" ? checkWord(c, expr, type) : wrong(c, expr, type);
    case "list":
      if (expr.kind !== "list") return wrong(c, expr, type, fits(c, expr, type.of) ? { fix: inBrackets(expr) } : {});
      return { kind: "list", items: expr.items.map((item) => checkValue(c, item, type.of)), span };
    case "result":
      return isCall(c, expr, type.of) ? checkCall(c, expr, type.of) : wrong(c, expr, type);
    case "sum":
      return { kind: "sum", terms: termsOf(expr).map((term) => checkTerm(c, term, type.of)), span };
    case "weighted":
      return { kind: "sum", terms: [checkTerm(c, expr, type.of)], span };
    case "section":
    case "axis":
      return expr.kind === "name" ? checkName(c, expr, type) : wrong(c, expr, type);
    case "part":
      return checkPart(c, expr);
    case "names":
      return checkNames(c, expr);
    case "mesh":
      return checkMesh(c, expr) ?? wrong(c, expr, type);
  }
}

function wrong(c: Context, expr: ast.Expr, type: Type, details: Details = {}): Value {
  c.diagnostics.report("DSK6010", expr.span, { expected: typeText(type), found: foundText(c, expr) }, details);
  return { kind: "error", span: expr.span };
}

/** One value where a list is needed. */
function inBrackets({ span }: ast.Expr): Fix {
  const text = `[${span.file.text.slice(span.start, span.end)}]`;
  return { title: `write \`${text}\``, span, text };
}

/** What an expression is, as messages say it. */
function foundText(c: Context, expr: ast.Expr): string {
  switch (expr.kind) {
    case "quantity":
    case "unary":
      return "a number";
    case "string":
      return "a text";
    case "name":
      return `\`${expr.name}\``;
    case "list":
      return "a list";
    case "schedule":
      return "a schedule";
    case "call": {
      const name = expr.callee.kind === "name" ? expr.callee.name : "";
      const [signature] = c.schemas.functions.get(name) ?? [];
      return signature === undefined ? "a call" : withArticle(signature.result);
    }
    default:
      if (isNumeric(expr)) return "a number";
      if (expr.kind === "binary" && isNumeric(expr.left) && isNumeric(expr.right)) return "numbers of different units";
      return "an expression";
  }
}

/** `lr = cosine(1, 0)`: a shape has a length only inside a schedule. */
function shapeAlone(c: Context, expr: ast.Expr & { readonly kind: "call" }): Value {
  const { span } = expr;
  const text = `schedule by progress { ..end => ${span.file.text.slice(span.start, span.end)} }`;
  const name = expr.callee.kind === "name" ? expr.callee.name : "";
  c.diagnostics.report("DSK6105", span, { name }, { fix: { title: `write \`${text}\``, span, text } });
  return { kind: "error", span };
}

/** True when the form of the expression is that of the type; its parts may still be wrong. */
function fits(c: Context, expr: ast.Expr, type: Type): boolean {
  switch (type.kind) {
    case "number":
    case "quantity": {
      const amount = isNumeric(expr) ? constant(expr) : undefined;
      return amount !== undefined && unitFits(amount.measure, type);
    }
    case "choice":
      return expr.kind === "name" && type.names.includes(expr.name);
    case "text":
      return expr.kind === "string";
    case "list":
      return expr.kind === "list";
    case "part":
      return pathOf(expr) !== undefined;
    case "result":
      return isCall(c, expr, type.of);
    case "section":
      return expr.kind === "name" && c.sections(type.section).includes(expr.name);
    default:
      return false;
  }
}

function isNumericType(type: Type): type is Numeric {
  return type.kind === "number" || type.kind === "quantity";
}

function checkUnion(c: Context, expr: ast.Expr, type: Type & { readonly kind: "union" }): Value {
  const fitting = type.of.find((candidate) => fits(c, expr, candidate));
  if (fitting !== undefined) return checkValue(c, expr, fitting);
  const numeric = type.of.filter(isNumericType);
  if (isNumeric(expr) && numeric.length > 0) return checkNumber(c, expr, numeric);
  if (expr.kind === "name") {
    const words = type.of.flatMap((of) =>
      of.kind === "choice"
        ? of.names
        : of.kind === "section"
          ? c.sections(of.section)
          : of.kind === "result"
            ? functionsGiving(c.schemas, of.of)
            : [],
    );
    const help = didYouMean(expr.name, words);
    if (help !== undefined) return wrong(c, expr, type, { help });
  }
  return wrong(c, expr, type);
}

function checkWord(
  c: Context,
  expr: ast.Expr & { readonly kind: "name" },
  type: Type & { readonly kind: "choice" },
): Value {
  const { name, span } = expr;
  if (type.names.includes(name)) return { kind: "word", of: "choice", name, span };
  c.diagnostics.report("DSK6015", span, { name, expected: typeText(type) }, meant(expr, type.names));
  return { kind: "error", span };
}

/** Help and fix for a misspelt word. */
function meant({ name, span }: ast.Expr & { readonly kind: "name" }, names: readonly string[]): Details {
  const help = didYouMean(name, names);
  if (help === undefined) return {};
  const [best, second] = closest(name, names);
  if (best === undefined || second !== undefined) return { help };
  return { help, fix: { title: `write \`${best}\``, span, text: best } };
}

function checkName(
  c: Context,
  expr: ast.Expr & { readonly kind: "name" },
  type: Type & { readonly kind: "section" | "axis" },
): Value {
  const { name, span } = expr;
  const names = type.kind === "axis" ? c.axes : c.sections(type.section);
  if (names.includes(name)) return { kind: "word", of: type.kind, name, span };
  const details = meant(expr, names);
  if (type.kind === "axis") {
    const help = names.length === 0 ? "declare it in `axes { ... }`" : `its axes are ${names.join(", ")}`;
    c.diagnostics.report("DSK3003", span, { name }, { help, ...details });
  } else c.diagnostics.report("DSK6006", span, { section: type.section, name }, details);
  return { kind: "error", span };
}

/** The terms of `a + b - c`; a difference is left to the term, which reports it. */
function termsOf(expr: ast.Expr): ast.Expr[] {
  if (expr.kind === "binary" && expr.op === "+") return [...termsOf(expr.left), ...termsOf(expr.right)];
  return [expr];
}

/** `term`, `0.5 * term` or `term * 0.5`. */
function checkTerm(c: Context, expr: ast.Expr, type: Type): { weight: number; value: Value } {
  if (expr.kind === "binary" && expr.op === "*") {
    const [factor, term] = isNumeric(expr.left) ? [expr.left, expr.right] : [expr.right, expr.left];
    const number = checkValue(c, factor, NUMBER);
    return { weight: number.kind === "number" ? number.value : 1, value: checkValue(c, term, type) };
  }
  return { weight: 1, value: checkValue(c, expr, type) };
}

/** The words of `a.b.c`. */
export function pathOf(expr: ast.Expr): ast.Name[] | undefined {
  if (expr.kind === "name") return [{ text: expr.name, span: expr.span }];
  if (expr.kind !== "member") return undefined;
  const before = pathOf(expr.object);
  return before === undefined ? undefined : [...before, expr.name];
}

function checkPart(c: Context, expr: ast.Expr): Value {
  const path = pathOf(expr);
  return path === undefined ? wrong(c, expr, { kind: "part" }) : partOf(c, path);
}

/** A part of the model by the words of its path. Anything goes where the model has errors of its own. */
export function partOf(c: Context, path: readonly ast.Name[]): Value {
  const span = { ...path[0]!.span, end: path.at(-1)!.span.end };
  const words = path.map((name) => name.text);
  if (c.model === undefined) return { kind: "word", of: "part", name: words.join("."), span };
  const unknown = new Parts(c.model.module).unknown(words);
  if (unknown === undefined) return { kind: "word", of: "part", name: words.join("."), span };
  const name = words.slice(0, unknown.index + 1).join(".");
  const help = didYouMean(words[unknown.index]!, unknown.names);
  c.diagnostics.report(
    "DSK6204",
    path[unknown.index]!.span,
    { model: c.model.module.name, name },
    help === undefined ? {} : { help },
  );
  return { kind: "error", span };
}

function checkNames(c: Context, expr: ast.Expr): Value {
  const path = pathOf(expr)?.map((name) => name.text);
  if (path?.length !== 3 || path[0] !== "std" || path[1] !== "hf") return wrong(c, expr, { kind: "names" });
  const name = path[2]!;
  if (c.tables.includes(name)) return { kind: "word", of: "names", name, span: expr.span };
  const found = `\`std.hf.${name}\``;
  const help = tableHelp(name, c.tables);
  c.diagnostics.report("DSK6010", expr.span, { expected: typeText({ kind: "names" }), found }, { help });
  return { kind: "error", span: expr.span };
}

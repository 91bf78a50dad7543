/** Calls of the functions that sections have: `adamw(betas: [0.9, 0.95])`. */
import { closest, didYouMean, thereAre } from "../../../compiler/diagnostics/did-you-mean.ts";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import type { Span } from "../../../compiler/diagnostics/source.ts";
import type * as ast from "../../syntax/ast.ts";
import type { Context } from "./context.ts";
import { functionsGiving, type Param, type Signature } from "./schema.ts";
import { NUMBERS, withArticle, type Value } from "./types.ts";

/** A loss that a block of the model computes takes its weight. */
function lossSignature(name: string): Signature {
  const weight = NUMBERS.find((type) => type.name === "nonnegative")!;
  const param: Param = {
    name: "weight",
    type: { kind: "scheduled", of: weight },
    required: true,
    value: undefined,
    each: false,
  };
  return { name, doc: undefined, params: [param], result: "loss" };
}

/** True for a call, and for a name that some function with this result has: `auto` for `auto()`. */
export function isCall(c: Context, expr: ast.Expr, result: string): boolean {
  if (expr.kind === "call") return expr.callee.kind === "name";
  return expr.kind === "name" && (c.schemas.functions.get(expr.name)?.some((f) => f.result === result) ?? false);
}

/** Checks a call of which `isCall` is true. */
export function checkCall(c: Context, expr: ast.Expr, result: string): Value {
  const { span } = expr;
  const callee = expr.kind === "call" ? expr.callee : expr;
  const args = expr.kind === "call" ? expr.args : [];
  if (callee.kind !== "name") throw new Error("a call of something without a name");
  const found = resolve(c, callee.name, result);
  if (found === undefined) {
    reportUnknown(c, callee, result);
    return { kind: "error", span };
  }
  return found === "unknown"
    ? { kind: "error", span }
    : { kind: "call", fn: found.name, result, args: bind(c, found, args, span), span };
}

/** The function of a name that has this result; `unknown` where only the model, which has errors, could tell. */
function resolve(c: Context, name: string, result: string): Signature | "unknown" | undefined {
  const own = c.schemas.functions.get(name)?.find((signature) => signature.result === result);
  if (own !== undefined || result !== "loss") return own;
  if (c.model === undefined) return "unknown";
  return c.model.module.losses.has(name) ? lossSignature(name) : undefined;
}

function reportUnknown(c: Context, { name, span }: ast.Expr & { readonly kind: "name" }, result: string): void {
  const other = c.schemas.functions.get(name)?.[0];
  if (other !== undefined) {
    c.diagnostics.report("DSK6010", span, {
      expected: withArticle(result),
      found: `\`${name}\`, ${withArticle(other.result)}`,
    });
    return;
  }
  const names = functionsGiving(c.schemas, result);
  const losses = result === "loss" ? [...(c.model?.module.losses ?? [])] : [];
  const known = [...names, ...losses];
  const help = didYouMean(name, known) ?? thereAre(known) ?? "there are none";
  if (result === "loss" && c.model !== undefined) {
    c.diagnostics.report("DSK6201", span, { model: c.model.module.name, name }, { help });
  } else c.diagnostics.report("DSK6013", span, { name, result: withArticle(result) }, { help });
}

/** Gives each parameter its argument or its default. */
function bind(c: Context, signature: Signature, args: readonly ast.Arg[], at: Span): Map<string, Value> {
  const values = new Map<string, Value>();
  const callee = signature.name;
  const fail = (span: Span, why: string, help?: string): void => {
    c.diagnostics.report("DSK6014", span, { callee, why }, help === undefined ? {} : { help });
  };
  const positional = args.filter((arg) => arg.name === undefined);
  const each = signature.params.find((param) => param.each);
  if (each !== undefined) {
    const items = positional.map((arg) => c.check(c, arg.value, each.type));
    values.set(each.name, { kind: "list", items, span: at });
  }
  const plain = signature.params.filter((param) => !param.each);
  const claimed = new Map<string, ast.Arg>();
  positional.forEach((arg, index) => {
    if (each !== undefined) return;
    const param = plain[index];
    if (param !== undefined) claimed.set(param.name, arg);
    else
      fail(
        arg.span,
        plain.length === 0 ? "takes no arguments" : `takes ${plain.length} argument${plain.length === 1 ? "" : "s"}`,
      );
  });
  const misspelt: ast.Arg[] = [];
  for (const arg of args) {
    if (arg.name === undefined) continue;
    const { text, span } = arg.name;
    if (!plain.some((param) => param.name === text)) {
      const names = plain.map((param) => param.name);
      fail(
        span,
        `has no argument \`${text}\``,
        didYouMean(text, names) ?? (names.length > 0 ? `it takes ${names.join(", ")}` : undefined),
      );
      misspelt.push(arg);
    } else if (claimed.has(text)) fail(span, `gets \`${text}\` twice`);
    else claimed.set(text, arg);
  }
  // What a misspelt argument means counts as given; its value is another matter.
  for (const arg of misspelt) {
    const names = plain.map((param) => param.name);
    const [meant, second] = closest(arg.name!.text, names);
    const param = plain.find(({ name }) => name === meant);
    if (param === undefined || second !== undefined || claimed.has(param.name)) continue;
    claimed.set(param.name, arg);
    values.set(param.name, c.check({ ...c, diagnostics: new Diagnostics() }, arg.value, param.type));
  }
  for (const param of plain) {
    if (values.has(param.name)) continue;
    const given = claimed.get(param.name)?.value ?? param.value;
    if (given !== undefined) values.set(param.name, c.check(c, given, param.type));
    else if (param.required) fail(at, `needs \`${param.name}\``);
  }
  return values;
}

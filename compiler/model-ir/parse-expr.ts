import type { Span } from "../diagnostics/source.ts";
import type { FactExpr } from "./types.ts";

/** A number, a fact, an operator or a parenthesis. */
const TOKEN = /\s*(\d[\d.]*(?:e[+-]?\d+)?|[A-Za-z_][A-Za-z0-9_.]*|[-+*/()])/y;

/** Parses the arithmetic of an `expect`; every fact gets the span of the whole line. */
export function parseFactExpr(text: string, span: Span): FactExpr {
  const tokens: string[] = [];
  const trimmed = text.trimEnd();
  for (TOKEN.lastIndex = 0; TOKEN.lastIndex < trimmed.length;) {
    const match = TOKEN.exec(trimmed);
    if (match === null) throw new Error(`\`${text}\` is no arithmetic on facts`);
    tokens.push(match[1]!);
  }
  const expr = sum(tokens, span);
  if (tokens.length > 0) throw new Error(`\`${tokens[0]}\` is left over in \`${text}\``);
  return expr;
}

function sum(tokens: string[], span: Span): FactExpr {
  let left = product(tokens, span);
  for (let op = tokens[0]; op === "+" || op === "-"; op = tokens[0]) {
    tokens.shift();
    left = { kind: "binary", op, left, right: product(tokens, span) };
  }
  return left;
}

function product(tokens: string[], span: Span): FactExpr {
  let left = atom(tokens, span);
  for (let op = tokens[0]; op === "*" || op === "/"; op = tokens[0]) {
    tokens.shift();
    left = { kind: "binary", op, left, right: atom(tokens, span) };
  }
  return left;
}

function atom(tokens: string[], span: Span): FactExpr {
  const token = tokens.shift() ?? "";
  if (token === "(") {
    const inner = sum(tokens, span);
    if (tokens.shift() !== ")") throw new Error("a parenthesis is not closed");
    return inner;
  }
  if (token === "-" && /^\d/.test(tokens[0] ?? "")) return { kind: "number", value: -Number(tokens.shift()) };
  if (/^\d/.test(token)) return { kind: "number", value: Number(token) };
  if (/^[A-Za-z_]/.test(token)) return { kind: "fact", name: token, span };
  throw new Error(`\`${token}\` stands where a number or a fact is expected`);
}

/**
 * Printers put every operation into parentheses, since they do not know where it will stand. Readers need those only where C++ would
 * read something else without: this takes the others out. What is computed, and in which order, stays the same.
 */

/** Strength of what binds: a name, number or call, a product, a sum, and everything weaker. */
const ATOM = 3;
const PRODUCT = 2;
const SUM = 1;
const WEAK = 0;

const STRENGTHS: Readonly<Record<string, number>> = { "*": PRODUCT, "/": PRODUCT, "%": PRODUCT, "+": SUM, "-": SUM };
const WEAK_OPERATORS = new Set(["<", ">", "<=", ">=", "==", "!=", "&", "|", "^", "&&", "||", "?", ":", "<<", ">>"]);
/** An expression begins behind these, and ends before those. */
const OPENING = new Set(["=", "+=", "-=", "*=", "/=", "(", "[", ",", "{", "return", "?", ":"]);
const CLOSING = new Set([")", "]", ",", ";", "}", "?", ":"]);
const TOKEN =
  /[A-Za-z_]\w*|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\w*|<<|>>|<=|>=|==|!=|&&|\|\||\+=|-=|\*=|\/=|%=|\+\+|--|->|::|\S/g;
const TYPES = new Set(
  "bool bf16 char const double f16 f8e4m3 float int long short signed unsigned uint4 void".split(" "),
);

/** A line of C++ without parentheses that say what is so anyway. Comments, strings and directives are left alone. */
export function withoutParentheses(line: string): string {
  const end = line.indexOf("//");
  const code = end < 0 ? line : line.slice(0, end);
  if (!code.includes("(") || /["#\\]/.test(code)) return line;
  return `${stripped(code)}${line.slice(code.length)}`;
}

function stripped(code: string): string {
  const tokens = [...code.matchAll(TOKEN)].map((match): Token => ({ text: match[0], at: match.index }));
  const pairs = pairsOf(tokens);
  if (pairs === undefined) return code;
  for (const [open, close] of pairs) {
    if (!isNeedless(tokens, open, close)) continue;
    const drop = new Set([tokens[open]!.at, tokens[close]!.at]);
    return stripped([...code].filter((_, i) => !drop.has(i)).join(""));
  }
  return code;
}

interface Token {
  readonly text: string;
  readonly at: number;
}

/** Parentheses that belong together; undefined where a line has only one of two. */
function pairsOf(tokens: readonly Token[]): [number, number][] | undefined {
  const open: number[] = [];
  const pairs: [number, number][] = [];
  for (const [i, { text }] of tokens.entries()) {
    if (text === "(") open.push(i);
    if (text !== ")") continue;
    const from = open.pop();
    if (from === undefined) return undefined;
    pairs.push([from, i]);
  }
  return pairs;
}

function isNeedless(tokens: readonly Token[], open: number, close: number): boolean {
  const inside = tokens.slice(open + 1, close);
  const [before, after] = [tokens[open - 1]?.text ?? "", tokens[close + 1]?.text ?? ""];
  const left = OPENING.has(before) ? -1 : isBinary(tokens, open - 1) ? STRENGTHS[before] : undefined;
  const right = CLOSING.has(after) ? -1 : STRENGTHS[after];
  const own = strengthOf(inside);
  if (left === undefined || right === undefined || own === undefined) return false;
  // Of what binds alike, the left one is done first: `a - (b - c)` keeps its parentheses.
  if (own === WEAK) return left < 0 && right < 0 && ![before, after].some((x) => x === "?" || x === ":");
  return own > left && own >= right;
}

/** What binds least in an expression; undefined where it is no expression of the kinds that are known here. */
function strengthOf(tokens: readonly Token[]): number | undefined {
  let depth = 0;
  let own = ATOM;
  let wantsOperand = true;
  for (const [i, { text }] of tokens.entries()) {
    if (text === "(" || text === "[") {
      if (depth++ > 0) continue;
      // Behind an operand it is a call or an index; else it is an operand, or a cast of one.
      if (wantsOperand && text === "[") return undefined;
      continue;
    }
    if (text === ")" || text === "]") {
      depth--;
      if (depth === 0) wantsOperand = isCast(tokens, i);
      continue;
    }
    if (depth > 0) continue;
    if (/^[\w.]/.test(text) && text !== ".") {
      if (!wantsOperand || TYPES.has(text) !== (tokens[i + 1]?.text === "(" && TYPES.has(text))) return undefined;
      wantsOperand = false;
      continue;
    }
    if (text === "." || text === "->" || text === "::") {
      if (wantsOperand) return undefined;
      wantsOperand = true;
      continue;
    }
    const isUnary = wantsOperand;
    if (isUnary) {
      if (text !== "-" && text !== "!") return undefined;
      own = Math.min(own, WEAK);
      continue;
    }
    const strength = STRENGTHS[text] ?? (WEAK_OPERATORS.has(text) ? WEAK : undefined);
    if (strength === undefined) return undefined;
    own = Math.min(own, strength);
    wantsOperand = true;
  }
  return wantsOperand ? undefined : own;
}

/** Whether the parentheses that end here are a type, which an operand follows. */
function isCast(tokens: readonly Token[], close: number): boolean {
  let depth = 0;
  let open = close;
  for (; open >= 0; open--) {
    if (tokens[open]!.text === ")") depth++;
    if (tokens[open]!.text === "(" && --depth === 0) break;
  }
  return (
    tokens.slice(open + 1, close).every(({ text }) => TYPES.has(text) || text === "*") && tokens[close]!.text === ")"
  );
}

/** Whether a token stands between two operands. */
function isBinary(tokens: readonly Token[], i: number): boolean {
  const operand = tokens[i - 1]?.text;
  if (operand === undefined || STRENGTHS[tokens[i]!.text] === undefined) return false;
  return operand === "]" || (operand === ")" && !isCast(tokens, i - 1)) || /^\w/.test(operand);
}

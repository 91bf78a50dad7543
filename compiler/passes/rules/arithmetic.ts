import type { Op, Value } from "../../tensor-ir/types.ts";
import { covers, type Rule, type RuleTable, type Scope } from "../scope.ts";

/** x o c = x, for the constant c as the second operand, or as either one when the op commutes. */
function neutral(constant: number | boolean, commutes: boolean): Rule {
  return (op, s) => {
    const [a, b] = op.operands as readonly [Value, Value];
    if (s.constant(b) === constant) return s.as(a, typeOf(op));
    return commutes && s.constant(a) === constant ? s.as(b, typeOf(op)) : undefined;
  };
}

/** x o c = c. For floats only where x can be neither infinite nor NaN. */
function absorbing(constant: number | boolean): Rule {
  return (op, s) => {
    const [a, b] = op.operands as readonly [Value, Value];
    const x = s.constant(b) === constant ? a : s.constant(a) === constant ? b : undefined;
    return x !== undefined && isFinite(x, s) ? s.fill(constant, typeOf(op)) : undefined;
  };
}

/** Values made of integers, which floats hold without overflow. */
function isFinite(x: Value, s: Scope): boolean {
  if (x.type.dtype === "i32" || x.type.dtype === "bool") return true;
  const constant = s.constant(x);
  if (constant !== undefined) return Number.isFinite(Number(constant));
  const source = s.definedBy(x, "tensor.cast")?.operands[0];
  return source !== undefined && x.type.dtype !== "f16" && x.type.dtype !== "f8e4m3" && isFinite(source, s);
}

/** x o x = x */
const idempotent: Rule = (op, s) => (op.operands[0] === op.operands[1] ? s.as(op.operands[0]!, typeOf(op)) : undefined);

/** f(f(x)) = x */
const involution: Rule = (op, s) => s.definedBy(op.operands[0], op.name)?.operands[0];

/** c o x = x o c: what looks for a factor finds it as the second operand, wherever the author wrote it. */
const constantLast: Rule = (op, s) => {
  const [a, b] = op.operands as readonly [Value, Value];
  if (s.constant(a) === undefined || s.constant(b) !== undefined || a.type.dims.length > 0) return undefined;
  return s.emit(op.name, [b, a], typeOf(op), op.attrs);
};

/** An operand that is broadcast to dims which the other operands bring anyhow. */
const dropBroadcast: Rule = (op, s) => {
  for (const [i, operand] of op.operands.entries()) {
    const x = s.definedBy(operand, "tensor.broadcast")?.operands[0];
    const operands = x === undefined ? op.operands : op.operands.with(i, x);
    if (x !== undefined && covers(operands, typeOf(op))) return s.emit(op.name, operands, typeOf(op), op.attrs);
  }
  return undefined;
};

/** 0 - x = -x, x * -1 = -x */
const negation: Rule = (op, s) => {
  const [a, b] = op.operands as readonly [Value, Value];
  const [c, x] = op.name === "math.sub" || s.constant(b) === undefined ? [a, b] : [b, a];
  if (s.constant(c) !== (op.name === "math.sub" ? 0 : -1)) return undefined;
  return s.as(s.emit("math.neg", [x], x.type), typeOf(op));
};

const square: Rule = (op, s) => {
  const [x, exponent] = op.operands as readonly [Value, Value];
  return s.constant(exponent) === 2 ? s.as(s.emit("math.square", [x], x.type), typeOf(op)) : undefined;
};

/** c ? x : x = x; a constant c; c ? (c ? a : x) : b = c ? a : b, and the same for the other branch. */
const select: Rule = (op, s) => {
  const [c, a, b] = op.operands as readonly [Value, Value, Value];
  const known = a === b ? true : s.constant(c);
  if (known !== undefined) return s.as(known ? a : b, typeOf(op));
  const [inner, other] = [s.definedBy(a, op.name), s.definedBy(b, op.name)];
  const first = inner?.operands[0] === c ? inner.operands[1]! : a;
  const second = other?.operands[0] === c ? other.operands[2]! : b;
  if ((first === a && second === b) || !covers([c, first, second], typeOf(op))) return undefined;
  return s.emit(op.name, [c, first, second], typeOf(op));
};

function typeOf(op: Op): Value["type"] {
  return op.results[0]!.type;
}

export const ARITHMETIC_RULES: RuleTable = {
  "math.add": [neutral(0, true), constantLast, dropBroadcast],
  "math.sub": [neutral(0, false), negation, dropBroadcast],
  "math.mul": [neutral(1, true), absorbing(0), negation, constantLast, dropBroadcast],
  "math.div": [neutral(1, false), dropBroadcast],
  "math.pow": [neutral(1, false), square, dropBroadcast],
  "math.max": [idempotent, dropBroadcast],
  "math.min": [idempotent, dropBroadcast],
  "math.and": [neutral(true, true), absorbing(false), idempotent, dropBroadcast],
  "math.or": [neutral(false, true), absorbing(true), idempotent, dropBroadcast],
  "math.neg": [involution],
  "math.not": [involution],
  "math.select": [select, dropBroadcast],
  "math.lt": [dropBroadcast],
  "math.le": [dropBroadcast],
  "math.gt": [dropBroadcast],
  "math.ge": [dropBroadcast],
  "math.eq": [dropBroadcast],
  "math.ne": [dropBroadcast],
};

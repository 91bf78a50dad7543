import type { Op, Value } from "../../types.ts";
import type { Emitter } from "../emitter.ts";

/** Emits one operand's gradient, with exactly the operand's type. Called only when that gradient is needed. */
export type OperandGradient = () => Value;

/**
 * The vector-Jacobian product of an op with one result: given the gradient of the result, one entry per operand,
 * undefined for an operand that has none (an index, a mask).
 */
export type Vjp = (emit: Emitter, op: Op, grad: Value) => readonly (OperandGradient | undefined)[];

/** The op's result never carries a gradient back to its operands. */
export interface NoGradient {
  readonly noGradient: string;
}

export type VjpTable = Readonly<Record<string, Vjp | NoGradient>>;

export function none(reason: string): NoGradient {
  return { noGradient: reason };
}

export function operand(op: Op, index: number): Value {
  const value = op.operands[index];
  if (value === undefined) throw new Error(`${op.name} has no operand ${index}`);
  return value;
}

export function result(op: Op): Value {
  const [value] = op.results;
  if (value === undefined || op.results.length !== 1) throw new Error(`${op.name} must have one result`);
  return value;
}

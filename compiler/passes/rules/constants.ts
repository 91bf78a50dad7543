import { stringAttr } from "../../tensor-ir/attrs.ts";
import { knownProduct, withoutDims } from "../../tensor-ir/ops/dims.ts";
import type { DType } from "../../tensor-ir/types.ts";
import type { Rule, RuleTable } from "../scope.ts";

type Scalar = number | boolean;

/** What the ops make of numbers. Functions of the C library, whose last bit differs between devices, are left to them. */
const MEANING: Readonly<Record<string, (...x: number[]) => Scalar>> = {
  "math.neg": (x) => -x!,
  "math.sqrt": (x) => Math.sqrt(x!),
  "math.recip": (x) => 1 / x!,
  "math.relu": (x) => (x! > 0 ? x! : 0),
  "math.abs": (x) => Math.abs(x!),
  "math.sign": (x) => Math.sign(x!),
  "math.floor": (x) => Math.floor(x!),
  "math.square": (x) => x! * x!,
  "math.not": (x) => x === 0,
  "math.add": (a, b) => a! + b!,
  "math.sub": (a, b) => a! - b!,
  "math.mul": (a, b) => a! * b!,
  "math.div": (a, b) => a! / b!,
  "math.max": (a, b) => (a! >= b! ? a! : b!),
  "math.min": (a, b) => (a! <= b! ? a! : b!),
  "math.lt": (a, b) => a! < b!,
  "math.le": (a, b) => a! <= b!,
  "math.gt": (a, b) => a! > b!,
  "math.ge": (a, b) => a! >= b!,
  "math.eq": (a, b) => a === b,
  "math.ne": (a, b) => a !== b,
  "math.and": (a, b) => a !== 0 && b !== 0,
  "math.or": (a, b) => a !== 0 || b !== 0,
  "tensor.cast": (x) => x!,
  "tensor.broadcast": (x) => x!,
  "tensor.rename": (x) => x!,
  "tensor.slice": (x) => x!,
  "tensor.split_dim": (x) => x!,
  "tensor.merge_dims": (x) => x!,
};

/** A value as this dtype stores it, where that is certain. */
function stored(value: Scalar, dtype: DType): Scalar | undefined {
  if (dtype === "bool") return typeof value === "boolean" ? value : undefined;
  const number = Number(value);
  if (Number.isNaN(number)) return undefined;
  if (dtype === "f64") return number;
  if (dtype === "i32") return Number.isInteger(number) && Math.abs(number) < 2 ** 31 ? number : undefined;
  if (dtype === "f32") return Math.fround(number);
  return Number.isInteger(number) && Math.abs(number) <= 16 ? number : undefined;
}

const fold: Rule = (op, s) => {
  const { type } = op.results[0]!;
  const values = op.operands.map((x) => s.constant(x));
  if (values.includes(undefined)) return undefined;
  // A constant of f32 and bf16 operands is what they store, not the decimal number of the text.
  const exact = op.operands.map((x, i) => stored(values[i]!, x.type.dtype));
  if (exact.includes(undefined)) return undefined;
  const result = stored(MEANING[op.name]!(...exact.map(Number)), type.dtype);
  return result === undefined ? undefined : s.fill(result, type);
};

/** A sum of equal numbers: exact for integers and in f64. */
const foldSum: Rule = (op, s) => {
  const { type } = op.results[0]!;
  const [x] = op.operands;
  const value = s.constant(x);
  if (typeof value !== "number") return undefined;
  if (stringAttr(op.attrs, "kind") !== "sum") return s.fill(value, type);
  const count = knownProduct(s.builder.dims, withoutDims(x!.type.dims, type.dims));
  const sum = count === undefined ? undefined : stored(value * count, type.dtype);
  return sum === undefined || (!Number.isInteger(value) && type.dtype !== "f64") ? undefined : s.fill(sum, type);
};

export const CONSTANT_RULES: RuleTable = {
  ...Object.fromEntries(Object.keys(MEANING).map((name) => [name, [fold]])),
  "tensor.reduce": [foldSum],
};

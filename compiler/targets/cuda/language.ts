/** Scalar expressions as CUDA C++; functions are those of CUDA and of templates/cuda/dsk.cuh. */
import { dtypeOf, type Ranges, upperBound } from "../../kernel-ir/expr.ts";
import type { Expr, Reduction, ScalarType } from "../../kernel-ir/types.ts";
import { isFloatType, type Language, shortest } from "../scalars.ts";

/** The type that a value has while it is computed with. Indices are `long long` only where they may be beyond 2^31. */
export function valueType(dtype: ScalarType): "double" | "float" | "int" | "bool" {
  if (dtype === "f64") return "double";
  if (dtype === "bool") return "bool";
  return isFloatType(dtype) ? "float" : "int";
}

/** The type that it has in memory. Codes of four bits lie two in a byte. */
export function storageType(dtype: ScalarType): string {
  switch (dtype) {
    case "bool":
    case "i4":
      return "unsigned char";
    case "i8":
      return "signed char";
    case "bf16":
    case "f16":
    case "f8e4m3":
      return dtype;
    default:
      return valueType(dtype);
  }
}

/** @param ranges how far axes run, where that is known: products of other indices are made with 64 bits */
export function cudaLanguage(ranges: Ranges): Language {
  return {
    literal,
    load: (store, offset) => loaded(store.dtype, store.name, offset),
    op: printOp,
    infix(expr, symbol, [a, b]) {
      if (expr.dtype !== "index" || expr.op !== "mul" || isNear(upperBound(expr, ranges))) return undefined;
      return `(${far(a!)} ${symbol} ${b})`;
    },
    random: ({ draw, stream }, [element, seed, step]) => `random_${draw}(${element}, ${stream}u, ${seed}, ${step})`,
    named: (name, dtype, text) =>
      `const ${isFar(text) && dtype === "index" ? FAR : valueType(dtype)} ${name} = ${text};`,
  };
}

/** The axis of neighbors that a thread moves together, at most so many (rows/vectors.ts). */
export const NEIGHBOR = "neighbor of a thread";
export const NEIGHBORS = 8;

const FAR = "long long";

/** Whether an int holds it. */
export function isNear(size: number | undefined): boolean {
  return size !== undefined && size < 2 ** 31;
}

/** An index with 64 bits. */
export function far(index: string): string {
  return `(${FAR})${index}`;
}

function isFar(text: string): boolean {
  return text.includes(far(""));
}

/** An element as it is computed with. */
export function loaded(dtype: ScalarType, array: string, offset: string): string {
  switch (dtype) {
    case "i4":
      return `int4_at(${array}, ${offset})`;
    case "i8":
      return `int(${array}[${offset}])`;
    case "bool":
      return `(${array}[${offset}] != 0)`;
    case "bf16":
    case "f16":
    case "f8e4m3":
      return `float(${array}[${offset}])`;
    default:
      return `${array}[${offset}]`;
  }
}

/** A value as it is stored. */
export function stored(dtype: ScalarType, text: string): string {
  return dtype === "bf16" || dtype === "f16" || dtype === "f8e4m3" ? `${dtype}(${text})` : text;
}

/** Functions of CUDA by their names for double; those for float have an f behind it. */
const MATH = new Set(["exp", "log", "sqrt", "rsqrt", "tanh", "floor", "pow"]);

function printOp(expr: Expr & { kind: "op" }, x: readonly string[]): string {
  const type = valueType(expr.dtype);
  const from = dtypeOf(expr.operands[0]!);
  switch (expr.op) {
    case "select":
      return `(${x[0]} ? ${x[1]} : ${x[2]})`;
    case "cast":
      if (type === valueType(from)) return x[0]!;
      if (type === "bool") return `(${x[0]} != 0)`;
      return type === "int" && isFloatType(from) ? `to_int(${x[0]})` : `${type}(${x[0]})`;
    case "neg":
      return `(-${x[0]})`;
    case "not":
      return `(!${x[0]})`;
    case "recip":
      return `(${literal(1, expr.dtype)} / ${x[0]})`;
    case "relu":
      return `(${x[0]} > 0 ? ${x[0]} : ${literal(0, expr.dtype)})`;
    case "abs":
      return type === "int" ? `abs(${x[0]})` : `${type === "float" ? "fabsf" : "fabs"}(${x[0]})`;
    case "max":
    case "min":
      if (type !== "int") return `${expr.op}_nan(${x.join(", ")})`;
      if (!x.some(isFar)) return `${expr.op}(${x.join(", ")})`;
      return `(${x[0]} ${expr.op === "max" ? ">" : "<"} ${x[1]} ? ${x[0]} : ${x[1]})`;
    case "sin":
    case "cos":
      return `${type === "float" ? "exact_" : ""}${expr.op}(${x[0]})`;
    default:
      return `${expr.op}${type === "float" && MATH.has(expr.op) ? "f" : ""}(${x.join(", ")})`;
  }
}

/** A reduction of two values. */
export function folded(reduction: Reduction, type: string, a: string, b: string): string {
  if (reduction === "sum") return `${a} + ${b}`;
  return `${reduction}${type === "int" ? "" : "_nan"}(${a}, ${b})`;
}

/** A number with its type. */
export function literal(value: number | boolean, dtype: ScalarType): string {
  if (typeof value === "boolean") return String(value);
  if (!isFloatType(dtype)) {
    if (!Number.isFinite(value)) return value < 0 ? "(-2147483647 - 1)" : "2147483647";
    return value < 0 ? `(${value})` : String(value);
  }
  const type = valueType(dtype);
  const number = type === "float" ? Math.fround(value) : value;
  if (Number.isNaN(number)) return "not_a_number()";
  if (!Number.isFinite(number)) return number < 0 ? "(-infinity())" : "infinity()";
  const exact = type === "float" ? shortest(number) : String(number);
  const text = `${/[.e]/.test(exact) ? exact : `${exact}.0`}${type === "float" ? "f" : ""}`;
  return number < 0 ? `(${text})` : text;
}

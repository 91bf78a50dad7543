/** Scalar expressions as WGSL. */
import { dtypeOf, widened } from "../../kernel-ir/expr.ts";
import type { Expr, Reduction, ScalarType } from "../../kernel-ir/types.ts";
import { isFloatType, type Language, shortest } from "../scalars.ts";

/** The type that a value has while it is computed with: WGSL has no f64, and indices of 2^31 words reach far enough. */
export function valueType(dtype: ScalarType): "f32" | "i32" | "bool" {
  if (dtype === "bool") return "bool";
  return isFloatType(dtype) ? "f32" : "i32";
}

export const WGSL: Language = {
  literal,
  load: (store, offset) => ("access" in store ? `load_${store.name}(${offset})` : `${store.name}[${offset}]`),
  op: printOp,
  random: ({ draw, stream }, [element, seed, step]) => `random_${draw}(${element}, ${stream}u, ${seed}, ${step})`,
  named: (name, _dtype, text) => `let ${name} = ${text};`,
};

/** Operators that WGSL has under another name, or whose limits it leaves open: functions of templates/webgpu/math.wgsl. */
const FUNCTIONS: Readonly<Record<string, string>> = {
  sin: "exact_sin",
  cos: "exact_cos",
  tanh: "tanh_f32",
  sigmoid: "sigmoid",
  silu: "silu",
  gelu: "gelu",
  softplus: "softplus",
  normal_cdf: "normal_cdf",
  pow: "pow_f32",
  rsqrt: "inverseSqrt",
};

function printOp(expr: Expr & { kind: "op" }, x: readonly string[]): string {
  const type = valueType(expr.dtype);
  const from = valueType(dtypeOf(expr.operands[0]!));
  switch (expr.op) {
    case "select":
      return `select(${x[2]}, ${x[1]}, ${x[0]})`;
    case "cast":
      return from === type ? x[0]! : type === "bool" ? `(${x[0]} != ${from}(0))` : `${type}(${x[0]})`;
    case "neg":
      return `(-${x[0]})`;
    case "not":
      return `(!${x[0]})`;
    case "square":
      return `(${x[0]} * ${x[0]})`;
    case "recip":
      return `(1.0 / ${x[0]})`;
    case "relu":
      return `select(${type}(0), ${x[0]}, ${x[0]} > ${type}(0))`;
    case "sign":
      return type === "f32" ? `sign_f32(${x[0]})` : `sign(${x[0]})`;
    case "max":
    case "min":
      return type === "f32" ? `${expr.op}_f32(${x.join(", ")})` : `${expr.op}(${x.join(", ")})`;
    default:
      return `${FUNCTIONS[expr.op] ?? expr.op}(${x.join(", ")})`;
  }
}

/** A value as it is stored: small floats are rounded. */
export function rounded(dtype: ScalarType, text: string): string {
  return widened(dtype) === dtype ? text : `round_${dtype}(${text})`;
}

/** A reduction of two values. */
export function folded(reduction: Reduction, type: string, a: string, b: string): string {
  if (reduction === "sum") return `${a} + ${b}`;
  return type === "f32" ? `${reduction}_f32(${a}, ${b})` : `${reduction}(${a}, ${b})`;
}

/** A number with its type. Infinities and NaN are no constants in WGSL: functions make them of bits. */
export function literal(value: number | boolean, dtype: ScalarType): string {
  if (typeof value === "boolean") return String(value);
  if (!isFloatType(dtype)) {
    if (!Number.isFinite(value)) return value < 0 ? "i32(-2147483648)" : "2147483647";
    return value < 0 ? `(${value})` : String(value);
  }
  if (Number.isNaN(value)) return "nan()";
  const rounded = Math.fround(value);
  if (!Number.isFinite(rounded)) return rounded < 0 ? "(-infinity())" : "infinity()";
  const exact = shortest(rounded);
  const text = /[.e]/.test(exact) ? exact : `${exact}.0`;
  return rounded < 0 ? `(${text})` : text;
}

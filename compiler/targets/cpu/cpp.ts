/** Scalar expressions as C++. */
import { dtypeOf } from "../../kernel-ir/expr.ts";
import type { Expr, Reduction, ScalarType } from "../../kernel-ir/types.ts";
import { isFloatType, type Language, shortest } from "../scalars.ts";

/** The C++ type that a value has while it is computed with. */
export function valueType(dtype: ScalarType): string {
  switch (dtype) {
    case "f64":
      return "double";
    case "i32":
    case "i8":
    case "i4":
      return "int32_t";
    case "index":
      return "int64_t";
    case "bool":
      return "bool";
    default:
      return "float";
  }
}

/** The C++ type that it has in memory. */
export function storageType(dtype: ScalarType): string {
  switch (dtype) {
    case "bool":
      return "uint8_t";
    case "i8":
      return "int8_t";
    case "i4":
    case "bf16":
    case "f16":
    case "f8e4m3":
      return dtype;
    default:
      return valueType(dtype);
  }
}

export const CPP: Language = {
  literal,
  load: ({ name, dtype }, offset) => (dtype === "i4" ? `dsk_get(${name}, ${offset})` : `dsk_get(${name}[${offset}])`),
  op: printOp,
  random: ({ draw, stream }, [element, seed, step]) => `dsk_${draw}(${element}, ${stream}u, ${seed}, ${step})`,
  named: (name, dtype, text) => `const ${valueType(dtype)} ${name} = ${text};`,
};

function printOp(expr: Expr & { kind: "op" }, x: readonly string[]): string {
  const type = valueType(expr.dtype);
  const from = dtypeOf(expr.operands[0]!);
  switch (expr.op) {
    case "select":
      return `(${x[0]} ? ${x[1]} : ${x[2]})`;
    case "cast":
      if (expr.dtype === "i32" && isFloatType(from)) return `dsk_to_i32(${x[0]})`;
      if (expr.dtype === "bool") return `(${x[0]} != 0)`;
      return `${type}(${x[0]})`;
    case "neg":
      return `(-${x[0]})`;
    case "not":
      return `(!${x[0]})`;
    case "square":
      return `(${x[0]} * ${x[0]})`;
    case "recip":
      return `(${type}(1) / ${x[0]})`;
    case "rsqrt":
      return `(${type}(1) / dsk_sqrt(${x[0]}))`;
    case "relu":
      return `(${x[0]} > 0 ? ${x[0]} : ${type}(0))`;
    case "abs":
      return `dsk_fabs(${x[0]})`;
    case "max":
    case "min":
      return `dsk_${expr.op}<${type}>(${x.join(", ")})`;
    default:
      return `dsk_${expr.op}(${x.join(", ")})`;
  }
}

/** A statement that takes one more term into a reduction. */
export function foldInto(place: string, reduction: Reduction, type: string, term: string): string {
  return reduction === "sum" ? `${place} += ${term};` : `${place} = dsk_${reduction}<${type}>(${place}, ${term});`;
}

/** A number as C++ writes it, with its type. */
export function literal(value: number | boolean, dtype: ScalarType): string {
  if (typeof value === "boolean") return String(value);
  if (!isFloatType(dtype) && !Number.isFinite(value)) return value < 0 ? "INT32_MIN" : "INT32_MAX";
  if (!isFloatType(dtype)) return value < 0 ? `(${value})` : String(value);
  const type = valueType(dtype);
  if (Number.isNaN(value)) return `${type}(DSK_NAN)`;
  if (!Number.isFinite(value)) return `${type}(${value < 0 ? "-" : ""}DSK_INF)`;
  const exact = type === "float" ? shortest(Math.fround(value)) : String(value);
  const text = /[.e]/.test(exact) ? exact : `${exact}.0`;
  const typed = type === "float" ? `${text}f` : text;
  return value < 0 ? `(${typed})` : typed;
}

import type { DType, Value } from "../types.ts";
import { isFloat } from "../types.ts";

const WIDTH: Readonly<Record<DType, number>> = { f64: 4, f32: 3, bf16: 2, f16: 2, f8e4m3: 1, i32: 0, bool: 0 };

/**
 * The widest of some float types. bf16 and f16 hold neither the other's range nor its precision, so together they give
 * f32.
 */
export function widestFloat(dtypes: readonly DType[]): DType {
  return dtypes.reduce((a, b) => {
    if (WIDTH[a] === WIDTH[b] && a !== b) return "f32";
    return WIDTH[a] >= WIDTH[b] ? a : b;
  });
}

/** The dtype of arithmetic on operands of one kind: the widest float, or their common i32 or bool. */
export function commonDtype(values: readonly Value[]): DType {
  const dtypes = values.map((value) => value.type.dtype);
  return dtypes.every(isFloat) ? widestFloat(dtypes) : dtypes[0]!;
}

/** A fault unless all values are floats, or all i32, or all bool. */
export function sameKind(values: readonly Value[]): string | false {
  const dtypes = values.map((value) => value.type.dtype);
  if (dtypes.every(isFloat) || dtypes.every((dtype) => dtype === dtypes[0])) return false;
  return `operands are ${dtypes.join(" and ")}: convert one with tensor.cast`;
}

export type DTypeClass = "float" | "i32" | "bool";

export function classOf(dtype: DType): DTypeClass {
  return dtype === "i32" || dtype === "bool" ? dtype : "float";
}

/** A fault unless the value's dtype is of one of the classes. `what` names the value in the message. */
export function dtypeIn(value: Value, what: string, ...classes: readonly DTypeClass[]): string | false {
  const { dtype } = value.type;
  return !classes.includes(classOf(dtype)) && `${what} is ${dtype}, expected ${classes.join(" or ")}`;
}

/** A fault unless the result's dtype is the one expected. */
export function resultDtype(result: Value, expected: DType): string | false {
  return result.type.dtype !== expected && `result is ${result.type.dtype}, expected ${expected}`;
}

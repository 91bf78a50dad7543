import { type DType, isFloat, type Program, type TensorType, type Value } from "../tensor-ir/types.ts";

/**
 * The program with all its floats in one dtype, params as well: what the interpreter does at a precision that is not the
 * declared one. Rounding that the model asks for (`bf16`) is left out.
 */
export function inDtype(program: Program, dtype: DType): Program {
  const values = new Map<number, Value>();
  const changed = (type: TensorType): TensorType => (isFloat(type.dtype) ? { ...type, dtype } : type);
  const value = (from: Value): Value => {
    const known = values.get(from.id);
    if (known !== undefined) return known;
    const made = { ...from, type: changed(from.type) };
    values.set(from.id, made);
    return made;
  };
  const ops = program.ops.map((op) => ({ ...op, operands: op.operands.map(value), results: op.results.map(value) }));
  return { ...program, ops };
}

import type { ProgramBuilder } from "../builder.ts";
import { DTYPES, isFloat } from "../types.ts";
import type { Attrs, DimLabel, DType, TensorType, Value } from "../types.ts";

/** The union of labels, in order of appearance. */
export function joinDims(...lists: readonly (readonly DimLabel[])[]): DimLabel[] {
  return [...new Set(lists.flat())];
}

export function sameDims(a: readonly DimLabel[], b: readonly DimLabel[]): boolean {
  return a.length === b.length && a.every((label, i) => label === b[i]);
}

/** The widest float dtype among the operands, or the first dtype when none is a float. */
export function widestDtype(...values: readonly Value[]): DType {
  const floats = values.map((value) => value.type.dtype).filter(isFloat);
  return DTYPES.find((dtype) => floats.includes(dtype)) ?? values[0]!.type.dtype;
}

/** Emits ops whose types follow from their operands, in the few forms that backward rules are made of. */
export class Emitter {
  readonly builder: ProgramBuilder;

  constructor(builder: ProgramBuilder) {
    this.builder = builder;
  }

  emit(name: string, operands: readonly Value[], type: TensorType, attrs: Attrs = {}): Value {
    return this.builder.emit(name, operands, type, attrs);
  }

  /** A scalar constant. */
  constant(value: number, dtype: DType): Value {
    return this.full(value, { dtype, dims: [] });
  }

  full(value: number, type: TensorType): Value {
    return this.emit("tensor.constant", [], type, { value });
  }

  unary(name: string, x: Value): Value {
    return this.emit(name, [x], x.type);
  }

  binary(name: string, a: Value, b: Value): Value {
    return this.emit(name, [a, b], { dtype: widestDtype(a, b), dims: joinDims(a.type.dims, b.type.dims) });
  }

  compare(name: string, a: Value, b: Value): Value {
    return this.emit(name, [a, b], { dtype: "bool", dims: joinDims(a.type.dims, b.type.dims) });
  }

  mul(a: Value, b: Value): Value {
    return this.binary("math.mul", a, b);
  }

  scale(x: Value, factor: number): Value {
    return this.mul(x, this.constant(factor, x.type.dtype));
  }

  neg(x: Value): Value {
    return this.unary("math.neg", x);
  }

  /** `condition ? x : 0`. */
  where(condition: Value, x: Value): Value {
    return this.emit("math.select", [condition, x, this.constant(0, x.type.dtype)], this.#joined(condition, x));
  }

  /** `condition ? 0 : x`. */
  unless(condition: Value, x: Value): Value {
    return this.emit("math.select", [condition, this.constant(0, x.type.dtype), x], this.#joined(condition, x));
  }

  /** x with exactly this type: dims that the type lacks are summed, dims that x lacks are added, the rest is permuted and cast. */
  conform(x: Value, type: TensorType): Value {
    const dtype = x.type.dtype;
    const kept = type.dims.filter((label) => x.type.dims.includes(label));
    let value = x;
    if (kept.length < x.type.dims.length) value = this.emit("tensor.reduce", [value], { dtype, dims: kept }, { kind: "sum" });
    if (!sameDims(value.type.dims, type.dims)) value = this.emit("tensor.broadcast", [value], { dtype, dims: type.dims });
    return value.type.dtype === type.dtype ? value : this.emit("tensor.cast", [value], type);
  }

  /** The sum of a * b over every label that the type lacks, with exactly this type. */
  product(a: Value, b: Value, type: TensorType): Value {
    const joined = joinDims(a.type.dims, b.type.dims);
    if (joined.every((label) => type.dims.includes(label))) return this.conform(this.mul(a, b), type);
    return this.conform(this.emit("tensor.contract", [a, b], { dtype: widestDtype(a, b), dims: available(type, a, b) }), type);
  }

  /** A label of size 1 that the value does not have yet. */
  unitDim(x: Value): DimLabel {
    let label = "1";
    while (x.type.dims.includes(label) || (this.builder.dims.get(label) ?? 1) !== 1) label += ".1";
    return this.builder.dim(label, 1);
  }

  #joined(condition: Value, x: Value): TensorType {
    return { dtype: x.type.dtype, dims: joinDims(x.type.dims, condition.type.dims) };
  }
}

/** The labels of a type that at least one of the values has, in the order of the type. */
export function available(type: TensorType, ...values: readonly Value[]): DimLabel[] {
  return type.dims.filter((label) => values.some((value) => value.type.dims.includes(label)));
}

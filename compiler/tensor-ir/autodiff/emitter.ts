import type { ProgramBuilder } from "../builder.ts";
import { joinDims } from "../ops/dims.ts";
import { commonDtype } from "../ops/dtypes.ts";
import { type Attrs, type DimLabel, type DType, sameType, type TensorType, type Value } from "../types.ts";

/** Emits ops whose types follow from their operands, in the few forms that backward rules are made of. */
export class Emitter {
  readonly builder: ProgramBuilder;
  /**
   * Whether the gradient at hand may be 0 only because a choice (a select, a maximum, a gather) did not take the value.
   * Then `times` and `over` keep 0 as 0 also where the derivative is infinite or not a number.
   */
  guarded = false;
  readonly #finite = new Set<number>();

  constructor(builder: ProgramBuilder) {
    this.builder = builder;
    for (const { name, attrs, results } of builder.ops) {
      if (name === "tensor.constant" && Number.isFinite(Number(attrs["value"]))) this.#finite.add(results[0]!.id);
    }
  }

  emit(name: string, operands: readonly Value[], type: TensorType, attrs: Attrs = {}): Value {
    return this.builder.emit(name, operands, type, attrs);
  }

  /** A scalar constant. */
  constant(value: number, dtype: DType): Value {
    return this.full(value, { dtype, dims: [] });
  }

  full(value: number, type: TensorType): Value {
    const result = this.emit("tensor.constant", [], type, { value });
    if (Number.isFinite(value)) this.#finite.add(result.id);
    return result;
  }

  unary(name: string, x: Value): Value {
    return this.emit(name, [x], x.type);
  }

  binary(name: string, a: Value, b: Value): Value {
    return this.emit(name, [a, b], { dtype: commonDtype([a, b]), dims: joinDims(a.type.dims, b.type.dims) });
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

  /** gradient * factor, where a gradient of 0 stays 0 when it is guarded. */
  times(gradient: Value, factor: Value): Value {
    return this.#guard(gradient, factor, this.mul(gradient, factor));
  }

  /** gradient / divisor, where a gradient of 0 stays 0 when it is guarded. */
  over(gradient: Value, divisor: Value): Value {
    return this.#guard(gradient, divisor, this.binary("math.div", gradient, divisor));
  }

  /** `condition ? x : 0`. */
  where(condition: Value, x: Value): Value {
    return this.emit("math.select", [condition, x, this.constant(0, x.type.dtype)], joined(condition, x));
  }

  /** `condition ? 0 : x`. */
  unless(condition: Value, x: Value): Value {
    return this.emit("math.select", [condition, this.constant(0, x.type.dtype), x], joined(condition, x));
  }

  /** x with exactly this type: dims that the type lacks are summed, dims that x lacks are added, the rest is permuted and cast. */
  conform(x: Value, type: TensorType): Value {
    const { dtype } = x.type;
    const kept = available(type, x);
    let value = x;
    if (kept.length < x.type.dims.length)
      value = this.emit("tensor.reduce", [x], { dtype, dims: kept }, { kind: "sum" });
    const spread = { dtype, dims: type.dims };
    if (!sameType(value.type, spread)) value = this.emit("tensor.broadcast", [value], spread);
    return dtype === type.dtype ? value : this.emit("tensor.cast", [value], type);
  }

  /** The sum of a * b over every label that the type lacks, with exactly this type. */
  product(a: Value, b: Value, type: TensorType): Value {
    const all = joinDims(a.type.dims, b.type.dims);
    if (all.every((label) => type.dims.includes(label))) return this.conform(this.mul(a, b), type);
    const contracted = { dtype: commonDtype([a, b]), dims: available(type, a, b) };
    return this.conform(this.emit("tensor.contract", [a, b], contracted), type);
  }

  /** As `product`, where a gradient of 0 stays 0 when it is guarded. */
  timesInto(gradient: Value, factor: Value, type: TensorType): Value {
    if (!this.#needsGuard(factor)) return this.product(gradient, factor, type);
    return this.conform(this.times(gradient, factor), type);
  }

  /** A label of size 1 that the value does not have yet. */
  unitDim(x: Value): DimLabel {
    let label = "1";
    while (x.type.dims.includes(label) || (this.builder.dims.get(label) ?? 1) !== 1) label += ".1";
    return this.builder.dim(label, 1);
  }

  #needsGuard(factor: Value): boolean {
    return this.guarded && !this.#finite.has(factor.id);
  }

  #guard(gradient: Value, factor: Value, value: Value): Value {
    if (!this.#needsGuard(factor)) return value;
    return this.unless(this.compare("math.eq", gradient, this.constant(0, gradient.type.dtype)), value);
  }
}

function joined(condition: Value, x: Value): TensorType {
  return { dtype: x.type.dtype, dims: joinDims(x.type.dims, condition.type.dims) };
}

/** The labels of a type that at least one of the values has, in the order of the type. */
export function available(type: TensorType, ...values: readonly Value[]): DimLabel[] {
  return type.dims.filter((label) => values.some((value) => value.type.dims.includes(label)));
}

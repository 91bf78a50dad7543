import type { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import { isFloat, type Attrs, type DType, type Value } from "../../compiler/tensor-ir/types.ts";
import type { Scope } from "./checker.ts";
import { union, type Dim } from "./dims.ts";
import type { Tensor } from "./values.ts";

/** The builder of the function that is being checked; callers make sure that there is one. */
export function builderOf(scope: Scope): ProgramBuilder {
  if (scope.builder === undefined) throw new Error("tensor code outside a function");
  return scope.builder;
}

/** Appends an op and gives its result as a tensor with these dims in memory order. */
export function emit(
  scope: Scope,
  op: string,
  operands: readonly Tensor[],
  dtype: DType,
  dims: readonly Dim[],
  attrs: Attrs = {},
): Tensor {
  const type = { dtype, dims: dims.map((d) => d.label) };
  const value = builderOf(scope).emit(
    op,
    operands.map((t) => t.value),
    type,
    attrs,
  );
  return { kind: "tensor", value, dims };
}

export function dtypeOf(tensor: Tensor): DType {
  return tensor.value.type.dtype;
}

/** A scalar filled with a number, in a dtype that holds it: an i32 operand beside `0.5` turns to f32, not the other way. */
export function constant(scope: Scope, value: number | boolean, dtype: DType, dims: readonly Dim[] = []): Tensor {
  const holds = typeof value === "boolean" ? "bool" : dtype === "i32" && !Number.isSafeInteger(value) ? "f32" : dtype;
  return emit(scope, "tensor.constant", [], holds, dims, { value });
}

export function cast(scope: Scope, tensor: Tensor, dtype: DType): Tensor {
  if (dtypeOf(tensor) === dtype) return tensor;
  return { ...emit(scope, "tensor.cast", [tensor], dtype, tensor.dims), ...marks([tensor], tensor.dims, dtype) };
}

/** The same data with its dims in another order, or with more of them. */
export function spreadTo(scope: Scope, tensor: Tensor, dims: readonly Dim[]): Tensor {
  if (tensor.dims.length === dims.length && tensor.dims.every((d, i) => d === dims[i])) return tensor;
  return {
    ...emit(scope, "tensor.broadcast", [tensor], dtypeOf(tensor), dims),
    ...marks([tensor], dims, dtypeOf(tensor)),
  };
}

export function rename(scope: Scope, tensor: Tensor, from: readonly Dim[], to: readonly Dim[]): Tensor {
  if (from.length === 0) return tensor;
  const dims = tensor.dims.map((d) => (from.includes(d) ? to[from.indexOf(d)]! : d));
  const attrs = { from: from.map((d) => d.label), to: to.map((d) => d.label) };
  return {
    ...emit(scope, "tensor.rename", [tensor], dtypeOf(tensor), dims, attrs),
    ...marks([tensor], dims, dtypeOf(tensor)),
  };
}

/** Brings two operands to one kind: i32 beside a float becomes f32. */
export function sameKind(scope: Scope, a: Tensor, b: Tensor): [Tensor, Tensor] {
  const [x, y] = [dtypeOf(a), dtypeOf(b)];
  if (x === "i32" && isFloat(y)) return [cast(scope, a, "f32"), b];
  if (y === "i32" && isFloat(x)) return [a, cast(scope, b, "f32")];
  return [a, b];
}

const WIDTH: Readonly<Partial<Record<DType, number>>> = { f64: 4, f32: 3, bf16: 2, f16: 2, f8e4m3: 1 };

/** The dtype of arithmetic on operands of one kind: the widest float; bf16 with f16 gives f32. */
export function widest(a: DType, b: DType): DType {
  const [x, y] = [WIDTH[a] ?? 0, WIDTH[b] ?? 0];
  if (x === y && a !== b) return "f32";
  return x >= y ? a : b;
}

const COMPARISONS = new Set(["math.lt", "math.le", "math.gt", "math.ge", "math.eq", "math.ne", "math.and", "math.or"]);
const FLOATS_ONLY = new Set(["math.div", "math.pow"]);

/** An elementwise op of two operands, broadcast by name. */
export function elementwise(scope: Scope, op: string, left: Tensor, right: Tensor): Tensor {
  let [a, b] = sameKind(scope, left, right);
  if (FLOATS_ONLY.has(op)) [a, b] = [float(scope, a), float(scope, b)];
  const dims = union(a.dims, b.dims);
  const dtype = COMPARISONS.has(op) ? "bool" : widest(dtypeOf(a), dtypeOf(b));
  return { ...emit(scope, op, [a, b], dtype, dims), ...marks([left, right], dims, "bool") };
}

/** The tensor itself if it is a float, else as f32. */
export function float(scope: Scope, tensor: Tensor): Tensor {
  return isFloat(dtypeOf(tensor)) ? tensor : cast(scope, tensor, "f32");
}

/**
 * What stays true of a result: rows that go to experts still do while their slot is there; indices stay indices as long
 * as they are integers.
 */
export function marks(from: readonly Tensor[], dims: readonly Dim[], dtype: DType): Pick<Tensor, "into" | "routed"> {
  const routed = from.find((t) => t.routed !== undefined)?.routed;
  const into = from.find((t) => t.into !== undefined)?.into;
  return {
    ...(routed !== undefined && dims.includes(routed.slot) ? { routed } : {}),
    ...(into !== undefined && dtype === "i32" ? { into } : {}),
  };
}

/** A run-time input of the program, read once per function. */
export function input(scope: Scope, name: string, dtype: DType, dims: readonly Dim[]): Tensor {
  const key = `program.input ${name}`;
  let tensor = scope.reads.get(key);
  if (tensor === undefined) {
    tensor = emit(scope, "program.input", [], dtype, dims, { name });
    scope.reads.set(key, tensor);
  }
  return tensor;
}

export function without(dims: readonly Dim[], gone: readonly Dim[]): Dim[] {
  return dims.filter((d) => !gone.includes(d));
}

export function valuesOf(tensors: readonly Tensor[]): Value[] {
  return tensors.map((t) => t.value);
}

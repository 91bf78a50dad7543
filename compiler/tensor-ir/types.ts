/**
 * The tensor IR: SSA ops over tensors with named dims. One `Program` is one use of a model (`score`, `train_step`,
 * `decode`); the functions of the model IR hold the same ops with `model.call` in them. See docs/tensor-ir.md.
 */
import type { Span } from "../diagnostics/source.ts";

export const DTYPES = ["f64", "f32", "bf16", "f16", "f8e4m3", "i32", "bool"] as const;
export type DType = (typeof DTYPES)[number];

export function isFloat(dtype: DType): boolean {
  return dtype !== "i32" && dtype !== "bool";
}

/** The name of a dim, unique within a program: `T`, `D`, `N+R`, `F.2`. Its size stands in the dim table. */
export type DimLabel = string;

/** Dims in memory order, the last one contiguous. No label twice. */
export interface TensorType {
  readonly dtype: DType;
  readonly dims: readonly DimLabel[];
}

/** A size that is known when the program is built, or null: bound at run time (`T` tokens, `S` positions, `B` sequences). */
export type DimSize = number | null;
export type DimTable = Map<DimLabel, DimSize>;

export interface Value {
  readonly id: number;
  /** The name in the `.dsk` text, kept for printing and for errors. */
  readonly name?: string;
  readonly type: TensorType;
}

export type AttrValue = number | string | boolean | readonly string[] | readonly number[];
export type Attrs = Readonly<Record<string, AttrValue>>;

/** A place in `.dsk` text, and the function that it is in: `Mla`, or `Mla.absorb` where that is not its `forward`. */
export interface Origin extends Span {
  readonly within?: string;
}

export interface Op {
  /** `dialect.verb` */
  readonly name: string;
  readonly operands: readonly Value[];
  readonly results: readonly Value[];
  readonly attrs: Attrs;
  /** Where in the `.dsk` text it came from. Not part of the text form. */
  readonly loc?: Origin;
}

export interface Program {
  readonly name: string;
  readonly dims: DimTable;
  /** In order of execution; every operand is a result of an earlier op. Inputs, params and outputs are ops too. */
  readonly ops: readonly Op[];
}

/** Same dtype, and the same dims in the same order. */
export function sameType(a: TensorType, b: TensorType): boolean {
  return a.dtype === b.dtype && a.dims.length === b.dims.length && a.dims.every((label, i) => label === b.dims[i]);
}

export function typeText(type: TensorType): string {
  return type.dims.length === 0 ? type.dtype : `${type.dtype}[${type.dims.join(", ")}]`;
}

import type { Span } from "../diagnostics/source.ts";
import type { ProgramBuilder } from "../tensor-ir/builder.ts";
import { sameDims } from "../tensor-ir/ops/dims.ts";
import type { Attrs, DimLabel, DType, TensorType, Value } from "../tensor-ir/types.ts";

/** Labels that every module has for what is bound at run time: tokens of this call, positions kept, sequences. */
export const TOKENS = "T";
export const POSITIONS = "S";
export const SEQUENCES = "B";

/** An op whose results do not exist yet. */
export interface Draft {
  readonly name: string;
  readonly operands: readonly Value[];
  readonly results: readonly { readonly type: TensorType; readonly name?: string }[];
  readonly attrs: Attrs;
  readonly loc?: Span;
}

/** Where inlined ops go: a program, or a transformation of them on their way there. */
export interface Sink {
  readonly builder: ProgramBuilder;
  /** Dims that it adds to what depends on copies: types of drafts may leave them out. */
  readonly copies: readonly DimLabel[];
  /** Gives the results. */
  emit(draft: Draft): readonly Value[];
}

/** Appends to the program as it is. */
export function programSink(builder: ProgramBuilder): Sink {
  return {
    builder,
    copies: [],
    emit(draft) {
      const results = draft.results.map(({ type, name }) => builder.value(type, name));
      builder.push({ ...draft, results });
      return results;
    },
  };
}

/** One op with one result. */
export function emitOne(
  sink: Sink,
  name: string,
  operands: readonly Value[],
  type: TensorType,
  attrs: Attrs = {},
  loc?: Span,
  named?: string,
): Value {
  const result = named === undefined ? { type } : { type, name: named };
  return sink.emit({ name, operands, results: [result], attrs, ...(loc === undefined ? {} : { loc }) })[0]!;
}

/** The value in this dtype, under a name of its own; itself when it has it. */
export function cast(sink: Sink, value: Value, dtype: DType, loc?: Span, name?: string): Value {
  if (value.type.dtype === dtype) return value;
  return emitOne(sink, "tensor.cast", [value], { dtype, dims: value.type.dims }, {}, loc, name);
}

/** The value with these dims, which hold all of its own; itself when it has them, in whatever order. */
export function broadcastTo(sink: Sink, value: Value, dims: readonly DimLabel[], loc?: Span): Value {
  if (sameDims(dims, value.type.dims)) return value;
  return emitOne(sink, "tensor.broadcast", [value], { dtype: value.type.dtype, dims }, {}, loc);
}

/** The value in a dtype; itself when it has it. */
export function inDtype(sink: Sink, value: Value, dtype: DType): Value {
  return value.type.dtype === dtype ? value : emitOne(sink, "tensor.cast", [value], { dtype, dims: value.type.dims });
}

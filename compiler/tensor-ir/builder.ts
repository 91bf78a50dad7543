import type { Attrs, DimLabel, DimSize, DimTable, Op, Origin, Program, TensorType, Value } from "./types.ts";

/** Appends ops to a program under construction. Types are given, not inferred: the verifier checks them. */
export class ProgramBuilder {
  readonly dims: DimTable;
  readonly ops: Op[] = [];
  #next: number;
  /** The place in the `.dsk` text that ops are attributed to from now on. */
  loc: Origin | undefined;

  constructor(dims: DimTable = new Map(), firstId = 0) {
    this.dims = dims;
    this.#next = firstId;
  }

  value(type: TensorType, name?: string): Value {
    return name === undefined ? { id: this.#next++, type } : { id: this.#next++, type, name };
  }

  /** Appends an op with one result and returns that result. */
  emit(name: string, operands: readonly Value[], type: TensorType, attrs: Attrs = {}, valueName?: string): Value {
    const result = this.value(type, valueName);
    this.push({ name, operands, results: [result], attrs });
    return result;
  }

  /** Appends an op without results. */
  effect(name: string, operands: readonly Value[], attrs: Attrs = {}): void {
    this.push({ name, operands, results: [], attrs });
  }

  push(op: Op): void {
    this.ops.push(op.loc === undefined && this.loc !== undefined ? { ...op, loc: this.loc } : op);
  }

  /** Names a value after what the text calls it, unless it has a name. */
  name(value: Value, name: string): void {
    if (value.name === undefined) (value as { name?: string }).name = name;
  }

  /** Enters a label into the dim table; the same label twice must have the same size. */
  dim(label: DimLabel, size: DimSize): DimLabel {
    const known = this.dims.get(label);
    if (known !== undefined && known !== size) throw new Error(`dim ${label} is ${known} and ${size}`);
    this.dims.set(label, size);
    return label;
  }

  finish(name: string): Program {
    return { name, dims: this.dims, ops: this.ops };
  }
}

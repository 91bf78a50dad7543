import { ProgramBuilder } from "../tensor-ir/builder.ts";
import { joinDims } from "../tensor-ir/ops/dims.ts";
import { type Attrs, type Op, type Program, sameType, type TensorType, type Value } from "../tensor-ir/types.ts";

/** What an op with one result may be replaced by: a value that is the same in type and content, or undefined to keep the op. */
export type Rule = (op: Op, scope: Scope) => Value | undefined;

/** Rules by the names of the ops they apply to, tried in order. */
export type RuleTable = Readonly<Record<string, readonly Rule[]>>;

/** A program that is written anew, op by op, while rules look at what has been written. */
export class Scope {
  readonly builder: ProgramBuilder;
  readonly #rules: RuleTable;
  readonly #definitions = new Map<number, Op>();

  constructor(program: Program, rules: RuleTable) {
    this.builder = builderFor(program);
    this.#rules = rules;
  }

  /** Writes an op, or finds what the rules make of it. */
  place(op: Op): readonly Value[] {
    const [result] = op.results;
    if (result !== undefined && op.results.length === 1) {
      for (const rule of this.#rules[op.name] ?? []) {
        const value = rule(op, this);
        if (value !== undefined) return [value];
      }
    }
    this.builder.push(op);
    for (const { id } of op.results) this.#definitions.set(id, op);
    return op.results;
  }

  /** A new op, simplified as well. */
  emit(name: string, operands: readonly Value[], type: TensorType, attrs: Attrs = {}): Value {
    return this.place({ name, operands, results: [this.builder.value(type)], attrs })[0]!;
  }

  /** The op that gives the value, when it has this name. */
  definedBy(value: Value | undefined, name: string): Op | undefined {
    const op = value === undefined ? undefined : this.#definitions.get(value.id);
    return op?.name === name ? op : undefined;
  }

  /** What the value is filled with: a number, a boolean, or undefined when it is no constant. */
  constant(value: Value | undefined): number | boolean | undefined {
    const filled = this.definedBy(value, "tensor.constant")?.attrs["value"];
    return typeof filled === "number" || typeof filled === "boolean" ? filled : undefined;
  }

  fill(value: number | boolean, type: TensorType): Value {
    return this.emit("tensor.constant", [], type, { value });
  }

  /** x, whose dims are all in the type, with exactly this type. */
  as(x: Value, type: TensorType): Value {
    const spread = { dtype: x.type.dtype, dims: type.dims };
    const value = sameType(x.type, spread) ? x : this.emit("tensor.broadcast", [x], spread);
    return value.type.dtype === type.dtype ? value : this.emit("tensor.cast", [value], type);
  }
}

/** The program with every op replaced by what the rules make of it. What nothing needs any more stays behind. */
export function applyRules(program: Program, rules: RuleTable): Program {
  const scope = new Scope(program, rules);
  const { builder } = scope;
  const firstNew = nextId(program);
  const replaced = new Map<number, Value>();
  for (const op of program.ops) {
    builder.loc = op.loc;
    const values = scope.place(substitute(op, replaced));
    for (const [i, result] of op.results.entries()) {
      const value = values[i]!;
      if (value === result) continue;
      replaced.set(result.id, value);
      if (result.name !== undefined && value.id >= firstNew) builder.name(value, result.name);
    }
  }
  return builder.finish(program.name);
}

/** The op with operands replaced; itself when none is. */
export function substitute(op: Op, replaced: ReadonlyMap<number, Value>): Op {
  if (!op.operands.some(({ id }) => replaced.has(id))) return op;
  return { ...op, operands: op.operands.map((value) => replaced.get(value.id) ?? value) };
}

/** An empty builder with the program's dims, whose values do not clash with the program's. */
export function builderFor(program: Program): ProgramBuilder {
  return new ProgramBuilder(new Map(program.dims), nextId(program));
}

function nextId(program: Program): number {
  return program.ops.reduce((next, { results }) => results.reduce((n, { id }) => Math.max(n, id + 1), next), 0);
}

/** Whether the labels of the values together are those of the type. */
export function covers(values: readonly Value[], type: TensorType): boolean {
  return joinDims(...values.map((value) => value.type.dims)).length === type.dims.length;
}

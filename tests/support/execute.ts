import { runProgram } from "../../compiler/reference/run.ts";
import type { Program } from "../../compiler/tensor-ir/types.ts";
import type { Row } from "./plain.ts";

export interface ExecuteInputs {
  /** Params and states by path. States of optimizers that are not given start at 0. */
  readonly stores: ReadonlyMap<string, Row>;
  readonly inputs: ReadonlyMap<string, Row>;
  /** Of the dims that are bound at run time. */
  readonly sizes: Readonly<Record<string, number>>;
}

export interface Executed {
  readonly outputs: ReadonlyMap<string, Row>;
  /** New values of params and states. */
  readonly updates: ReadonlyMap<string, Row>;
  readonly metrics: ReadonlyMap<string, Row>;
}

/** Runs a program in the reference interpreter without rounding, on plain lists of numbers in memory order. */
export function execute(program: Program, { stores, inputs, sizes }: ExecuteInputs): Executed {
  const values = new Map([...stores, ...inputs].map(([name, data]) => [name, { data }]));
  for (const { name, attrs, results } of program.ops) {
    const path = String(attrs["name"]);
    if (name !== "model.state" || values.has(path)) continue;
    const shape = results[0]!.type.dims.map((label) => program.dims.get(label) ?? sizes[label]!);
    values.set(path, { data: Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 0) });
  }
  const { outputs, updates, metrics } = runProgram(program, { sizes, values }, { precision: "f64" });
  return {
    outputs: lists(outputs),
    updates: lists(updates),
    metrics: new Map([...metrics].map(([name, all]) => [name, [...all.at(-1)!.data]])),
  };
}

function lists(tensors: ReadonlyMap<string, { readonly data: ArrayLike<number> }>): Map<string, Row> {
  return new Map([...tensors].map(([name, { data }]) => [name, Array.from(data)]));
}

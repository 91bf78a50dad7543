import { isOpName } from "../tensor-ir/ops/table.ts";
import { type DType, isFloat, type Op, type Program, typeText } from "../tensor-ir/types.ts";
import { sizeWith } from "../tensor-ir/tiles.ts";
import { assertVerified } from "../tensor-ir/verify.ts";
import { type Inputs, type Outputs, RunBorder } from "./border.ts";
import { effectOf, kernelOf } from "./ops/table.ts";
import { type Precision, roundTensor } from "./rounding.ts";
import { type Tensor, zeros } from "./tensor.ts";

export interface RunOptions {
  /** How results are rounded; `declared` when not given. */
  readonly precision?: Precision;
  /** What floats are rounded to, besides, when they are kept in a cache. */
  readonly caches?: DType;
}

/**
 * Runs a program op by op: the oracle that passes and targets are compared with. Values are freed after their last use.
 * @throws Error when the program is not sound with the sizes of this run, or an input is missing or has a wrong size
 */
export function runProgram(program: Program, inputs: Inputs, options: RunOptions = {}): Outputs {
  const { precision = "declared", caches } = options;
  const sizes = boundSizes(program, inputs.sizes);
  assertVerified({ ...program, dims: sizes }, "binding sizes");
  const border = new RunBorder(inputs, sizes);
  const values = new Map<number, Tensor>();
  const lastUses = lastUsesOf(program.ops);
  for (const [index, op] of program.ops.entries()) {
    if (!isOpName(op.name)) throw new Error(`there is no op ${op.name}`);
    const operands = op.operands.map(({ id }) => values.get(id)!);
    const call = { attrs: op.attrs, operands, sizes, border };
    const [result] = op.results;
    try {
      if (result === undefined) effectOf(op.name)!(call);
      else {
        const tensor = zeros(result.type, sizes);
        kernelOf(op.name)(tensor, call);
        roundTensor(tensor, precision);
        if (op.name === "cache.append" && caches !== undefined)
          roundTensor({ ...tensor, dtype: isFloat(tensor.dtype) ? caches : tensor.dtype }, "declared");
        values.set(result.id, tensor);
      }
    } catch (error) {
      throw new Error(`op ${index} ${op.name}${place(op)}: ${(error as Error).message}`, { cause: error });
    }
    for (const id of lastUses.get(index) ?? []) values.delete(id);
  }
  return border;
}

function place({ results }: Op): string {
  return results.map(({ id, type }) => ` %${id}: ${typeText(type)}`).join("");
}

/** The sizes of all dims in this run. A program may list run-time dims that it has no values of: they need no size. */
function boundSizes({ dims }: Program, given: Readonly<Record<string, number>>): Map<string, number> {
  const sizes = new Map<string, number>();
  const bound = new Map(Object.entries(given));
  for (const label of dims.keys()) {
    const size = sizeWith(dims, label, bound);
    if (size !== undefined) sizes.set(label, size);
  }
  return sizes;
}

/** By the index of an op, the values that nothing after it needs. */
function lastUsesOf(ops: readonly Op[]): Map<number, number[]> {
  const last = new Map<number, number>();
  for (const [index, { operands, results }] of ops.entries()) {
    for (const { id } of [...operands, ...results]) last.set(id, index);
  }
  const byOp = new Map<number, number[]>();
  for (const [id, index] of last) byOp.set(index, [...(byOp.get(index) ?? []), id]);
  return byOp;
}

import type { OpDefinition } from "./definition.ts";
import { MATH_OPS } from "./math.ts";
import { MOE_OPS } from "./moe.ts";
import { NN_OPS } from "./nn.ts";
import { PROGRAM_OPS } from "./program.ts";
import { TENSOR_OPS } from "./tensor.ts";

const TABLE = { ...PROGRAM_OPS, ...TENSOR_OPS, ...MATH_OPS, ...NN_OPS, ...MOE_OPS };

export type OpName = keyof typeof TABLE;

/** Every op of the tensor IR, by name: see docs/tensor-ir.md. */
export const OPS: Readonly<Record<OpName, OpDefinition>> = TABLE;

export const OP_NAMES = Object.keys(TABLE) as readonly OpName[];

export function isOpName(name: string): name is OpName {
  return Object.hasOwn(OPS, name);
}

/** @throws Error when there is no such op */
export function opDefinition(name: string): OpDefinition {
  if (!isOpName(name)) throw new Error(`there is no op ${name}`);
  return OPS[name];
}

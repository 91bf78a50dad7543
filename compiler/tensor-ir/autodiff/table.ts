import type { NoGradient, Vjp, VjpTable } from "./vjp/entry.ts";
import { MATH_VJP } from "./vjp/math.ts";
import { MOE_VJP } from "./vjp/moe.ts";
import { NN_VJP } from "./vjp/nn.ts";
import { TENSOR_VJP } from "./vjp/tensor.ts";

/** How each op of the tensor IR passes gradients on, or why it does not. */
export const VJP: VjpTable = { ...TENSOR_VJP, ...MATH_VJP, ...NN_VJP, ...MOE_VJP };

export function vjpOf(opName: string): Vjp | NoGradient {
  const entry = VJP[opName];
  if (entry === undefined) throw new Error(`${opName} has no entry in the table of gradients`);
  return entry;
}

import type { GemmKernel } from "../../kernel-ir/types.ts";
import { printGenericGemm } from "./gemm-generic.ts";
import { isFloat } from "../operands.ts";
import { printPackedGemm } from "./gemm-packed.ts";

/** A matrix product: packed where it computes in f32, else term by term. */
export function printGemm(kernel: GemmKernel): string {
  const floats = kernel.products.every(({ a, b }) => isFloat(a) && isFloat(b));
  const groups = kernel.groups === undefined || typeof kernel.groups.group.extent === "number";
  return floats && groups ? printPackedGemm(kernel) : printGenericGemm(kernel);
}

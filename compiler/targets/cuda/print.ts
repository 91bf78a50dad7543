/** The CUDA target: kernels as CUDA C++ files, what they share, and what a runtime has to know about them. */
import type { SimtKernels } from "../../../runtime/program/grids.ts";
import { fixed } from "../../emit/templates.ts";
import type { Kernel } from "../../kernel-ir/types.ts";
import { printSolo } from "../simt/print.ts";
import { withoutReserved } from "../reserved.ts";
import { CUDA_DIALECT } from "./dialect.ts";
import { type File, fileOf } from "./file.ts";
import { printParts } from "./parts.ts";
import { RESERVED } from "./reserved.ts";

/** Headers that kernels include. */
export const PRELUDES = ["dsk.cuh"];

/**
 * Files by name: one for each kernel, the headers and `cuda.json`.
 * @param more kernels that the runtime has of its own
 */
export function printCuda(kernels: readonly Kernel[], more: readonly File[] = []): Map<string, string> {
  const files = [...kernels.map((kernel) => printKernel(withoutReserved(kernel, RESERVED))), ...more];
  const table: SimtKernels = { format: 1, kernels: files.map(({ kernel }) => kernel) };
  return new Map([
    ...files.map(({ text, kernel }) => [`${kernel.name}.cu`, text] as const),
    ...PRELUDES.map((name) => [name, fixed(`cuda/${name}`)] as const),
    ["cuda.json", `${JSON.stringify(table, undefined, 2)}\n`] as const,
  ]);
}

function printKernel(kernel: Kernel): File {
  return kernel.family === "parts" ? printParts(kernel) : fileOf(printSolo(CUDA_DIALECT, kernel));
}

/** The WebGPU target: kernels as WGSL files, and what a runtime has to know about them. */
import { SHORTLIST } from "../../../runtime/program/shortlist.ts";
import { fixed } from "../../emit/templates.ts";
import type { Kernel } from "../../kernel-ir/types.ts";
import type { SimtKernel, SimtKernels } from "../../../runtime/program/grids.ts";
import { withoutReserved } from "../reserved.ts";
import { printSolo } from "../simt/print.ts";
import { WGSL_DIALECT } from "./dialect.ts";
import { type File, fileOf } from "./file.ts";
import { printParts } from "./parts.ts";
import { RESERVED } from "./reserved.ts";
import { sharedBytes } from "./shared-bytes.ts";

/** Files by name: one for each kernel, the one that makes shortlists of logits, and `webgpu.json`. */
export function printWebGpu(kernels: readonly Kernel[]): Map<string, string> {
  const files = kernels.map((kernel) => [kernel.name, printKernel(withoutReserved(kernel, RESERVED))] as const);
  const table: SimtKernels = { format: 1, kernels: files.map(([, file]) => described(file)) };
  return new Map([
    ...files.map(([name, { text }]) => [`${name}.wgsl`, text] as const),
    [`${SHORTLIST.name}.wgsl`, fixed(`webgpu/${SHORTLIST.name}.wgsl`)] as const,
    ["webgpu.json", `${JSON.stringify(table, undefined, 2)}\n`] as const,
  ]);
}

function described({ text, kernel }: File): SimtKernel {
  const workgroupBytes = sharedBytes(text);
  return workgroupBytes === 0 ? kernel : { ...kernel, workgroupBytes };
}

function printKernel(kernel: Kernel): File {
  return kernel.family === "parts" ? printParts(kernel) : fileOf(printSolo(WGSL_DIALECT, kernel));
}

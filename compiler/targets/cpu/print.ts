/** The CPU target: kernels as C++ files. */
import { fixed, render } from "../../emit/templates.ts";
import type { Kernel } from "../../kernel-ir/types.ts";
import { printColumns } from "./columns.ts";
import { printGemm } from "./gemm.ts";
import { FEW_ROWS, TILES } from "./gemm-tiles.ts";
import { printPlane } from "./plane.ts";
import { printRows, printSerial } from "./rows.ts";

/** Files by name: one for each kernel, the table of all of them, the headers that they share. */
export function printCpu(kernels: readonly Kernel[]): Map<string, string> {
  const files = new Map(kernels.map((kernel) => [`${kernel.name}.cc`, printKernel(kernel)]));
  files.set("table.cc", render("cpu/table.cc", { names: kernels.map(({ name }) => name) }));
  for (const header of ["abi.h", "dsk.h"]) files.set(header, fixed(`cpu/${header}`));
  if (kernels.some(({ family }) => family === "plane")) {
    for (const file of ["plane.h", "plane.cc"]) files.set(file, fixed(`cpu/${file}`));
  }
  if (kernels.some(({ family }) => family === "gemm")) {
    files.set("gemm.h", render("cpu/gemm.h", { tiles: TILES, fewRows: FEW_ROWS }));
    for (const part of ["gemm-parts.h", "gemm.cc", "gemm-few.cc", "gemm-codes.cc"])
      files.set(part, fixed(`cpu/${part}`));
  }
  return files;
}

function printKernel(kernel: Kernel): string {
  switch (kernel.family) {
    case "rows":
      return printRows(kernel);
    case "serial":
      return printSerial(kernel);
    case "columns":
      return printColumns(kernel);
    case "plane":
      return printPlane(kernel);
    case "gemm":
      return printGemm(kernel);
  }
}

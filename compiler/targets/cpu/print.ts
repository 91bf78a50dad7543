/** The CPU target: kernels as C++ files. */
import { fixed, render } from "../../emit/templates.ts";
import type { Kernel } from "../../kernel-ir/types.ts";
import { withoutReserved } from "../reserved.ts";
import { printColumns } from "./columns.ts";
import { printGemm } from "./gemm.ts";
import { FEW_ROWS, TILES } from "./gemm-tiles.ts";
import { printParts } from "./parts.ts";
import { printPlane } from "./plane.ts";
import { RESERVED } from "./reserved.ts";
import { printRows, printSerial } from "./rows.ts";

/** Files by name: one for each kernel, the table of all of them, the headers that they share. */
export function printCpu(kernels: readonly Kernel[]): Map<string, string> {
  const files = new Map(kernels.map((kernel) => [`${kernel.name}.cc`, printKernel(withoutReserved(kernel, RESERVED))]));
  files.set("table.cc", render("cpu/table.cc", { names: kernels.map(({ name }) => name) }));
  for (const header of ["abi.h", "dsk.h"]) files.set(header, fixed(`cpu/${header}`));
  const families = new Set(kernels.flatMap((kernel) => [kernel, ...partsOf(kernel)]).map(({ family }) => family));
  if (families.has("parts")) files.set("parts.h", fixed("cpu/parts.h"));
  if (families.has("plane") || families.has("gemm")) files.set("squares.h", fixed("cpu/squares.h"));
  if (families.has("plane")) {
    for (const file of ["plane.h", "plane.cc"]) files.set(file, fixed(`cpu/${file}`));
  }
  if (families.has("gemm")) {
    files.set("gemm.h", render("cpu/gemm.h", { tiles: TILES, fewRows: FEW_ROWS }));
    for (const part of ["gemm-parts.h", "gemm.cc", "gemm-few.cc", "gemm-codes.cc"])
      files.set(part, fixed(`cpu/${part}`));
  }
  return files;
}

function partsOf(kernel: Kernel): readonly Kernel[] {
  return kernel.family === "parts" ? kernel.parts : [];
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
    case "parts":
      return printParts(kernel, printKernel);
  }
}

import type { SoloKernel } from "../../kernel-ir/types.ts";
import { printColumns } from "./columns.ts";
import type { Dialect, Part } from "./dialect.ts";
import type { Frame } from "./frame.ts";
import { printGemm } from "./gemm.ts";
import { printPlane } from "./plane.ts";
import { printRows, printSerial } from "./rows.ts";

/**
 * The entry points of a kernel.
 * @param part where it is one of several in a launch
 */
export function printSolo(dialect: Dialect, kernel: SoloKernel, part?: Part): Frame {
  const special = dialect.special?.(kernel, part);
  if (special !== undefined) return special;
  switch (kernel.family) {
    case "rows":
      return printRows(dialect, kernel, part);
    case "serial":
      return printSerial(dialect, kernel, part);
    case "columns":
      return printColumns(dialect, kernel, part);
    case "plane":
      return printPlane(dialect, kernel, part);
    case "gemm":
      return printGemm(dialect, kernel, part);
  }
}

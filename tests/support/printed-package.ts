import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Kernel } from "../../compiler/kernel-ir/types.ts";
import { KERNEL_FLAGS } from "../../compiler/package/package.ts";
import { compileLibrary, VARIANT_FLAGS } from "../../compiler/targets/cpu/compile.ts";
import { printCpu } from "../../compiler/targets/cpu/print.ts";
import { addon } from "../../runtime/native/addon.ts";
import type { LaunchProgram } from "../../runtime/program/launch.ts";
import { type CpuVariant, libraryOf, variantsFor } from "../../runtime/program/variants.ts";
import { buffer, writePrograms } from "./kernels.ts";

/** The instruction sets that this machine runs, the best first. */
export function variants(): CpuVariant[] {
  return variantsFor(addon().isa() as CpuVariant);
}

/**
 * A temporary directory with a package: the printed kernels, and for each a program of its name whose inputs and outputs are
 * the kernel's arguments.
 * @param texts other files for some of the kernels
 */
export async function printedPackage(
  kernels: readonly Kernel[],
  compiled: readonly CpuVariant[],
  texts: ReadonlyMap<string, string> = new Map(),
): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "dskc-package-"));
  const sources = join(directory, "sources");
  mkdirSync(sources);
  for (const [name, text] of [...printCpu(kernels), ...texts]) writeFileSync(join(sources, name), text);
  for (const variant of compiled)
    await compileLibrary({
      directory: sources,
      library: join(directory, libraryOf(variant)),
      flags: [...VARIANT_FLAGS[variant], ...KERNEL_FLAGS, "-Wall", "-Wno-unused"],
    });
  writePrograms(directory, ...kernels.map(programOf));
  return directory;
}

function programOf({ name, args, extents }: Kernel): LaunchProgram {
  return {
    name,
    dims: extents,
    buffers: args.map((arg) => buffer(arg.access === "read" ? "input" : "output", arg.name, arg.dtype, ...arg.shape)),
    launches: [{ kernel: name, args: args.map((_, i) => i), extents }],
  };
}

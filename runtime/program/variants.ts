/**
 * Kernels are compiled once for each instruction set that a package supports; the runtime loads the best one that the
 * machine has. `arm64` is compiled for the machine that it is built on.
 */
export type CpuVariant = "x86-64-v2" | "x86-64-v3" | "x86-64-v4" | "arm64";

/** Of x86, each holds the instructions of the ones before it (AVX2 and FMA come with v3, AVX-512 with v4). */
const X86: readonly CpuVariant[] = ["x86-64-v2", "x86-64-v3", "x86-64-v4"];

/** The variants that run on a machine, the best first. `isa` is what the machine's processor is. */
export function variantsFor(isa: CpuVariant): CpuVariant[] {
  return isa === "arm64" ? ["arm64"] : X86.slice(0, X86.indexOf(isa) + 1).toReversed();
}

/** Where a package has the kernels of a variant. */
export function libraryOf(variant: CpuVariant): string {
  return `kernels/${variant}.so`;
}

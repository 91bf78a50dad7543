import type { KernelModule } from "../../compiler/kernel-ir/types.ts";
import type { Launch } from "../../runtime/program/launch.ts";

/** The module without places in the `.dsk` text, which its text form leaves out. */
export function withoutOrigin({ kernels, programs }: KernelModule): KernelModule {
  return {
    kernels: kernels.map((kernel) => ({ ...kernel, from: [] })),
    programs: programs.map((program) => ({ ...program, launches: program.launches.map(withoutPlace) })),
  };
}

function withoutPlace(launch: Launch): Launch {
  return Object.fromEntries(Object.entries(launch).filter(([key]) => key !== "at")) as unknown as Launch;
}

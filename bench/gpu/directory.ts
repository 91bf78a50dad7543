/** Where the package of a case lies, compiled for what this process measures on. */
import { standIn } from "../../tests/support/cuda/build.ts";
import { simulatedPackage } from "../../tests/support/on-cuda.ts";
import { gpuPackage } from "../../tests/support/cuda/real.ts";

/** `simulate`: the stand-in of tests/support/cuda, where times mean nothing and everything else is as on a GPU. */
export const SIMULATED = process.env["DSKC_GPU"] === "simulate";

/** Compiled by nvcc where it is, unless it was before; on the stand-in by g++. */
export function directoryOf(files: ReadonlyMap<string, string>): Promise<string> {
  return SIMULATED ? simulatedPackage(files) : gpuPackage(files, ["sm_90a"]);
}

/** Makes this process use the stand-in, where it is to be simulated. */
export async function useDriver(): Promise<void> {
  if (SIMULATED) process.env["DSKC_LIBCUDA"] = await standIn();
}

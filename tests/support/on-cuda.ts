import { createHash } from "node:crypto";
import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import type { LowerOptions } from "../../compiler/lower/fusions.ts";
import { lowerPrograms } from "../../compiler/lower/lower.ts";
import { PRINTERS, writeFiles } from "../../compiler/package/package.ts";
import type { Program } from "../../compiler/tensor-ir/types.ts";
import { type CudaOptions, type CudaSession, openCudaSession } from "../../runtime/device/cuda/session.ts";
import { buildModule, folderOf, standIn } from "./cuda/build.ts";
import { REAL, realPackage } from "./cuda/real.ts";

/**
 * Programs, as they are, on a GPU that g++ and fibers make: the addon and its stand-in of libcuda run what the CUDA target prints.
 * Packages are kept beside the harness that they were built with, by what is in them.
 */
export async function onCuda(
  programs: readonly Program[],
  options: CudaOptions = {},
  lower: LowerOptions = {},
): Promise<CudaSession> {
  const { kernels, programs: launches } = lowerPrograms(programs, lower);
  const files = new Map([...PRINTERS.cuda(kernels)].map(([name, text]) => [`kernels/${name}`, text]));
  const programFile = new Map([["program.json", JSON.stringify({ format: 1, programs: launches })]]);
  const all = new Map([...files, ...programFile]);
  return openCudaSession(REAL ? await realPackage(all) : await simulatedPackage(all), options);
}

/** The directory of a package whose kernels g++ compiled; sessions of this process run on the stand-in. */
export async function simulatedPackage(files: ReadonlyMap<string, string>): Promise<string> {
  process.env["DSKC_LIBCUDA"] = await standIn();
  const hash = createHash("sha256").update(JSON.stringify([...files]));
  const directory = join(folderOf("simulator", "preludes"), `package-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(join(directory, "program.json"))) return directory;
  const program = [...files].filter(([path]) => path === "program.json");
  writeFiles(directory, new Map([...files].filter(([path]) => path !== "program.json")));
  const sources = [...files.keys()].flatMap((path) => (path.endsWith(".cu") ? [join(directory, path)] : []));
  const cubins = join(directory, "kernels/cuda/sm_90a");
  await buildModule(sources, cubins);
  // The same code stands for older architectures: which entry points they have is the session's business.
  cpSync(cubins, join(directory, "kernels/cuda/sm_80"), { recursive: true });
  writeFiles(directory, new Map(program));
  return directory;
}

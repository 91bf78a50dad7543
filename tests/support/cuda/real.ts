/** Tests of CUDA on a GPU (`npm run test:gpu`) instead of the stand-in of libcuda. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { compilePackageCubins, writeFiles } from "../../../compiler/package/package.ts";
import type { Architecture } from "../../../compiler/targets/cuda/compile.ts";

/** `run` on the GPU of this machine, or `prepare` packages for one elsewhere. */
const mode = process.env["DSKC_GPU"];

export const REAL = mode !== undefined;

/** What a test that is only prepared ends with. */
export class Prepared extends Error {}

/**
 * The directory of a package in `.gpu/packages`, with cubins where nvcc is or was; the driver's GPU opens it.
 * @throws Prepared where that is all
 */
export async function realPackage(files: ReadonlyMap<string, string>): Promise<string> {
  const only = process.env["DSKC_GPU_ARCHITECTURES"]?.split(",") as Architecture[] | undefined;
  const directory = await gpuPackage(files, only);
  if (mode === "prepare") throw new Prepared(directory);
  return directory;
}

/** The same, whatever this process is for. Cubins for all architectures that there are, when none are given. */
export async function gpuPackage(
  files: ReadonlyMap<string, string>,
  architectures?: readonly Architecture[],
): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify([...files].toSorted()));
  const directory = resolve(".gpu/packages", hash.digest("hex").slice(0, 16));
  if (!existsSync(join(directory, "program.json"))) {
    const program = [...files].filter(([path]) => path === "program.json");
    writeFiles(directory, new Map([...files].filter(([path]) => path !== "program.json")));
    await compilePackageCubins(directory, architectures === undefined ? {} : { architectures });
    writeFiles(directory, new Map(program));
  }
  return directory;
}

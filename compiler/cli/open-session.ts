/** From a checked model to a session on a device: what score, train, generate and serve start with. */
import { type CpuOptions, openCpuSession } from "../../runtime/device/cpu/session.ts";
import type { Session } from "../../runtime/device/session.ts";
import { addon } from "../../runtime/native/addon.ts";
import type { CpuVariant } from "../../runtime/program/variants.ts";
import { cachedPackage, packageFiles, type PackageSource } from "../package/package.ts";
import { CompileError } from "../targets/cpu/compile.ts";
import { NoCompilerError } from "../targets/cpu/compiler.ts";
import { InputError, remark } from "./io.ts";

/** Loads a package on the CPU, compiled where it is not in the cache yet. @throws InputError without a compiler */
export async function openOnCpu(source: PackageSource, options: CpuOptions = {}): Promise<Session> {
  const files = packageFiles(source);
  const started = performance.now();
  let told = started;
  try {
    const directory = await cachedPackage(files, {
      variants: [options.variant ?? (addon().isa() as CpuVariant)],
      onProgress: (done, all) => {
        if (performance.now() - told < 2000) return;
        told = performance.now();
        remark(`compiling kernels: ${done} of ${all}`);
      },
    });
    return openCpuSession(directory, options);
  } catch (error) {
    if (error instanceof NoCompilerError || error instanceof CompileError) throw new InputError(error.message);
    throw error;
  }
}

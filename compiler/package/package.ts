/** A package: what the runtime loads. Programs as data, kernels as sources and as libraries, what it must know of the model. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { Cache } from "../../runtime/io/cache.ts";
import { replaceFile } from "../../runtime/io/replace-file.ts";
import { ANSWERING } from "../../runtime/package/source.ts";
import { CUDA_KERNELS } from "../../runtime/device/cuda/cubins.ts";
import type { PackagePrograms } from "../../runtime/program/launch.ts";
import type { ModelFile } from "../../runtime/program/model.ts";
import { type CpuVariant, libraryOf } from "../../runtime/program/variants.ts";
import type { Kernel, KernelModule } from "../kernel-ir/types.ts";
import type { LowerOptions } from "../lower/fusions.ts";
import { lowerPrograms } from "../lower/lower.ts";
import type { CacheForm, WeightForm } from "../lower/stored-weights.ts";
import { runPasses } from "../passes/pipeline.ts";
import { CPU } from "../targets/cpu/capability.ts";
import { compileLibrary, VARIANT_FLAGS } from "../targets/cpu/compile.ts";
import { printCpu } from "../targets/cpu/print.ts";
import { compileCubins, type Cubin, type CubinOptions } from "../targets/cuda/compile.ts";
import { findNvcc } from "../targets/cuda/nvcc.ts";
import { printCuda } from "../targets/cuda/print.ts";
import { SHORTLIST_FILE } from "../targets/cuda/shortlist.ts";
import { printWebGpu } from "../targets/webgpu/print.ts";
import type { Program } from "../tensor-ir/types.ts";

/**
 * Loops over lanes are written for `omp simd`. Sums keep the order that they are written in and NaN stays NaN; only that
 * errno and floating-point exceptions are looked at by nobody is used.
 */
export const KERNEL_FLAGS = ["-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-fwrapv"];

/** What kernels can be generated for. */
export const TARGETS = ["cpu", "webgpu", "cuda"] as const;
export type Target = (typeof TARGETS)[number];

/** The kernels of each target as files by name. */
export const PRINTERS: Readonly<Record<Target, (kernels: readonly Kernel[]) => Map<string, string>>> = {
  cpu: printCpu,
  webgpu: printWebGpu,
  cuda: (kernels) => {
    const files = printCuda(kernels, [SHORTLIST_FILE]);
    return new Map([...files].map(([name, text]) => [`cuda/${name}`, text]));
  },
};

export interface PackageSource {
  /** Programs as elaboration makes them. */
  readonly programs: readonly Program[];
  readonly model: ModelFile;
  /** What there are kernels for; the CPU when not given. The launches are the same for all. */
  readonly targets?: readonly Target[] | undefined;
  /** More files, by their path in the package. */
  readonly files?: ReadonlyMap<string, string>;
  readonly lower?: Pick<LowerOptions, "without">;
  /** How programs that answer and score find weights stored; as the model declares them when not given. */
  readonly store?: WeightForm | undefined;
  /** What floats of the caches are stored in; as the model computes them when not given. */
  readonly caches?: CacheForm | undefined;
}

/** Programs of the tensor IR as kernels and launches, for the CPU unless another target is asked for. */
export function lowered(programs: readonly Program[], options: LowerOptions = {}): KernelModule {
  return lowerPrograms(
    programs.map((program) => runPasses(program)),
    { target: CPU, ...options },
  );
}

/** The programs of a package as kernels and launches. */
export function loweredSource({
  programs,
  lower = {},
  store: form,
  caches,
}: Pick<PackageSource, "programs" | "lower" | "store" | "caches">): KernelModule {
  if (form === undefined) return lowered(programs, { ...lower, caches });
  const answering = programs.flatMap(({ name }) => (ANSWERING.test(name) ? [name] : []));
  return lowered(programs, { ...lower, caches, weights: { form, programs: new Set(answering) } });
}

/** The text files of a package by their paths: the same for the same source, to the last byte. */
export function packageFiles({
  model,
  files = new Map(),
  targets = ["cpu"],
  ...source
}: PackageSource): Map<string, string> {
  const { kernels: all, programs: launches } = loweredSource(source);
  const data: PackagePrograms = { format: 1, programs: launches };
  const kernels = targets.flatMap((target) =>
    [...PRINTERS[target](all)].map(([name, text]) => [`kernels/${name}`, text] as const),
  );
  return new Map([
    ["program.json", `${JSON.stringify(data)}\n`],
    ["model.json", `${JSON.stringify(model)}\n`],
    ...kernels,
    ...files,
  ]);
}

export interface CompileOptions {
  readonly variants: readonly CpuVariant[];
  /** How far the compiler is: files of all files. */
  readonly onProgress?: (done: number, all: number) => void;
}

/** Compiles the kernels of a package's directory. @throws NoCompilerError, CompileError */
export async function compilePackage(directory: string, { variants, onProgress }: CompileOptions): Promise<void> {
  for (const variant of variants) {
    let done = 0;
    await compileLibrary({
      directory: join(directory, "kernels"),
      library: join(directory, libraryOf(variant)),
      flags: [...VARIANT_FLAGS[variant], ...KERNEL_FLAGS],
      onCompile: (_, all) => onProgress?.(++done, all),
    });
  }
}

/**
 * Compiles the CUDA kernels of a package's directory, where there is nvcc: else they are compiled where the package is opened.
 * @returns what became of them; undefined without nvcc
 * @throws NvccError
 */
export async function compilePackageCubins(
  directory: string,
  options: Pick<CubinOptions, "architectures" | "onProgress"> = {},
): Promise<readonly Cubin[] | undefined> {
  const nvcc = await findNvcc();
  return nvcc && compileCubins(join(directory, CUDA_KERNELS), { nvcc, ...options });
}

/**
 * A package in the cache, compiled for variants of the CPU or for none: made once for each source.
 * @returns its directory
 */
export async function cachedPackage(files: ReadonlyMap<string, string>, options: CompileOptions): Promise<string> {
  const hash = createHash("sha256");
  for (const [path, text] of [...files].toSorted(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${path}\0${text}\0`);
  const directory = new Cache("cpu").path(hash.digest("hex").slice(0, 40), "package");
  const made = ["program.json", ...options.variants.map(libraryOf)];
  if (made.every((file) => existsSync(join(directory, file)))) return directory;
  mkdirSync(dirname(directory), { recursive: true });
  const aside = mkdtempSync(`${directory}.`);
  writeFiles(aside, files);
  await compilePackage(aside, options);
  try {
    renameSync(aside, directory);
  } catch {
    // Another process was faster, or made another variant: one of them is as good as the other.
    rmSync(directory, { recursive: true, force: true });
    renameSync(aside, directory);
  }
  return directory;
}

/** Writes files below a directory, each aside and renamed. */
export function writeFiles(directory: string, files: ReadonlyMap<string, string>): void {
  for (const [path, text] of files) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    replaceFile(join(directory, path), text);
  }
}

/** From a checked model to a session on a device: what score, train, generate and serve start with. */
import { type CpuOptions, type CpuSession, openCpuSession } from "../../runtime/device/cpu/session.ts";
import { type Gpu, architecturesOf, gpuOf } from "../../runtime/device/cuda/gpu.ts";
import { type CudaOptions, type CudaSession, openCudaSession } from "../../runtime/device/cuda/session.ts";
import { openDawnSession } from "../../runtime/device/dawn/session.ts";
import type { Session } from "../../runtime/device/session.ts";
import type { WebGpuOptions, WebGpuSession } from "../../runtime/device/webgpu/session.ts";
import { addon } from "../../runtime/native/addon.ts";
import type { NameTable } from "../../runtime/io/names/table.ts";
import type { ModelFile } from "../../runtime/program/model.ts";
import type { SimtKernels } from "../../runtime/program/grids.ts";
import type { CpuVariant } from "../../runtime/program/variants.ts";
import {
  cachedPackage,
  compilePackage,
  compilePackageCubins,
  type CompileOptions,
  loweredSource,
  packageFiles,
  type PackageSource,
} from "../package/package.ts";
import { modelFile } from "../package/model.ts";
import { trainingPrograms } from "../package/programs.ts";
import { printWebGpu } from "../targets/webgpu/print.ts";
import { type Architecture, ARCHITECTURES, NvccError } from "../targets/cuda/compile.ts";
import { CompileError } from "../targets/cpu/compile.ts";
import { NoCompilerError } from "../targets/cpu/compiler.ts";
import type { TrainPlan } from "../elaborate/train-step.ts";
import { referenceSession } from "../reference/session.ts";
import { InputError, remark, ticking } from "./io.ts";
import type { LoadedModel } from "./load-model.ts";

/** What `--device` may say. `webgpu` is a GPU, or the processor with a driver in software. `reference` interprets the programs: exact, slow, nothing to compile. */
export const DEVICES = ["cpu", "webgpu", "cuda", "reference"] as const;
export type Device = (typeof DEVICES)[number];

/** What a training runs on. */
export interface ForTraining {
  readonly model: ModelFile;
  /** A session with `train_step` and `evaluate`, its stores empty. @throws InputError as `openOnCpu` does */
  readonly open: (device: Device) => Promise<Session>;
}

/** @param splits whether a step may be made in several calls, which takes programs and states of its own */
export function forTraining(
  { module, training }: LoadedModel,
  plan: TrainPlan,
  names: NameTable | undefined,
  splits: boolean,
): ForTraining {
  const trained = training().module;
  const { programs, transient } = trainingPrograms(module, trained, plan, splits);
  const model = modelFile(trained, names, plan, transient);
  const open = async (device: Device): Promise<Session> =>
    device === "reference"
      ? referenceSession(module, { module: trained, plan, split: splits })
      : openOn(device, { programs, model });
  return { model, open };
}

/** Loads a package on a device that runs kernels. @throws InputError, DeviceError as the devices do */
export function openOn(
  device: Exclude<Device, "reference">,
  source: PackageSource,
  options: Pick<CpuOptions, "cacheRows"> = {},
): Promise<Session> {
  return { cpu: openOnCpu, webgpu: openOnWebGpu, cuda: openOnCuda }[device](source, options);
}

/** Loads a package on an NVIDIA GPU. @throws NoCudaError that says what was looked for; InputError with what nvcc says */
export async function openOnCuda(
  source: PackageSource,
  options: Pick<CudaOptions, "cacheRows" | "profile"> = {},
): Promise<CudaSession> {
  // Nothing is compiled for a GPU that is not there.
  const directory = await cudaInCache(packageFiles({ ...source, targets: ["cuda"] }), gpuOf());
  const listen = ticking();
  const onProgress = (done: number, all: number): void => listen("compiling kernels", done, all);
  return openCudaSession(directory, { ...options, onProgress });
}

/**
 * The directory of a package, with cubins for a GPU where nvcc is here to make them: else they are compiled where it is opened.
 * @throws InputError with what nvcc says
 */
export async function cudaInCache(files: ReadonlyMap<string, string>, gpu: Gpu): Promise<string> {
  const directory = await packageInCache(files, "none");
  const [best] = architecturesOf(gpu).flatMap((one) => ARCHITECTURES.filter((architecture) => architecture === one));
  if (best !== undefined) await cubinsIn(directory, [best]);
  return directory;
}

/** Loads a package on WebGPU; nothing of it is written anywhere. @throws NoGpuError that says what to install */
export function openOnWebGpu(
  source: PackageSource,
  options: Pick<WebGpuOptions, "cacheRows" | "profile"> = {},
): Promise<WebGpuSession> {
  const { kernels: lowered, programs } = loweredSource(source);
  const files = printWebGpu(lowered);
  const { kernels } = JSON.parse(files.get("webgpu.json")!) as SimtKernels;
  const listen = ticking();
  const onProgress = (done: number, all: number): void => listen("compiling kernels", done, all);
  return openDawnSession({ ...options, programs, kernels, source: (name) => files.get(`${name}.wgsl`)!, onProgress });
}

/** Loads a package on the CPU, compiled where it is not in the cache yet. @throws InputError without a compiler */
export async function openOnCpu(source: PackageSource, options: CpuOptions = {}): Promise<CpuSession> {
  return openCpuSession(await packageInCache(packageFiles(source), options.variant), options);
}

/**
 * The directory of a package, compiled where it is not in the cache yet.
 * @param variant that of this machine when not given; `none` for a package without kernels for the CPU
 * @throws InputError without a compiler
 */
export function packageInCache(files: ReadonlyMap<string, string>, variant?: CpuVariant | "none"): Promise<string> {
  if (variant === "none") return cachedPackage(files, { variants: [] });
  return compiling((common) =>
    cachedPackage(files, { ...common, ...(variant === undefined ? {} : { variants: [variant] }) }),
  );
}

/** Compiles the kernels of a package's directory for this machine. @throws InputError without a compiler */
export async function compiled(directory: string): Promise<void> {
  await compiling((common) => compilePackage(directory, common));
}

/** Compiles the CUDA kernels of a package's directory, where there is nvcc. @throws InputError with what it says */
export async function compiledCubins(directory: string): Promise<void> {
  const cubins = await cubinsIn(directory, ARCHITECTURES);
  if (cubins === undefined) remark("there is no nvcc: CUDA kernels are compiled where the package is opened");
}

async function cubinsIn(
  directory: string,
  architectures: readonly Architecture[],
): ReturnType<typeof compilePackageCubins> {
  const listen = ticking();
  try {
    const onProgress = (done: number, all: number): void => listen("compiling CUDA kernels", done, all);
    return await compilePackageCubins(directory, { architectures, onProgress });
  } catch (error) {
    if (error instanceof NvccError) throw new InputError(error.message);
    throw error;
  }
}

async function compiling<T>(work: (common: CompileOptions) => Promise<T>): Promise<T> {
  const listen = ticking();
  const onProgress = (done: number, all: number): void => listen("compiling kernels", done, all);
  try {
    return await work({ variants: [addon().isa() as CpuVariant], onProgress });
  } catch (error) {
    if (error instanceof NoCompilerError || error instanceof CompileError) throw new InputError(error.message);
    throw error;
  }
}

/** The files of a package that say what it is. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openCpuSession } from "../device/cpu/session.ts";
import { CUDA_KERNELS } from "../device/cuda/cubins.ts";
import { hasGpu } from "../device/cuda/gpu.ts";
import { openCudaSession } from "../device/cuda/session.ts";
import { openPackageOnDawn, WEBGPU_KERNELS } from "../device/dawn/session.ts";
import type { Session } from "../device/session.ts";
import { keptBy } from "../device/stores.ts";
import { loadWeights, placeWeights } from "../device/weights.ts";
import type { ModelFile } from "../program/model.ts";
import { readPrograms } from "../program/read.ts";
import { selectPrograms } from "../program/select.ts";
import type { PackageServing } from "../serve/plan.ts";
import type { PackageTraining } from "../train/plan.ts";
import { FILES } from "./files.ts";
import { ModelError } from "./model-error.ts";
import type { ModelSource, SessionRequest } from "./source.ts";

/**
 * Where a package runs. `auto` is CUDA where the package has kernels for it and there is a GPU, else the CPU where it has compiled
 * kernels, else WebGPU.
 */
export type Device = "auto" | (typeof DEVICES)[number];
const DEVICES = ["cpu", "webgpu", "cuda"] as const;

/** The folder in a package that weights may lie in. */
export const WEIGHTS = "weights";

/** Whether a folder is a package. */
export function isPackage(directory: string): boolean {
  return existsSync(join(directory, "program.json"));
}

/**
 * A package of a directory.
 * @throws Error when it is none, or one of another version of dskc
 */
export function readPackage(directory: string, device: Device = "auto"): ModelSource {
  if (device !== "auto" && !DEVICES.includes(device))
    throw new ModelError(`there is no device \`${String(device)}\`: auto, ${DEVICES.join(", ")}`);
  if (!isPackage(directory)) throw new ModelError(`${directory} is no package: it has no program.json`);
  const programs = readPrograms(join(directory, "program.json"));
  const weights = join(directory, WEIGHTS);
  const serving = readFile<PackageServing>(join(directory, "serve.json"));
  const runsOn = device === "auto" ? bestDevice(directory) : device;
  if (runsOn === "webgpu" && !existsSync(join(directory, WEBGPU_KERNELS)))
    throw new ModelError(`${directory} has no kernels for WebGPU: build the package with --target cpu,webgpu`);
  if (runsOn === "cuda" && !hasCuda(directory))
    throw new ModelError(`${directory} has no kernels for CUDA: build the package with --target cpu,cuda`);
  return {
    device: runsOn,
    files: FILES,
    model: readFile<ModelFile>(join(directory, "model.json")),
    programs: programs.map(({ name }) => name),
    trainings: readFile<PackageTraining>(join(directory, "training.json")).trainings,
    serving: serving.plans,
    talks: serving.talks,
    cacheRowBytes: serving.cacheRowBytes,
    weights: existsSync(weights) ? weights : undefined,
    tokenizer: existsSync(join(directory, "tokenizer.json")) ? directory : undefined,
    open: { cpu: openOnCpu, webgpu: openOnWebGpu, cuda: openOnCuda }[runsOn],
  };

  async function openOnWebGpu(request: SessionRequest): Promise<Session> {
    const { programs: wanted, cacheRows } = request;
    return withWeights(
      request,
      await openPackageOnDawn(directory, selectPrograms(programs, wanted), {
        onProgress: compiling(request),
        ...(cacheRows === undefined ? {} : { cacheRows }),
      }),
    );
  }

  async function openOnCuda(request: SessionRequest): Promise<Session> {
    const { programs: wanted, cacheRows } = request;
    return withWeights(
      request,
      await openCudaSession(directory, {
        programs: wanted,
        onProgress: compiling(request),
        ...(cacheRows === undefined ? {} : { cacheRows }),
      }),
    );
  }

  function openOnCpu({ programs: wanted, weights: path, model, cacheRows, threads, listen }: SessionRequest): Session {
    const { stores } = keptBy(selectPrograms(programs, wanted));
    const placed = path === undefined ? undefined : placeWeights(stores, model, path);
    const session = openCpuSession(directory, {
      programs: wanted,
      ...(cacheRows === undefined ? {} : { cacheRows }),
      ...(threads === undefined ? {} : { threads }),
      ...(placed === undefined ? {} : { mapped: placed.mapped }),
    });
    try {
      placed?.write(session, "unmapped", listen);
    } catch (error) {
      session.close();
      throw error;
    }
    return session;
  }
}

function compiling({ listen }: SessionRequest): (done: number, all: number) => void {
  return (done, all) => listen?.("compiling kernels", done, all);
}

/** Reads what the request wants as weights; closes the session where they do not fit. */
function withWeights({ weights: path, model, listen }: SessionRequest, session: Session): Session {
  try {
    if (path !== undefined) loadWeights(session, model, path, listen);
  } catch (error) {
    session.close();
    throw error;
  }
  return session;
}

function hasCuda(directory: string): boolean {
  return existsSync(join(directory, CUDA_KERNELS, "cuda.json"));
}

function bestDevice(directory: string): Exclude<Device, "auto"> {
  if (hasCuda(directory) && hasGpu()) return "cuda";
  if (readdirSync(join(directory, "kernels")).some((name) => name.endsWith(".so"))) return "cpu";
  if (existsSync(join(directory, WEBGPU_KERNELS))) return "webgpu";
  return hasCuda(directory) ? "cuda" : "cpu";
}

function readFile<T extends { readonly format: 1 }>(file: string): T {
  let value: T;
  try {
    value = JSON.parse(readFileSync(file, "utf8")) as T;
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`, { cause: error });
  }
  if (value?.format === 1) return value;
  throw new ModelError(`${file} has another format than this version of dskc: build the package anew`);
}

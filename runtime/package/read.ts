/** The files of a package that say what it is. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openCpuSession } from "../device/cpu/session.ts";
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

/** Where a package runs. `auto` is the CPU where the package has compiled kernels, WebGPU otherwise. */
export type Device = "auto" | (typeof DEVICES)[number];
const DEVICES = ["cpu", "webgpu"] as const;

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
    open: runsOn === "cpu" ? openOnCpu : openOnWebGpu,
  };

  async function openOnWebGpu(request: SessionRequest): Promise<Session> {
    const { programs: wanted, weights: path, model, cacheRows, listen } = request;
    const session = await openPackageOnDawn(directory, selectPrograms(programs, wanted), {
      onProgress: (done, all) => listen?.("compiling kernels", done, all),
      ...(cacheRows === undefined ? {} : { cacheRows }),
    });
    try {
      if (path !== undefined) loadWeights(session, model, path, listen);
    } catch (error) {
      session.close();
      throw error;
    }
    return session;
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

function bestDevice(directory: string): Exclude<Device, "auto"> {
  if (!existsSync(join(directory, WEBGPU_KERNELS))) return "cpu";
  return readdirSync(join(directory, "kernels")).some((name) => name.endsWith(".so")) ? "cpu" : "webgpu";
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

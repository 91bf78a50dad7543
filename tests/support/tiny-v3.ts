import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { openOnCpu, openOnWebGpu } from "../../compiler/cli/open-session.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import type { CacheForm } from "../../compiler/lower/stored-weights.ts";
import { servingPrograms } from "../../compiler/package/programs.ts";
import { storesOf } from "../../compiler/model-ir/places.ts";
import { modelFile } from "../../compiler/package/model.ts";
import { type ReferenceOptions, referenceSession, type ReferenceTraining } from "../../compiler/reference/session.ts";
import { checkFile, type CheckedModel } from "../../dsl/semantics/check.ts";
import { encoded } from "../../runtime/device/elements.ts";
import type { HostSession, Session } from "../../runtime/device/session.ts";
import type { WebGpuSession } from "../../runtime/device/webgpu/session.ts";
import { loadParams } from "../../runtime/io/names/load.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";

const fixtures = resolve(import.meta.dirname, "../fixtures");

/** DeepSeek-V3 in miniature with one look-ahead module: 160 tokens, 3 layers. */
export function tinyV3(): CheckedModel {
  const path = join(fixtures, "deepseek-v3-tiny.dsk");
  return checkFile({ path, text: readFileSync(path, "utf8") }, new Diagnostics()).models.get("TinyV3")!;
}

/** The weights of the fixtures a1 and e1, by path. */
export function tinyV3Weights({ module }: CheckedModel): Map<string, Float32Array> {
  const table = readTable(resolve(import.meta.dirname, "../../dsl/std/hf"), "deepseek");
  const params = storesOf(module.root)
    .filter(({ store }) => store.kind !== "cache")
    .map(({ path, type, place }) => ({
      path,
      shape: type.dims.map((label) => module.dims.get(label)!),
      blocks: place.block.names,
    }));
  const files = ["a1_v3_plain/model.safetensors", "e1_v3_mtp/mtp.safetensors"];
  const read = (file: string): Map<string, Float32Array> =>
    loadParams(new Checkpoint(join(fixtures, "models", file)), table, params, { optional: () => true });
  return new Map(files.flatMap((file) => [...read(file)]));
}

/** The model on the interpreter, with its weights. */
export function tinyV3Session(
  model: CheckedModel,
  training?: ReferenceTraining,
  options?: ReferenceOptions,
): HostSession {
  const session = referenceSession(model.module, training, options);
  for (const [path, data] of tinyV3Weights(model)) session.write(path, data);
  return session;
}

/** The same on the CPU: kernels are compiled where they are not in the cache. */
export async function tinyV3OnCpu(model: CheckedModel, cacheRows = 1024, caches?: CacheForm): Promise<HostSession> {
  const { module } = model;
  const programs = servingPrograms(module);
  const session = await openOnCpu({ programs, model: modelFile(module), caches }, { cacheRows });
  writeTinyV3(model, session);
  return session;
}

/** The same on WebGPU, on a device of its own. */
export async function tinyV3OnWebGpu(model: CheckedModel, cacheRows = 1024): Promise<WebGpuSession> {
  const { module } = model;
  const session = await openOnWebGpu({ programs: servingPrograms(module), model: modelFile(module) }, { cacheRows });
  writeTinyV3(model, session);
  return session;
}

/** The weights that a session has a place for. */
export function writeTinyV3(model: CheckedModel, session: Session): void {
  const dtypes = new Map(session.stores.map(({ name, dtype }) => [name, dtype]));
  for (const [path, data] of tinyV3Weights(model)) {
    const dtype = dtypes.get(path);
    if (dtype !== undefined) session.write(path, encoded(data, dtype));
  }
}

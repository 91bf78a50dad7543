/** What weights and caches take in the forms that they are stored in for answers. */
import { bytesOf, elementsOf } from "../analysis/bytes.ts";
import { cacheFacts } from "../analysis/cache.ts";
import { type StoredWeights, storedWeights } from "../lower/stored-weights.ts";
import { storesOf } from "../model-ir/places.ts";
import type { Module } from "../model-ir/types.ts";
import { runPasses } from "../passes/pipeline.ts";
import { STORAGE_BYTES } from "../../runtime/program/launch.ts";
import { servingPrograms } from "./programs.ts";
import type { StoredForms } from "./weight-form.ts";

export interface StoredBytes {
  /** Params, with the scales of codes, and states; look-ahead modules not included. */
  readonly weightBytes: number;
  /** What a token leaves in the caches of all layers, look-ahead modules not included. */
  readonly cacheBytesPerToken: number;
}

export function storedBytes(module: Module, { store, caches }: StoredForms): StoredBytes {
  const stored: StoredWeights =
    store === undefined
      ? new Map()
      : storedWeights(
          servingPrograms(module).map((program) => runPasses(program)),
          store,
        );
  const weights = storesOf(module.root).filter(({ store: { kind }, place }) => kind !== "cache" && !place.ahead);
  const weightBytes = weights.reduce((sum, { path, type }) => {
    const [elements, form] = [elementsOf(type, module.dims), stored.get(path)];
    if (form === undefined) return sum + elements * bytesOf(type.dtype);
    if (!("group" in form)) return sum + elements * STORAGE_BYTES[form.dtype];
    const size = module.dims.get(type.dims[form.dim]!)!;
    const scales = (elements / size) * Math.ceil(size / form.group);
    return sum + Math.ceil(elements * STORAGE_BYTES[form.dtype]) + scales * STORAGE_BYTES.bf16;
  }, 0);
  return { weightBytes, cacheBytesPerToken: cacheFacts(module, false, caches).bytesPerToken };
}

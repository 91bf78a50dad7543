import type { Elements, StoreSpec } from "../../runtime/device/session.ts";
import { firstNonFinite, STORED } from "../../runtime/device/elements.ts";
import { codeType, storedElements } from "../../runtime/device/stored-elements.ts";
import { weightsFolder } from "../../runtime/io/checkpoints/find.ts";
import { findParams, type WeightsListener } from "../../runtime/io/names/read-params.ts";
import { CheckpointError } from "../../runtime/io/safetensors/format.ts";
import { quantizedMetadata, type StoredCodes } from "../../runtime/io/safetensors/quantized-metadata.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { writeCheckpoint } from "../../runtime/io/safetensors/shards.ts";
import type { WrittenTensor } from "../../runtime/io/safetensors/written.ts";
import type { ModelFile } from "../../runtime/program/model.ts";
import { NonFiniteError } from "../../runtime/train/finite.ts";

/** Browsers fetch, and fetch anew, shard by shard. */
const SHARD_BYTES = 256 * 2 ** 20;

/**
 * Writes weights into a folder as programs read them, by the names and in the order of dims of the model, so that they are
 * mapped and not copied when they are opened. One tensor after the other is in memory.
 * @param specs the stores of the programs; what they do not have is written in the dtype of the model
 * @throws CheckpointError that names all tensors that are missing, have another shape or belong to nothing, or the first
 *   value that is not finite
 */
export function writeWeights(
  folder: string,
  model: ModelFile,
  specs: readonly StoreSpec[],
  path: string,
  listen?: WeightsListener,
): void {
  const stores = model.stores.filter(({ blocks }) => blocks !== undefined);
  const params = stores.map(({ name, shape, blocks = [] }) => ({ path: name, shape, blocks }));
  const ahead = new Set(stores.flatMap((store) => (store.ahead ? store.name : [])));
  const found = findParams(new Checkpoint(weightsFolder(path)), model.names, params, {
    optional: (param) => ahead.has(param.path),
  });
  const byName = new Map(specs.map((spec) => [spec.name, spec]));
  const codes = new Map<string, StoredCodes>();
  const tensors = stores.flatMap((store): WrittenTensor[] => {
    const param = found.get(store.name);
    if (param === undefined) return [];
    const spec: StoreSpec = byName.get(store.name) ?? store;
    const dtype = codeType(spec);
    if (spec.quantized !== undefined && dtype !== undefined)
      codes.set(store.name, { ...spec.quantized, dtype, shape: spec.shape });
    return written(spec, byName, () => finiteElements(spec, param.read(), path));
  });
  writeCheckpoint(folder, listened(tensors, "writing weights", listen), SHARD_BYTES, quantizedMetadata(codes));
}

/** The tensors, which tell how many of them were made. */
export function listened(
  tensors: readonly WrittenTensor[],
  what: string,
  listen: WeightsListener | undefined,
): readonly WrittenTensor[] {
  let made = 0;
  return tensors.map((tensor) => ({
    ...tensor,
    bytes: () => {
      const bytes = tensor.bytes();
      listen?.(what, ++made, tensors.length);
      return bytes;
    },
  }));
}

/** The tensors of a store: its own, and of codes their scales, which are made together. */
function written(
  spec: StoreSpec,
  specs: ReadonlyMap<string, StoreSpec>,
  make: () => readonly (readonly [string, Elements])[],
): WrittenTensor[] {
  const scales = spec.quantized === undefined ? [] : [specs.get(spec.quantized.scales)!];
  let made: Map<string, Uint8Array> | undefined;
  return [spec, ...scales].map(({ name, dtype, shape }) => ({
    name,
    dtype: STORED[dtype],
    shape: dtype === "i4" ? [Math.ceil(shape.reduce((a, b) => a * b, 1) / 2)] : shape,
    bytes: () => {
      made ??= new Map(make().map(([store, elements]) => [store, bytesOf(elements)]));
      const own = made.get(name)!;
      made.delete(name);
      if (made.size === 0) made = undefined;
      return own;
    },
  }));
}

/** @throws CheckpointError for a value that is not finite */
function finiteElements(spec: StoreSpec, values: ArrayLike<number>, path: string): [string, Elements][] {
  const made = storedElements(spec, values);
  const index = spec.quantized === undefined ? firstNonFinite(made[0]![1], spec.dtype) : -1;
  if (index >= 0) throw new CheckpointError(`${path}: ${new NonFiniteError(spec.name, index).message}`);
  return made;
}

function bytesOf({ buffer, byteOffset, byteLength }: Elements): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

import { join } from "node:path";
import { encoded, firstNonFinite, STORED } from "../../runtime/device/elements.ts";
import { weightsFolder } from "../../runtime/io/checkpoints/find.ts";
import { findParams } from "../../runtime/io/names/read-params.ts";
import { CheckpointError } from "../../runtime/io/safetensors/format.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { writeCheckpoint } from "../../runtime/io/safetensors/shards.ts";
import { WEIGHTS } from "../../runtime/package/read.ts";
import { NonFiniteError } from "../../runtime/train/finite.ts";
import type { ModelFile } from "../../runtime/program/model.ts";

/**
 * Puts weights into a package: by the names and in the order of dims of the model, in the dtypes of its params, so that they
 * are mapped and not copied when it is opened.
 * @throws CheckpointError that names all tensors that are missing, have another shape or belong to nothing, or the first
 *   value that is not finite
 */
export function writeWeights(directory: string, model: ModelFile, path: string): void {
  const stores = model.stores.filter(({ blocks }) => blocks !== undefined);
  const params = stores.map(({ name, shape, blocks = [] }) => ({ path: name, shape, blocks }));
  const ahead = new Set(stores.flatMap((store) => (store.ahead ? store.name : [])));
  const found = findParams(new Checkpoint(weightsFolder(path)), model.names, params, {
    optional: (param) => ahead.has(param.path),
  });
  const tensors = stores.flatMap(({ name, dtype, shape }) => {
    const param = found.get(name);
    if (param === undefined) return [];
    const bytes = (): Uint8Array => {
      const elements = encoded(param.read(), dtype);
      const index = firstNonFinite(elements, dtype);
      if (index >= 0) throw new CheckpointError(`${path}: ${new NonFiniteError(name, index).message}`);
      return new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
    };
    return [{ name, dtype: STORED[dtype], shape, bytes }];
  });
  writeCheckpoint(join(directory, WEIGHTS), tensors);
}

import { weightsFolder } from "../io/checkpoints/find.ts";
import { readParams } from "../io/names/read-params.ts";
import { Checkpoint } from "../io/safetensors/read.ts";
import type { ModelFile } from "../program/model.ts";
import { encoded } from "./elements.ts";
import type { Session } from "./session.ts";

/**
 * Gives params and states of a session the weights of a checkpoint: the newest one of a run, a folder or file whose tensors
 * have the names of the stores, or one of Hugging Face when the model has a name table. Look-ahead modules that a published
 * checkpoint lacks, and what an optimizer keeps, stay as they are.
 * @throws CheckpointError that names all tensors that are missing, have another shape or belong to nothing
 */
export function loadWeights(session: Session, model: ModelFile, path: string): void {
  const dtypes = new Map(session.stores.map(({ name, dtype }) => [name, dtype]));
  const stores = model.stores.filter(({ blocks }) => blocks !== undefined);
  const params = stores.map(({ name, shape, blocks = [] }) => ({ path: name, shape, blocks }));
  const ahead = new Set(stores.flatMap((store) => (store.ahead ? store.name : [])));
  const values = readParams(new Checkpoint(weightsFolder(path)), model.names, params, {
    optional: (param) => ahead.has(param.path),
  });
  for (const [name, floats] of values) {
    const dtype = dtypes.get(name);
    // A session without training has no look-ahead modules.
    if (dtype !== undefined) session.write(name, encoded(floats, dtype));
  }
}

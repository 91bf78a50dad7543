import { weightsFolder } from "../io/checkpoints/find.ts";
import type { WeightsListener } from "../io/names/read-params.ts";
import { Checkpoint } from "../io/safetensors/read.ts";
import type { ModelFile } from "../program/model.ts";
import { placeTensors, type PlacedWeights } from "./place-tensors.ts";
import type { Session, StoreSpec } from "./session.ts";

/**
 * Finds the weights of a model at a path: in the newest checkpoint of a run, a folder or a file.
 * @throws CheckpointError as `placeTensors` does
 */
export function placeWeights(specs: readonly StoreSpec[], model: ModelFile, path: string): PlacedWeights {
  return placeTensors(specs, model, new Checkpoint(weightsFolder(path)));
}

/** Gives params and states of a session the weights of a checkpoint. @throws CheckpointError as `placeTensors` does */
export function loadWeights(session: Session, model: ModelFile, path: string, listen?: WeightsListener): void {
  placeWeights(session.stores, model, path).write(session, "all", listen);
}

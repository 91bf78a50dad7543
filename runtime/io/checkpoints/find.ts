import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { CheckpointError } from "../safetensors/format.ts";
import { type CheckpointState, verifyCheckpoint } from "./state.ts";

export interface FoundCheckpoint {
  readonly path: string;
  readonly state: CheckpointState;
}

/** The folder inside a run that holds its checkpoints. */
export const CHECKPOINTS = "checkpoints";

/** Folders that are named like checkpoints, the newest first. Nothing says yet that they are sound. */
export function listCheckpoints(checkpoints: string): { readonly step: number; readonly path: string }[] {
  if (!existsSync(checkpoints)) return [];
  return readdirSync(checkpoints)
    .filter((name) => /^\d{8,}$/.test(name))
    .map((name) => ({ step: Number(name), path: join(checkpoints, name) }))
    .toSorted((a, b) => b.step - a.step);
}

/**
 * The newest checkpoint whose files are what they were when it was saved; undefined when there is none. `damaged` is told
 * why a newer one is passed over.
 */
export function latestCheckpoint(checkpoints: string, damaged: (why: string) => void): FoundCheckpoint | undefined {
  for (const { path } of listCheckpoints(checkpoints)) {
    try {
      return { path, state: verifyCheckpoint(path) };
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      damaged(error.message);
    }
  }
  return undefined;
}

/**
 * The folder with the weights of a run: its newest sound checkpoint. Any other path stands for itself.
 * @throws CheckpointError when a run has no sound checkpoint
 */
export function weightsFolder(path: string): string {
  const checkpoints = join(path, CHECKPOINTS);
  if (!existsSync(checkpoints)) return path;
  const reasons: string[] = [];
  const found = latestCheckpoint(checkpoints, (why) => reasons.push(why));
  if (found !== undefined) return found.path;
  throw new CheckpointError([`${path}: the run has no sound checkpoint`, ...reasons].join("; "));
}

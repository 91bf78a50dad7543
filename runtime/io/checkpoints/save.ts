import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { syncFolder, writeDurably } from "../durable.ts";
import { asideOf } from "../replace-file.ts";
import { writeSafetensors } from "../safetensors/write.ts";
import type { WrittenTensor } from "../safetensors/written.ts";
import { listCheckpoints } from "./find.ts";
import { type CheckpointState, hashFile, type Json, STATE_FILE, stateText } from "./state.ts";

export interface SavedFiles {
  /** By file name. Tensors are read one after the other. */
  readonly [file: string]: readonly WrittenTensor[];
}

/** The folder of a checkpoint: eight digits, so that names sort like steps. */
export function checkpointName(step: number): string {
  return String(step).padStart(8, "0");
}

/**
 * Writes a checkpoint aside, file by file with a checksum, and renames its folder: a cut at any moment leaves the checkpoints
 * that were there, and what it left aside is removed by `clearAside`. A checkpoint of the same step is replaced. When
 * something fails nothing of it is left.
 */
export function saveCheckpoint(
  checkpoints: string,
  step: number,
  files: SavedFiles,
  training: Json,
): { readonly path: string; readonly bytes: number } {
  mkdirSync(checkpoints, { recursive: true });
  const path = join(checkpoints, checkpointName(step));
  const aside = asideOf(path);
  const state: { -readonly [key in keyof CheckpointState]: CheckpointState[key] } = {
    format: 1,
    step,
    training,
    files: {},
  };
  try {
    rmSync(aside, { recursive: true, force: true });
    mkdirSync(aside);
    for (const [name, tensors] of Object.entries(files)) {
      const file = join(aside, name);
      writeSafetensors(file, tensors);
      state.files = { ...state.files, [name]: { bytes: statSync(file).size, sha256: hashFile(file) } };
    }
    writeDurably(join(aside, STATE_FILE), stateText(state));
    syncFolder(aside);
    if (existsSync(path)) renameSync(path, `${aside}.old`);
    renameSync(aside, path);
    syncFolder(checkpoints);
  } catch (error) {
    rmSync(aside, { recursive: true, force: true });
    if (existsSync(`${aside}.old`)) renameSync(`${aside}.old`, path);
    throw error;
  }
  rmSync(`${aside}.old`, { recursive: true, force: true });
  return { path, bytes: Object.values(state.files).reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** Removes all but the `keep` newest checkpoints up to a step. Newer ones stay: they are not of this course of the training. */
export function pruneCheckpoints(checkpoints: string, keep: number, upTo: number): void {
  const old = listCheckpoints(checkpoints).filter(({ step }) => step <= upTo);
  for (const { path } of old.slice(keep)) rmSync(path, { recursive: true, force: true });
}

/** Removes what interrupted savings left. Only for the one process that trains in this folder. */
export function clearAside(checkpoints: string): void {
  if (!existsSync(checkpoints)) return;
  for (const name of readdirSync(checkpoints)) {
    if (/^\.\d{8,}\./.test(name)) rmSync(join(checkpoints, name), { recursive: true, force: true });
  }
}

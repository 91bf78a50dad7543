/** Quantized weights that were made once, by the hash of what they were made from. */
import { createHash, type Hash } from "node:crypto";
import { closeSync, mkdirSync, mkdtempSync, openSync, readSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { StoreSpec } from "../../runtime/device/session.ts";
import { weightsFolder } from "../../runtime/io/checkpoints/find.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import type { ModelFile } from "../../runtime/program/model.ts";
import { Cache } from "../targets/cpu/cache.ts";
import { writeWeights } from "./weights.ts";

/** Counts changes of what is written. */
const FORMAT = 1;

/**
 * A folder with the weights of a checkpoint as programs read them, made where it is not in the cache yet; the checkpoint
 * itself where no store is quantized, and where it has codes already.
 * @param onMake called before they are made
 * @throws CheckpointError as `writeWeights` does
 */
export function weightsInCache(
  path: string,
  model: ModelFile,
  specs: readonly StoreSpec[],
  onMake: () => void = () => {},
): string {
  const codes = specs.filter(({ quantized }) => quantized !== undefined);
  const checkpoint = new Checkpoint(weightsFolder(path));
  if (codes.length === 0 || codes.some(({ name }) => checkpoint.has(name) && checkpoint.tensor(name).quantized))
    return path;
  const hash = createHash("sha256");
  hash.update(JSON.stringify([FORMAT, specs, model.stores, model.names]));
  for (const file of checkpoint.files) hashFile(hash, file);
  const cache = new Cache();
  const folder = cache.path(hash.digest("hex").slice(0, 40), "weights");
  if (cache.has(folder)) return folder;
  onMake();
  mkdirSync(dirname(folder), { recursive: true });
  const aside = mkdtempSync(`${folder}.`);
  try {
    writeWeights(aside, model, specs, path);
    renameSync(aside, folder);
  } catch (error) {
    rmSync(aside, { recursive: true, force: true });
    // Another process was faster.
    if (!cache.has(folder)) throw error;
  }
  return folder;
}

function hashFile(hash: Hash, file: string): void {
  const chunk = new Uint8Array(8 << 20);
  const fd = openSync(file, "r");
  try {
    for (let read = readSync(fd, chunk); read > 0; read = readSync(fd, chunk)) hash.update(chunk.subarray(0, read));
  } finally {
    closeSync(fd);
  }
}

/** Quantized weights that were made once, by what is known of the files that they were made from. */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { StoreSpec } from "../../runtime/device/session.ts";
import { Cache } from "../../runtime/io/cache.ts";
import type { WeightsListener } from "../../runtime/io/names/read-params.ts";
import { weightsFolder } from "../../runtime/io/checkpoints/find.ts";
import { CheckpointError } from "../../runtime/io/safetensors/format.ts";
import { Checkpoint, headerOf } from "../../runtime/io/safetensors/read.ts";
import type { ModelFile } from "../../runtime/program/model.ts";
import { writeWeights } from "./weights.ts";

/** Counts changes of what is written. */
const FORMAT = 2;

/** The least time between two changes of a file that its times tell apart; clocks of kernels tick every 1 to 10 ms. */
const TICK = 50;

/**
 * A folder with the weights of a checkpoint as programs read them, made where it is not in the cache yet; the checkpoint
 * itself where no store is quantized, and where it has codes already.
 * @throws CheckpointError as `writeWeights` does, and for a file that changes while it is read
 */
export function weightsInCache(
  path: string,
  model: ModelFile,
  specs: readonly StoreSpec[],
  listen?: WeightsListener,
): string {
  const codes = specs.filter(({ quantized }) => quantized !== undefined);
  const source = weightsFolder(path);
  const checkpoint = new Checkpoint(source);
  if (codes.length === 0 || codes.some(({ name }) => checkpoint.has(name) && checkpoint.tensor(name).quantized))
    return path;
  const key = keyOf(checkpoint, model, specs);
  const cache = new Cache("cpu");
  const folder = cache.path(key, "weights");
  if (cache.has(folder)) return folder;
  mkdirSync(dirname(folder), { recursive: true });
  const aside = mkdtempSync(`${folder}.`);
  try {
    writeWeights(aside, model, specs, source, listen);
    if (keyOf(new Checkpoint(source), model, specs) !== key)
      throw new CheckpointError(`${source}: a file was changed while it was read`);
    renameSync(aside, folder);
  } catch (error) {
    rmSync(aside, { recursive: true, force: true });
    // Another process was faster.
    if (!cache.has(folder)) throw error;
  }
  return folder;
}

/**
 * Reading whole checkpoints would take longer than to start from them. A file that was replaced is another one (device, inode)
 * and one that was written to has another time of change, which, unlike that of modification, nobody can set.
 */
function keyOf(checkpoint: Checkpoint, model: ModelFile, specs: readonly StoreSpec[]): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([FORMAT, specs, model.stores, model.names]));
  for (const file of checkpoint.files) {
    const { dev, ino, size, mtimeNs, ctimeNs } = settled(file);
    hash.update(`\0${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}\0`);
    hash.update(headerOf(file));
  }
  return hash.digest("hex").slice(0, 40);
}

/** What is known of a file whose last change is long enough ago that the next one gets another time. */
function settled(file: string): ReturnType<typeof stats> {
  const found = stats(file);
  const age = Date.now() - Number(found.ctimeNs / 1_000_000n);
  if (age < 0 || age >= TICK) return found;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TICK - age);
  return stats(file);
}

function stats(file: string) {
  return statSync(file, { bigint: true });
}

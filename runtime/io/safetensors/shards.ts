import { join } from "node:path";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { replaceFile } from "../replace-file.ts";
import { DTYPES } from "./format.ts";
import { writeSafetensors } from "./write.ts";
import type { WrittenTensor } from "./written.ts";

/** Where transformers begins a new file. */
export const SHARD_BYTES = 5_000_000_000;

/**
 * Writes `model.safetensors` into a directory, or shards of at most `limit` bytes (a larger tensor has a file of its own)
 * with `model.safetensors.index.json`. Equal tensors give equal files. The index comes last: without it nobody reads the
 * shards of a run that was cut.
 */
export function writeCheckpoint(
  directory: string,
  tensors: readonly WrittenTensor[],
  limit = SHARD_BYTES,
  metadata: Readonly<Record<string, string>> = {},
): void {
  mkdirSync(directory, { recursive: true });
  const index = join(directory, "model.safetensors.index.json");
  const shards = divide(
    tensors.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    limit,
  );
  if (shards.length <= 1) {
    writeSafetensors(join(directory, "model.safetensors"), shards[0] ?? [], metadata);
    rmSync(index, { force: true });
    removeShards(directory, new Set());
    return;
  }
  const total = tensors.reduce((sum, tensor) => sum + sizeOf(tensor), 0);
  const map: Record<string, string> = {};
  const count = String(shards.length).padStart(5, "0");
  for (const [i, shard] of shards.entries()) {
    const file = `model-${String(i + 1).padStart(5, "0")}-of-${count}.safetensors`;
    writeSafetensors(join(directory, file), shard, metadata);
    for (const { name } of shard) map[name] = file;
  }
  replaceFile(index, `${JSON.stringify({ metadata: { total_size: total }, weight_map: map }, undefined, 2)}\n`);
  rmSync(join(directory, "model.safetensors"), { force: true });
  removeShards(directory, new Set(Object.values(map)));
}

/** Shards of an earlier checkpoint belong to nobody once the new index is there. */
function removeShards(directory: string, kept: ReadonlySet<string>): void {
  const shards = readdirSync(directory).filter((name) => /^model-\d{5}-of-\d{5}\.safetensors$/.test(name));
  for (const name of shards) if (!kept.has(name)) rmSync(join(directory, name));
}

function sizeOf({ shape, dtype }: WrittenTensor): number {
  return shape.reduce((a, b) => a * b, 1) * DTYPES[dtype];
}

function divide(tensors: readonly WrittenTensor[], limit: number): WrittenTensor[][] {
  const shards: WrittenTensor[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const size = sizeOf(tensor);
    const last = shards.at(-1);
    if (last !== undefined && size <= room) last.push(tensor);
    else {
      shards.push([tensor]);
      room = limit;
    }
    room -= size;
  }
  return shards;
}

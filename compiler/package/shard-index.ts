import { statSync } from "node:fs";
import { basename, join } from "node:path";
import { hashFile } from "../../runtime/io/checkpoints/state.ts";
import { replaceFile } from "../../runtime/io/replace-file.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { SHARD_INDEX, type ShardIndex } from "../../runtime/io/safetensors/shard-index.ts";

/** Writes beside weights what each of their files holds: browsers fetch by it. */
export function writeShardIndex(folder: string): void {
  const index: ShardIndex = {
    format: 1,
    shards: new Checkpoint(folder).files.map((path) => ({
      file: basename(path),
      bytes: statSync(path).size,
      sha256: hashFile(path),
    })),
  };
  replaceFile(join(folder, SHARD_INDEX), `${JSON.stringify(index, undefined, 2)}\n`);
}

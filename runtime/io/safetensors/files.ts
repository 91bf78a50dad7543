/** Which files make up a checkpoint: one, or the shards of an index. */
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { named, parseJson, RepeatedKeyError, shown } from "../json.ts";
import { isSystemError, reasonOf } from "../reason.ts";
import { CheckpointError } from "./format.ts";
import type { CheckpointFiles } from "./tensors.ts";

const INDEX = "model.safetensors.index.json";
const SINGLE = "model.safetensors";

/**
 * `model.safetensors` or the shards of `model.safetensors.index.json` of a folder, or the file itself.
 * @throws CheckpointError when there are none, or an index that leads elsewhere than to files of its folder
 */
export function filesOf(path: string): Pick<CheckpointFiles, "files" | "index"> {
  if (!existsSync(path)) throw new CheckpointError(`${path}: there is no such file or directory`);
  if (!statSync(path).isDirectory()) return { files: [path], index: undefined };
  const index = join(path, INDEX);
  if (existsSync(index)) return shardsOf(path, readIndex(index));
  const single = join(path, SINGLE);
  if (existsSync(single)) return { files: [single], index: undefined };
  // A folder that may not be read seems empty.
  reading(path, () => readdirSync(path));
  throw new CheckpointError(`${path}: there is no ${SINGLE} and no ${INDEX}`);
}

function readIndex(path: string): Map<string, string> {
  const fail = (why: string): never => {
    throw new CheckpointError(`${INDEX}: ${why}`);
  };
  let value: unknown;
  try {
    value = parseJson(new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path)));
  } catch (error) {
    if (isSystemError(error)) return fail(reasonOf(error));
    return fail(error instanceof RepeatedKeyError ? error.message : "not JSON");
  }
  const map = (value as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null || Array.isArray(map)) return fail("there is no weight_map");
  for (const [tensor, file] of Object.entries(map as Record<string, unknown>)) {
    if (!isPlainName(file))
      fail(`tensor ${named(tensor)} is said to be in ${shown(file)}, which is not a file of the directory`);
  }
  return new Map(Object.entries(map as Record<string, string>));
}

/** A name without any folder: what it is a link to is the business of who made the link. */
function isPlainName(file: unknown): file is string {
  return typeof file === "string" && file === basename(file) && !["", ".", ".."].includes(file) && !/[\\\0]/.test(file);
}

function shardsOf(folder: string, index: ReadonlyMap<string, string>): Pick<CheckpointFiles, "files" | "index"> {
  const shards = [...new Set(index.values())].toSorted();
  const missing = shards.filter((name) => !existsSync(join(folder, name)));
  if (missing.length > 0)
    throw new CheckpointError(missing.map((name) => `${INDEX}: the shard ${named(name)} is missing`).join("\n"));
  return { files: shards.map((name) => join(folder, name)), index };
}

/** The size of a file in bytes. @throws CheckpointError for what is none: a folder, a pipe, a device */
export function sizeOf(path: string): number {
  return reading(path, () => {
    const found = statSync(path);
    if (found.isFile()) return found.size;
    throw new CheckpointError(`${basename(path)}: it is ${found.isDirectory() ? "a directory" : "no file"}`);
  });
}

/** Bytes of a file. @throws CheckpointError when it cannot be read, or ends before them */
export function bytesOf(path: string, start: number, length: number): Uint8Array<ArrayBuffer> {
  return reading(path, () => {
    const fd = openSync(path, "r");
    try {
      if (fstatSync(fd).size < start + length) throw new CheckpointError(`${basename(path)}: the file became shorter`);
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length;) {
        const got = readSync(fd, bytes, at, Math.min(length - at, 1 << 30), start + at);
        if (got === 0) throw new CheckpointError(`${basename(path)}: the file became shorter`);
        at += got;
      }
      return bytes;
    } finally {
      closeSync(fd);
    }
  });
}

function reading<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new CheckpointError(`${basename(path)}: ${reasonOf(error)}`, { cause: error });
  }
}

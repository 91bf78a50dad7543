import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { isAbsolute, relative } from "node:path";
import { globSync } from "tinyglobby";
import { DataError } from "./data-error.ts";

const CHUNK = 1 << 20;

/**
 * The files of a glob in the order of their paths, absolute.
 * @throws DataError when there are none
 */
export function findFiles(glob: string, root: string): string[] {
  const found = globSync(glob, { cwd: root, absolute: true, expandDirectories: false });
  if (found.length === 0) throw new DataError([`no file matches \`${glob}\`${isAbsolute(glob) ? "" : ` in ${root}`}`]);
  return found.toSorted((a, b) => (a < b ? -1 : 1));
}

/** How messages name a file. */
export function nameIn(root: string, path: string): string {
  const name = relative(root, path);
  return name.startsWith("..") ? path : name;
}

export interface Chunk {
  readonly bytes: Buffer;
  /** Where it begins in the file. */
  readonly at: number;
}

/** The content of a file in order, a mebibyte at a time. The bytes are good until the next chunk is asked for. */
export function* chunksOf(path: string): Generator<Chunk> {
  const fd = openSync(path, "r");
  try {
    const buffer = Buffer.allocUnsafe(CHUNK);
    for (let at = 0; ;) {
      const count = readSync(fd, buffer, 0, CHUNK, at);
      if (count === 0) return;
      yield { bytes: buffer.subarray(0, count), at };
      at += count;
    }
  } finally {
    closeSync(fd);
  }
}

/** Bytes `at` up to `at + length` of an open file. @throws Error when the file is shorter */
export function readRange(fd: number, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const count = readSync(fd, bytes, done, length - done, at + done);
    if (count === 0) throw new Error(`a file of tokens became shorter while it was read: ${fstatSync(fd).size} bytes`);
    done += count;
  }
  return bytes;
}

/** SHA-256 of the content. */
export function hashFile(path: string): string {
  const hash = createHash("sha256");
  for (const { bytes } of chunksOf(path)) hash.update(bytes);
  return hash.digest("hex");
}

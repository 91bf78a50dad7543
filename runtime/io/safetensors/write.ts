import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { asideOf } from "../replace-file.ts";
import { DTYPES } from "./format.ts";
import { safetensorsParts, type WrittenTensor } from "./written.ts";

/** Writes a file aside and renames it: a cut leaves the old file or the new one. */
export function writeSafetensors(
  path: string,
  tensors: readonly WrittenTensor[],
  metadata: Readonly<Record<string, string>> = {},
): void {
  const { header, sorted } = safetensorsParts(tensors, metadata);
  const aside = asideOf(path);
  try {
    writeFile(aside, header, sorted);
    renameSync(aside, path);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
}

function writeFile(path: string, header: Uint8Array, tensors: readonly WrittenTensor[]): void {
  const fd = openSync(path, "w");
  try {
    writeAll(fd, header);
    for (const { name, bytes, shape, dtype } of tensors) {
      const data = bytes();
      const wanted = shape.reduce((a, b) => a * b, 1) * DTYPES[dtype];
      if (data.length !== wanted) throw new Error(`tensor ${name} has ${data.length} bytes, not ${wanted}`);
      writeAll(fd, data);
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, Math.min(bytes.length - at, 1 << 30));
}

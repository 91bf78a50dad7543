import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { asideOf } from "../replace-file.ts";
import { DTYPES } from "./format.ts";
import type { WrittenTensor } from "./written.ts";

/**
 * Writes a file aside and renames it: a cut leaves the old file or the new one. Tensors in order of their names, the
 * header padded to a multiple of 8 bytes: equal tensors give equal files.
 */
export function writeSafetensors(
  path: string,
  tensors: readonly WrittenTensor[],
  metadata: Readonly<Record<string, string>> = {},
): void {
  const sorted = tensors.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const header: Record<string, unknown> = { __metadata__: { format: "pt", ...metadata } };
  let at = 0;
  for (const { name, dtype, shape } of sorted) {
    const size = shape.reduce((a, b) => a * b, 1) * DTYPES[dtype];
    header[name] = { dtype, shape, data_offsets: [at, at + size] };
    at += size;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(text, 8);
  const aside = asideOf(path);
  try {
    writeFile(aside, padded, sorted);
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

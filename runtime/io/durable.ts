import { closeSync, fsyncSync, openSync, writeFileSync } from "node:fs";

/** Makes the names in a folder last through a power cut; file systems that cannot are taken as they are. */
export function syncFolder(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } catch (error) {
    if (!["EINVAL", "ENOTSUP"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  } finally {
    closeSync(fd);
  }
}

/** Writes a text that is on the disk when this returns. */
export function writeDurably(path: string, text: string): void {
  const fd = openSync(path, "w");
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

import { renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** Where a file is written before it gets its name: beside it, so that the renaming is one step. */
export function asideOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}`);
}

/** Written aside and renamed: a cut leaves the old content or the new one. */
export function replaceFile(path: string, content: string | Uint8Array): void {
  const aside = asideOf(path);
  try {
    writeFileSync(aside, content);
    renameSync(aside, path);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
}

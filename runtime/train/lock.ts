import { closeSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { hostname } from "node:os";

/** Another process trains in the folder. */
export class LockedError extends Error {}

/**
 * Keeps other processes from training in the same folder: a file with the process that does. One that is gone, killed for
 * example, does not count. Gives the function that opens the lock.
 * @throws LockedError when another process holds it
 */
export function lock(path: string): () => void {
  for (;;) {
    try {
      const fd = openSync(path, "wx");
      writeSync(fd, JSON.stringify({ host: hostname(), pid: process.pid, started: startOf(process.pid) }));
      closeSync(fd);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = holderOf(path);
    if (holder !== undefined) throw new LockedError(`${holder} is training in this folder (\`${path}\`)`);
    rmSync(path, { force: true });
  }
}

/** The process that a lock names, if it may still run. */
function holderOf(path: string): string | undefined {
  let holder: { readonly host?: string; readonly pid?: number; readonly started?: string | null };
  try {
    holder = JSON.parse(readFileSync(path, "utf8")) as typeof holder;
  } catch {
    // Cut while it was written, or opened just now.
    return undefined;
  }
  const { host, pid, started } = holder;
  if (typeof pid !== "number") return undefined;
  if (host !== hostname()) return `process ${pid} on ${host}`;
  const runs = isAlive(pid) && startOf(pid) === started && pid !== process.pid;
  return runs ? `process ${pid}` : undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** When a process started, in ticks since boot: numbers of processes are used again. Null where the system does not say. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}

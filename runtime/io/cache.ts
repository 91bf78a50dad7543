import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";

const MONTH = 30 * 24 * 3600 * 1000;

/**
 * Files by the hash of what they were made from, in DSKC_CACHE, else in `dskc` below XDG_CACHE_HOME or `~/.cache`, each
 * kind in a folder of its own. Where
 * nothing can be written, a directory of this process takes its place.
 */
export class Cache {
  readonly directory: string;

  constructor(kind: "cpu" | "cuda", environment: NodeJS.ProcessEnv = process.env) {
    this.directory = usable(join(wished(environment), kind));
  }

  /** Where the file of a hash is, or belongs. */
  path(hash: string, extension: string): string {
    return join(this.directory, `${hash}.${extension}`);
  }

  /** True when the file is there; it counts as used from now on. */
  has(path: string): boolean {
    try {
      utimesSync(path, new Date(), new Date());
      return true;
    } catch {
      return false;
    }
  }

  /** Removes what nobody used for a month. */
  prune(now = Date.now()): void {
    for (const name of readdirSync(this.directory)) {
      const path = join(this.directory, name);
      const { mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? { mtimeMs: now };
      if (now - mtimeMs > MONTH) rmSync(path, { force: true, recursive: true });
    }
  }
}

function wished(environment: NodeJS.ProcessEnv): string {
  const { DSKC_CACHE: own, XDG_CACHE_HOME: common } = environment;
  return own || join(common || join(homedir(), ".cache"), "dskc");
}

function usable(directory: string): string {
  try {
    mkdirSync(directory, { recursive: true });
    return directory;
  } catch {
    return mkdtempSync(join(tmpdir(), "dskc-"));
  }
}

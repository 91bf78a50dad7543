/** Where dskc is installed, and which version it is. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The directory with `package.json`, `dsl/std` and `docs/errors`, from the sources and from the bundle alike. */
export function installation(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, "package.json"))) {
    const up = dirname(dir);
    if (up === dir) throw new Error("the installation has no package.json");
    dir = up;
  }
  return dir;
}

export function version(): string {
  const manifest = JSON.parse(readFileSync(join(installation(), "package.json"), "utf8")) as { version: string };
  return manifest.version;
}

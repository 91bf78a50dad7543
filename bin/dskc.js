#!/usr/bin/env node
import { existsSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const bundle = new URL("../dist/dskc.js", import.meta.url);
if (!existsSync(bundle)) {
  const built = spawnSync(process.execPath, ["scripts/build.mjs"], { cwd: root, stdio: ["ignore", 2, 2] });
  if (built.status !== 0) {
    process.stderr.write("dskc: the command line is not built; run `npm ci` in " + root + "\n");
    process.exit(70);
  }
}
await import(bundle.href);

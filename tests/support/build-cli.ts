import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";

/**
 * Builds dist/dskc.js once per test run, so that end-to-end tests run the program that users run. Where it cannot be
 * built, the tests of the command line fail and the others still run.
 */
export default function setup(): void {
  try {
    execFileSync(process.execPath, ["scripts/build.mjs"], { stdio: "inherit" });
  } catch {
    rmSync("dist/dskc.js", { force: true });
  }
}

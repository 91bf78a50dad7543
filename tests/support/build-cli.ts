import { execFileSync } from "node:child_process";

/** Builds dist/dskc.js once per test run, so that end-to-end tests run the program that users run. */
export default function setup(): void {
  execFileSync(process.execPath, ["scripts/build.mjs"], { stdio: "inherit" });
}

/** The stand-in of libcuda declares what NVIDIA's header does: it compiles with that header in the place of its own. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const HEADERS = [process.env["CUDA_HOME"], process.env["CUDA_PATH"], "/usr/local/cuda", "/usr"]
  .flatMap((root) => (root ? [join(root, "include")] : []))
  .find((path) => existsSync(join(path, "cuda.h")));

test.skipIf(HEADERS === undefined)(
  "the stand-in with cuda.h (skipped where there is none)",
  () => {
    const folder = resolve("tests/support/cuda");
    const sources = readdirSync(join(folder, "driver")).filter((name) => name.endsWith(".cc"));
    expect(sources.length).toBeGreaterThan(5);
    const flags = ["-std=c++20", "-fsyntax-only", "-DDSK_CUDA_H", `-I${HEADERS}`, `-I${join(folder, "include")}`];
    execFileSync("g++", [...flags, ...sources.map((name) => join(folder, "driver", name))], { stdio: "pipe" });
  },
  300_000,
);

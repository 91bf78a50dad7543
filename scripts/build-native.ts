// Builds the native addon, dist/dskc.node, from runtime/native/src with the compiler and the cache that kernels have.
// build.mjs bundles and runs this. Without a compiler there is no addon, and all that needs none works.
import { rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { CompileError, compileLibrary } from "../compiler/targets/cpu/compile.ts";
import { NoCompilerError } from "../compiler/targets/cpu/compiler.ts";

const library = "dist/dskc.node";
const modules = createRequire(`${process.cwd()}/package.json`);

try {
  await compileLibrary({
    directory: "runtime/native/src",
    library,
    include: [
      "templates/cpu",
      dirname(modules.resolve("node-addon-api")),
      // Headers of Node-API as a package: nothing is downloaded, and any installation of Node will do.
      `${dirname(modules.resolve("node-api-headers"))}/include`,
    ],
    flags: [
      "-pthread",
      "-Wall",
      "-Wextra",
      // Tokens are chosen with the same bits on every processor.
      "-ffp-contract=off",
      "-DNAPI_VERSION=8",
      "-DNODE_ADDON_API_CPP_EXCEPTIONS_ALL",
      "-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
    ],
    linkFlags: [
      "-pthread",
      // Threads of the addon outlive the worker of Node that loaded it: its code must stay.
      ...(process.platform === "darwin" ? ["-undefined", "dynamic_lookup"] : ["-Wl,-z,nodelete", "-ldl"]),
    ],
  });
} catch (error) {
  // An old addon would not be what the sources say.
  rmSync(library, { force: true });
  const missing = (error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND";
  if (!(error instanceof NoCompilerError || error instanceof CompileError || missing)) throw error;
  process.stderr.write(`${missing ? "packages of the addon are missing: run `npm ci`" : (error as Error).message}\n`);
  process.stderr.write("dskc works without its native addon, but cannot run models on the CPU (`--device cpu`).\n");
}

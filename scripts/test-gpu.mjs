// The tests of the CUDA device on the GPU of this machine: `npm run test:gpu`. They are bundled to one file, so that a bare machine
// needs Node, this folder and dist/dskc.node, but no node_modules: `npm run test:gpu -- --prepare` where nvcc is compiles their
// kernels to .gpu/packages; there, `node .gpu/test-gpu.mjs` runs them. tests/gpu/main.ts has the variables that choose.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { build } from "esbuild";

const bundle = ".gpu/test-gpu.mjs";
const runner = {
  name: "runner",
  setup: ({ onResolve }) => onResolve({ filter: /^vitest$/ }, () => ({ path: resolve("tests/gpu/runner.ts") })),
};
// Tests find their fixtures from where they lie.
const places = {
  name: "places",
  setup: ({ onLoad }) =>
    onLoad({ filter: /[\\/]tests[\\/].*\.ts$/ }, ({ path }) => {
      const folder = JSON.stringify(`../${relative(".", dirname(path))}`);
      const text = readFileSync(path, "utf8");
      return {
        contents: text.replaceAll("import.meta.dirname", `new URL(${folder}, import.meta.url).pathname`),
        loader: "ts",
      };
    }),
};
await build({
  entryPoints: ["tests/gpu/main.ts"],
  outfile: bundle,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  // Other devices and the command line: nothing here calls them.
  external: ["ts-morph", "webgpu", "esbuild"],
  plugins: [runner, places],
  banner: {
    js: [
      'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
      'process.env.DSKC_GPU ??= "run"; process.env.DSKC_CUDA_FIXTURES ??= "all";',
    ].join("\n"),
  },
});
const mode = process.argv.includes("--prepare") ? "prepare" : "run";
const env = { ...process.env, DSKC_GPU: mode };
process.exitCode = spawnSync(process.execPath, [bundle], { stdio: "inherit", env }).status ?? 1;

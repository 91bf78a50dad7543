// The tests of the CUDA device on the GPU of this machine: `npm run test:gpu`. They are bundled to one file, so that a bare machine
// needs Node, this folder and dist/dskc.node, but no node_modules: `npm run test:gpu -- --prepare` where nvcc is compiles their
// kernels to .gpu/packages; there, `node .gpu/test-gpu.mjs` runs them. tests/gpu/main.ts has the variables that choose.
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { bundle } from "./gpu-bundle.mjs";

const runner = {
  name: "runner",
  setup: ({ onResolve }) => onResolve({ filter: /^vitest$/ }, () => ({ path: resolve("tests/gpu/runner.ts") })),
};
const file = await bundle({
  entry: "tests/gpu/main.ts",
  outfile: ".gpu/test-gpu.mjs",
  plugins: [runner],
  banner: ['process.env.DSKC_GPU ??= "run"; process.env.DSKC_CUDA_FIXTURES ??= "all";'],
});
const mode = process.argv.includes("--prepare") ? "prepare" : "run";
const env = { ...process.env, DSKC_GPU: mode };
process.exitCode = spawnSync(process.execPath, [file], { stdio: "inherit", env }).status ?? 1;

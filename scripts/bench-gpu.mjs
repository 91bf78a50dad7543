// Kernels of the CUDA device beside those of PyTorch: `npm run bench:gpu` (docs/cuda.md). `-- --prepare` where nvcc is compiles them to
// .gpu/packages; on a bare machine with a GPU, `node .gpu/bench-gpu.mjs` measures them.
import { spawnSync } from "node:child_process";
import { bundle } from "./gpu-bundle.mjs";

const file = await bundle({ entry: "bench/gpu.ts", outfile: ".gpu/bench-gpu.mjs" });
process.exitCode = spawnSync(process.execPath, [file, ...process.argv.slice(2)], { stdio: "inherit" }).status ?? 1;

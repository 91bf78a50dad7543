/** Kernels of a package as cubins: compiled when the package was built, else here by NVRTC. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Cache } from "../../io/cache.ts";
import { replaceFile } from "../../io/replace-file.ts";
import { addon } from "../../native/addon.ts";
import { architecturesOf, type Gpu } from "./gpu.ts";
import { NoCudaError } from "./errors.ts";

/** Where a package has its CUDA C++, the table of it, and a folder of cubins for each architecture. */
export const CUDA_KERNELS = "kernels/cuda";

/** As many compilations at once as libuv has threads. */
const AT_ONCE = 4;

/**
 * The cubins of kernels by their names.
 * @param onProgress how many of those that are compiled here are done
 * @throws NoCudaError when there are none for this GPU and no compiler; Error with what the compiler says
 */
export async function cubinsOf(
  directory: string,
  kernels: readonly string[],
  gpu: Gpu,
  onProgress?: (done: number, all: number) => void,
): Promise<Map<string, Uint8Array>> {
  const sources = join(directory, CUDA_KERNELS);
  const folders = architecturesOf(gpu).map((architecture) => join(sources, architecture));
  const found = new Map<string, Uint8Array>();
  const missing: string[] = [];
  for (const kernel of kernels) {
    const path = folders.map((folder) => join(folder, `${kernel}.cubin`)).find((file) => existsSync(file));
    if (path === undefined) missing.push(kernel);
    else found.set(kernel, readFileSync(path));
  }
  if (missing.length === 0) return found;
  const compile = compiler(sources, gpu);
  let done = 0;
  const queue = missing.values();
  const work = async (): Promise<void> => {
    for (const kernel of queue) {
      found.set(kernel, await compile(kernel));
      onProgress?.(++done, missing.length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return found;
}

/** What compiles a kernel of a folder, or finds it in the cache. @throws NoCudaError without NVRTC */
function compiler(sources: string, gpu: Gpu): (kernel: string) => Promise<Uint8Array> {
  const nvrtc = addon().nvrtc();
  const [architecture] = architecturesOf(gpu);
  if ("problem" in nvrtc) {
    throw new NoCudaError(
      `${sources} has no cubins for ${gpu.name} (${architectureNames(sources)}, it runs ${architecturesOf(gpu).join(", ")}), and NVRTC is not here to compile them (${nvrtc.problem}): build the package where nvcc is, or install NVRTC (Debian: libnvrtc12; it comes with the CUDA toolkit)`,
    );
  }
  const options = [
    "--std=c++17",
    `--gpu-architecture=${architecture}`,
    `--include-path=${sources}`,
    ...toolkitHeaders().map((path) => `--include-path=${path}`),
  ];
  const headers = readdirSync(sources)
    .filter((name) => name.endsWith(".cuh"))
    .toSorted()
    .map((name) => `${name}\0${readFileSync(join(sources, name), "utf8")}`);
  const common = [`${nvrtc.major}.${nvrtc.minor}`, architecture, ...headers].join("\0");
  const cache = new Cache("cuda");
  return async (kernel) => {
    const source = readFileSync(join(sources, `${kernel}.cu`), "utf8");
    const path = cache.path(createHash("sha256").update(`${common}\0${source}`).digest("hex"), "cubin");
    if (cache.has(path)) return readFileSync(path);
    const cubin = await addon().compileCuda(source, `${kernel}.cu`, options);
    replaceFile(path, cubin);
    return cubin;
  };
}

function architectureNames(sources: string): string {
  const folders = readdirSync(sources).filter((name) => name.startsWith("sm_"));
  return folders.length === 0 ? "it has none at all" : `it has ${folders.join(", ")}`;
}

/** Headers of the toolkit, where it is: kernels that use more than the compiler has by itself need them. */
function toolkitHeaders(): string[] {
  const { CUDA_HOME, CUDA_PATH } = process.env;
  const places = [CUDA_HOME, CUDA_PATH, "/usr/local/cuda"].flatMap((root) => (root ? [join(root, "include")] : []));
  return [...places, "/usr/include"].filter((path) => existsSync(join(path, "cuda_fp8.h"))).slice(0, 1);
}

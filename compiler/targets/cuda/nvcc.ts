import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The compiler of the CUDA toolkit. */
export interface Nvcc {
  readonly command: string;
  /** What it says about itself: other versions make other code. */
  readonly version: string;
}

/** What DSKC_NVCC names, else nvcc on the PATH or where the toolkit puts it; undefined where there is none that runs. */
export async function findNvcc(environment: NodeJS.ProcessEnv = process.env): Promise<Nvcc | undefined> {
  const chosen = environment["DSKC_NVCC"];
  for (const command of chosen ? [chosen] : ["nvcc", "/usr/local/cuda/bin/nvcc"]) {
    try {
      const { stdout } = await run(command, ["--version"], { env: environment });
      return { command, version: stdout };
    } catch {
      // Not this one.
    }
  }
  return undefined;
}

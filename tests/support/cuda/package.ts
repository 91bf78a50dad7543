/** Packages of kernels for the stand-in of libcuda. */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CUDA_KERNELS } from "../../../runtime/device/cuda/cubins.ts";
import { SHORTLIST_FILE } from "../../../compiler/targets/cuda/shortlist.ts";
import type { SimtKernel } from "../../../runtime/program/grids.ts";
import type { LaunchProgram } from "../../../runtime/program/launch.ts";
import { writePrograms } from "../kernels.ts";
import { buildModule, standIn } from "./build.ts";
import { REAL, realPackage } from "./real.ts";

/** A kernel by hand: its row of the table and the text of its file. */
export interface HandCuda {
  readonly table: SimtKernel;
  readonly text: string;
}

/** Makes sessions of this process use the stand-in, unless they are for a GPU or the environment names another library. */
export async function useStandIn(): Promise<void> {
  if (!REAL) process.env["DSKC_LIBCUDA"] ??= await standIn();
}

/** A directory with a package, compiled by g++ as if by nvcc for a GPU of 9.0, or for a real one. */
export async function cudaPackage(kernels: readonly HandCuda[], programs: readonly LaunchProgram[]): Promise<string> {
  const all = [...kernels, { table: SHORTLIST_FILE.kernel, text: SHORTLIST_FILE.text }];
  if (REAL) {
    const prelude = readFileSync("templates/cuda/dsk.cuh", "utf8");
    const texts = all.map(({ table, text }) => [`${CUDA_KERNELS}/${table.name}.cu`, text] as const);
    const tables = JSON.stringify({ format: 1, kernels: all.map(({ table }) => table) });
    return realPackage(
      new Map([
        ...texts,
        [`${CUDA_KERNELS}/dsk.cuh`, prelude],
        [`${CUDA_KERNELS}/cuda.json`, tables],
        ["program.json", JSON.stringify({ format: 1, programs })],
      ]),
    );
  }
  const directory = mkdtempSync(join(tmpdir(), "dskc-cuda-package-"));
  const sources = join(directory, CUDA_KERNELS);
  mkdirSync(join(sources, "sm_90a"), { recursive: true });
  for (const { table, text } of all) writeFileSync(join(sources, `${table.name}.cu`), text);
  writeFileSync(join(sources, "cuda.json"), JSON.stringify({ format: 1, kernels: all.map(({ table }) => table) }));
  const files = all.map(({ table }) => join(sources, `${table.name}.cu`));
  await buildModule(files, join(sources, "sm_90a"));
  writePrograms(directory, ...programs);
  return directory;
}

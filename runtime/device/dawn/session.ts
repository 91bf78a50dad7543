/** Packages on WebGPU in Node, each session on a device of its own. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { LaunchProgram } from "../../program/launch.ts";
import type { SimtKernels } from "../../program/grids.ts";
import { openWebGpuSession, type WebGpuOptions, type WebGpuSession } from "../webgpu/session.ts";
import { requestDawn } from "./gpu.ts";

/** Where a package has what a runtime must know about its WGSL. */
export const WEBGPU_KERNELS = "kernels/webgpu.json";

/** @throws NoGpuError that says what to install; as `openWebGpuSession` does */
export async function openDawnSession(options: Omit<WebGpuOptions, "device" | "ownsDevice">): Promise<WebGpuSession> {
  const device = await requestDawn();
  try {
    return openWebGpuSession({ ...options, device, ownsDevice: true });
  } catch (error) {
    device.destroy();
    throw error;
  }
}

/** The programs with the kernels in the directory of a package. @throws as `openDawnSession` does */
export function openPackageOnDawn(
  directory: string,
  programs: readonly LaunchProgram[],
  options: Pick<WebGpuOptions, "cacheRows" | "onProgress"> = {},
): Promise<WebGpuSession> {
  const table = JSON.parse(readFileSync(join(directory, WEBGPU_KERNELS), "utf8")) as SimtKernels;
  const source = (kernel: string): string => readFileSync(join(directory, "kernels", `${kernel}.wgsl`), "utf8");
  return openDawnSession({ ...options, programs, kernels: table.kernels, source });
}

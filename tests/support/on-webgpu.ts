import { existsSync } from "node:fs";
import type { LowerOptions } from "../../compiler/lower/fusions.ts";
import { lowerPrograms } from "../../compiler/lower/lower.ts";
import { printWebGpu } from "../../compiler/targets/webgpu/print.ts";
import type { Program } from "../../compiler/tensor-ir/types.ts";
import { requestDawn } from "../../runtime/device/dawn/gpu.ts";
import { openWebGpuSession, type WebGpuSession } from "../../runtime/device/webgpu/session.ts";
import type { SimtKernels } from "../../runtime/program/grids.ts";

/** The driver in software of Debian's chromium. */
const SOFTWARE = "/usr/lib/chromium/vk_swiftshader_icd.json";

/** Whether there is a driver that tests can count on: `DSKC_WEBGPU=1` says that this machine has another one. */
export const HAS_WEBGPU = existsSync(SOFTWARE) || process.env["DSKC_WEBGPU"] === "1";

let device: Promise<GPUDevice> | undefined;

/** Programs, as they are, on WebGPU. */
export async function onWebGpu(
  programs: readonly Program[],
  options: { cacheRows?: number; partBytes?: number } = {},
  lower: LowerOptions = {},
): Promise<WebGpuSession> {
  if (existsSync(SOFTWARE)) {
    process.env["VK_ICD_FILENAMES"] ??= SOFTWARE;
    process.env["XDG_RUNTIME_DIR"] ??= "/tmp";
  }
  device ??= requestDawn();
  const { kernels, programs: launches } = lowerPrograms(programs, lower);
  const files = printWebGpu(kernels);
  const table = JSON.parse(files.get("webgpu.json")!) as SimtKernels;
  return openWebGpuSession({
    device: await device,
    programs: launches,
    kernels: table.kernels,
    source: (name) => files.get(`${name}.wgsl`)!,
    ...options,
  });
}

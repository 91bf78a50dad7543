/** WebGPU in Node: Dawn, from the npm package `webgpu`. A driver in software helps where there is no GPU. */
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { deviceOf, NoGpuError } from "../webgpu/adapter.ts";

/**
 * Drivers in software unroll the zeros of workgroup memory that they are asked for, one store for each element: kernels with tiles
 * take 0.6 s each to compile. Dawn's own loop takes a fiftieth of that. Timestamps are as exact as the device has them: nobody
 * needs to be kept from telling time.
 */
const FLAGS = ["disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension,timestamp_quantization"];

/** SwiftShader of Debian's chromium: a Vulkan driver that runs on the processor. */
const SOFTWARE = "/usr/lib/chromium/vk_swiftshader_icd.json";

/** Where Linux has GPUs. Nobody is asked where there is none: drivers complain on stderr about what they lack. */
const HARDWARE = ["/dev/dri", "/dev/nvidiactl", "/dev/dxg"];

const HELP =
  "install the driver of the GPU (Debian: mesa-vulkan-drivers), or chromium and libvulkan1 for one that runs on the processor";

export interface FoundGpu {
  readonly adapter: GPUAdapter;
  /** Whether the driver in software was taken because there is no other. */
  readonly software: boolean;
}

/**
 * The adapter of this machine: that of `VK_ICD_FILENAMES` where it is set, otherwise what the system has, otherwise the one in
 * software.
 * @throws NoGpuError that says what to install
 */
export async function findGpu(): Promise<FoundGpu> {
  const own = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (own !== undefined) return { adapter: await adapterOf(own), software: false };
  found ??= await findDawn();
  return { adapter: await adapterOf(found.gpu), software: found.software };
}

async function findDawn(): Promise<NonNullable<typeof found>> {
  const chosen = process.env["VK_ICD_FILENAMES"];
  const hasSoftware = chosen === undefined && existsSync(SOFTWARE);
  if (!hasSoftware || HARDWARE.some((path) => existsSync(path))) {
    const gpu = await dawn();
    if ((await gpu.requestAdapter({ powerPreference: "high-performance" })) !== null) return { gpu, software: false };
    if (chosen !== undefined)
      throw new NoGpuError(`WebGPU finds no adapter with VK_ICD_FILENAMES=${chosen}: unset it, or ${HELP}`);
    if (!hasSoftware) throw new NoGpuError(`WebGPU finds no adapter: ${HELP}`);
  }
  process.env["VK_ICD_FILENAMES"] = SOFTWARE;
  return { gpu: await dawn(), software: true };
}

/**
 * A device of this machine's adapter. That it runs on the processor is told once on stderr.
 * @throws NoGpuError that says what to install
 */
export async function requestDawn(): Promise<GPUDevice> {
  const { adapter, software } = await findGpu();
  if (software && !told) {
    told = true;
    process.stderr.write(`WebGPU finds no GPU: it runs on the processor, with ${adapter.info.description}\n`);
  }
  return deviceOf(adapter);
}

/** Dawn ends with its last reference, and with it everything that was made of it. */
let found: { readonly gpu: GPU; readonly software: boolean } | undefined;
let told = false;

async function adapterOf(gpu: GPU): Promise<GPUAdapter> {
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) throw new NoGpuError(`WebGPU finds no adapter: ${HELP}`);
  return adapter;
}

async function dawn(): Promise<GPU> {
  let package_: { create(flags: string[]): GPU; globals: object };
  try {
    package_ = (await import("webgpu")) as unknown as typeof package_;
  } catch (error) {
    const [why] = (error as Error).message.split("\n");
    throw new NoGpuError(`WebGPU in Node needs the package webgpu (npm install webgpu): ${why}`, { cause: error });
  }
  // Drivers complain on stderr without it.
  process.env["XDG_RUNTIME_DIR"] ??= tmpdir();
  Object.assign(globalThis, package_.globals);
  return package_.create(FLAGS);
}

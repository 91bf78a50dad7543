/** The GPU of this machine through WebGPU: Dawn in Node (npm `webgpu`), the browser's own in a page. */

/**
 * Drivers in software unroll the zeros of workgroup memory that they are asked for, one store for each element: kernels with tiles
 * take 0.6 s each to compile. Dawn's own loop takes a fiftieth of that.
 */
const FLAGS = ["disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension"];

/** There is no WebGPU here; the message says what to install. */
export class NoGpuError extends Error {}

/** A device with the largest limits that the adapter has. @throws NoGpuError */
export async function requestGpu(): Promise<GPUDevice> {
  const gpu = await gpuOf();
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null)
    throw new NoGpuError(
      "WebGPU finds no adapter: install the graphics driver of this machine (Debian: mesa-vulkan-drivers), or chromium and libvulkan1 for one in software, with VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json",
    );
  const { limits } = adapter;
  return adapter.requestDevice({
    requiredFeatures: (["timestamp-query", "subgroups", "shader-f16"] as const).filter((f) => adapter.features.has(f)),
    requiredLimits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
    },
  });
}

/** Dawn ends with its last reference, and with it everything that was made of it. */
let dawnGpu: GPU | undefined;

async function gpuOf(): Promise<GPU> {
  const own = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  const known = own ?? dawnGpu;
  if (known !== undefined) return known;
  let dawn: { create(flags: string[]): GPU; globals: object };
  try {
    dawn = (await import("webgpu")) as unknown as typeof dawn;
  } catch (error) {
    throw new NoGpuError("WebGPU in Node needs the package webgpu: npm install webgpu", { cause: error });
  }
  Object.assign(globalThis, dawn.globals);
  dawnGpu = dawn.create(FLAGS);
  return dawnGpu;
}

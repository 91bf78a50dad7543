/** A GPU through WebGPU: `navigator.gpu` of a page or a worker, Dawn in Node (runtime/device/dawn). */
import { DeviceError } from "../session.ts";

/** There is no WebGPU, or it has no adapter; the message says what helps. */
export class NoGpuError extends DeviceError {}

/** Features that kernels and measurements use where an adapter has them. */
export const FEATURES = ["timestamp-query", "subgroups", "shader-f16"] as const;

/** A device with the largest limits that an adapter has. @throws NoGpuError */
export async function requestGpu(gpu: GPU | undefined): Promise<GPUDevice> {
  return deviceOf(await requestAdapter(gpu));
}

/** @throws NoGpuError */
export async function requestAdapter(gpu: GPU | undefined): Promise<GPUAdapter> {
  if (gpu === undefined) throw new NoGpuError("there is no WebGPU here");
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) throw new NoGpuError("WebGPU finds no adapter");
  return adapter;
}

/** An adapter gives one device: a second one takes another adapter. */
export function deviceOf(adapter: GPUAdapter): Promise<GPUDevice> {
  const { limits } = adapter;
  return adapter.requestDevice({
    requiredFeatures: FEATURES.filter((feature) => adapter.features.has(feature)),
    requiredLimits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
    },
  });
}

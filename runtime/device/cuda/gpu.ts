/** The GPUs of this machine, and which kernels run on one. */
import { addon } from "../../native/addon.ts";
import type { CudaDevice } from "../../native/cuda.ts";
import { NoCudaError, throwing } from "./errors.ts";

export interface Gpu extends CudaDevice {
  /** Among the GPUs that the driver shows. */
  readonly ordinal: number;
  /** `9.0` */
  readonly capability: string;
  /** The driver's, of CUDA: `13.0`. */
  readonly driver: string;
}

/** @throws NoCudaError that says what was looked for; DeviceError when the driver does not start */
export function findGpus(): readonly Gpu[] {
  const { devices, driverVersion } = throwing(() => addon().cudaDevices());
  const driver = `${Math.floor(driverVersion / 1000)}.${Math.floor((driverVersion % 1000) / 10)}`;
  return devices.map((device, ordinal) => ({
    ...device,
    ordinal,
    capability: `${device.major}.${device.minor}`,
    driver,
  }));
}

/** @throws NoCudaError when there is no such GPU */
export function gpuOf(ordinal = 0): Gpu {
  const gpus = findGpus();
  const gpu = gpus[ordinal];
  if (gpu !== undefined) return gpu;
  const there = gpus.length === 0 ? "none" : gpus.map(({ name }, i) => `${i} (${name})`).join(", ");
  throw new NoCudaError(
    `there is no GPU ${ordinal}: the CUDA driver shows ${there} (CUDA_VISIBLE_DEVICES chooses them)`,
  );
}

/** Whether there is a GPU; nothing is told about why there is none. */
export function hasGpu(): boolean {
  try {
    return findGpus().length > 0;
  } catch {
    return false;
  }
}

/**
 * Architectures whose cubins a GPU runs, the best first: its own with the instructions that only it has, then its own and older ones
 * of its generation (CUDA C++ Programming Guide, binary compatibility).
 */
export function architecturesOf({ major, minor }: Pick<CudaDevice, "major" | "minor">): string[] {
  const own = `sm_${major}${minor}`;
  const older = Array.from({ length: minor }, (_, i) => `sm_${major}${minor - 1 - i}`);
  return [...(major >= 9 ? [`${own}a`] : []), own, ...older];
}

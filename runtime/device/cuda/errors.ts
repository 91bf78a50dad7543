/** What a driver tells, as errors that the users of any device know. */
import type { NativeCudaError } from "../../native/cuda.ts";
import { DeviceError, DeviceLostError, MemoryError } from "../session.ts";

/** There is no driver, no GPU, or no kernels for it. The message says what was looked for and what helps. */
export class NoCudaError extends DeviceError {}

const DRIVER =
  "install the NVIDIA driver (Debian: nvidia-driver; in a container, run it with --gpus all), or use --device cpu";

/** @param error what the addon threw */
export function cudaError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  switch ((error as Partial<NativeCudaError>).code) {
    case "none":
      return new NoCudaError(`there is no CUDA driver (${error.message}): ${DRIVER}`, { cause: error });
    case "memory":
      return new MemoryError(error.message, { cause: error });
    case "lost":
      return new DeviceLostError(`the GPU was lost: ${error.message}`, { cause: error });
    case "device":
      return /^cuInit: CUDA_ERROR_NO_DEVICE\b/.test(error.message)
        ? new NoCudaError(`the CUDA driver finds no GPU (${error.message}): ${DRIVER}`, { cause: error })
        : new DeviceError(error.message, { cause: error });
    default:
      return error;
  }
}

/** @throws what `cudaError` makes of it */
export function throwing<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw cudaError(error);
  }
}

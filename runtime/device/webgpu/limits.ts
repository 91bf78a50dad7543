/** What an adapter is too small for. */
import { DeviceError } from "../session.ts";

/** A buffer is larger than the device can bind; the message says which limit, what is needed and what would fit. */
export class LimitError extends DeviceError {}

/** The most bytes that a kernel can reach through one binding, and the limit that says so. */
export function largestBinding({ limits }: GPUDevice): { readonly bytes: number; readonly limit: string } {
  const { maxBufferSize, maxStorageBufferBindingSize } = limits;
  return maxBufferSize < maxStorageBufferBindingSize
    ? { bytes: maxBufferSize, limit: "maxBufferSize" }
    : { bytes: maxStorageBufferBindingSize, limit: "maxStorageBufferBindingSize" };
}

/** @param fits what would: "256 rows fit" */
export function tooLarge(what: string, bytes: number, most: number, limit: string, fits: string): LimitError {
  return new LimitError(`${what} ${count(bytes)} bytes, this adapter has at most ${count(most)} (${limit}): ${fits}`);
}

export function count(n: number): string {
  return n.toLocaleString("en-US");
}

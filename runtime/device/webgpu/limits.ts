/** What an adapter is too small for. */
import type { SimtKernel } from "../../program/grids.ts";
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

/** @throws LimitError for a device whose workgroups are too small for a kernel */
export function checkWorkgroups({ limits }: Pick<GPUDevice, "limits">, kernels: readonly SimtKernel[]): void {
  const { maxComputeInvocationsPerWorkgroup: threads, maxComputeWorkgroupStorageSize: memory } = limits;
  const grids = kernels.flatMap(({ name, entries, parts = [] }) =>
    [...entries, ...parts.flat()]
      .flatMap((entry) => [entry, ...(entry.before === undefined ? [] : [entry.before])])
      .map(({ workgroupSize }) => ({ name, needs: workgroupSize })),
  );
  const most = (of: readonly { readonly name: string; readonly needs: number }[]) =>
    of.reduce((a, b) => (b.needs > a.needs ? b : a), { name: "", needs: 0 });
  const crowd = most(grids);
  if (crowd.needs > threads)
    throw new LimitError(
      `the kernel ${crowd.name} needs ${crowd.needs} invocations in a workgroup, this adapter has at most ${threads} (maxComputeInvocationsPerWorkgroup): it takes another adapter`,
    );
  const large = most(kernels.map(({ name, workgroupBytes: needs = 0 }) => ({ name, needs })));
  if (large.needs > memory)
    throw new LimitError(
      `the kernel ${large.name} needs ${count(large.needs)} bytes of workgroup memory, this adapter has at most ${count(memory)} (maxComputeWorkgroupStorageSize): it takes another adapter`,
    );
}

/** @param fits what would: "256 rows fit" */
export function tooLarge(what: string, bytes: number, most: number, limit: string, fits: string): LimitError {
  return new LimitError(`${what} ${count(bytes)} bytes, this adapter has at most ${count(most)} (${limit}): ${fits}`);
}

export function count(n: number): string {
  return n.toLocaleString("en-US");
}

import { beforeAll, describe, expect, test } from "vitest";
import { prepareHarness, runKernel } from "../../../../support/cuda/run-kernel.ts";

const REVERSE = (barrier: string, last: string): string => `#include "dsk.cuh"
extern "C" __global__ void __launch_bounds__(64) k(float* y) {
  __shared__ float held[64];
  held[threadIdx.x] = threadIdx.x;
  ${barrier}
  y[threadIdx.x] = held[${last} - threadIdx.x];
}
`;

describe("g++'s address sanitizer", () => {
  beforeAll(() => prepareHarness("address"), 600_000);
  const run = (source: string, y = new Float32Array(64)): Promise<void> =>
    runKernel({ source, kernel: "k", block: 64, args: [y], sanitizer: "address" });

  test("a read outside of a shared array", async () => {
    const y = new Float32Array(64);
    await run(REVERSE("__syncthreads();", "63"), y);
    expect([...y]).toEqual(Array.from({ length: 64 }, (_, i) => 63 - i));
    await expect(run(REVERSE("__syncthreads();", "64"))).rejects.toThrow(/global-buffer-overflow[\s\S]*kernel.cu:6/);
  }, 120_000);

  test("a read behind an allocation", async () => {
    await expect(run('extern "C" __global__ void k(float* y) { y[0] = y[threadIdx.x + 1]; }')).rejects.toThrow(
      /use-after-poison[\s\S]*kernel.cu:1/,
    );
  }, 120_000);
});

describe("g++'s thread sanitizer", () => {
  beforeAll(() => prepareHarness("thread"), 600_000);
  const run = (source: string): Promise<void> =>
    runKernel({ source, kernel: "k", block: 64, args: [new Float32Array(64)], sanitizer: "thread" });

  test("accesses that no barrier orders", async () => {
    await run(REVERSE("__syncthreads();", "63"));
    await expect(run(REVERSE("", "63"))).rejects.toThrow(/data race[\s\S]*kernel.cu/);
  }, 120_000);
});

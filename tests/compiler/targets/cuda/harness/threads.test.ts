import { beforeAll, describe, expect, test } from "vitest";
import { KernelError, type KernelRun, prepareHarness, runKernel } from "../../../../support/cuda/run-kernel.ts";

beforeAll(() => prepareHarness(), 600_000);

/** A kernel file with one kernel `k` of so many threads. */
function kernel(params: string, body: string, threads = 128): string {
  return `#include "dsk.cuh"\nextern "C" __global__ void __launch_bounds__(${threads}) k(${params}) {\n${body}\n}\n`;
}

async function failure(run: KernelRun): Promise<string> {
  try {
    await runKernel(run);
  } catch (error) {
    if (error instanceof KernelError) return error.message;
    throw error;
  }
  throw new Error("the kernel ran to its end");
}

/** How many of some seeds make the kernel's result differ from what it is to be. */
async function wrongSeeds(run: KernelRun, result: Float32Array, right: (i: number) => number): Promise<number> {
  let wrong = 0;
  for (let seed = 1; seed <= 8; seed++) {
    result.fill(0);
    await runKernel({ ...run, seed });
    if (result.some((value, i) => !Object.is(value, right(i)))) wrong++;
  }
  return wrong;
}

describe("threads", () => {
  test("a block's sum through shuffles and shared memory", async () => {
    const n = 1000;
    const x = Float32Array.from({ length: 3 * n }, (_, i) => (i * 7) % 11);
    const y = new Float32Array(3);
    const source = kernel(
      "int n, const float* __restrict__ x, float* y",
      `float sum = 0;
       for (int i = threadIdx.x; i < n; i += 128) sum += x[blockIdx.x * n + i];
       sum = over_block<Sum, 128>(sum);
       if (threadIdx.x == 0) y[blockIdx.x] = sum;`,
    );
    await runKernel({ source, kernel: "k", grid: 3, block: 128, args: [n, x, y] });
    const sums = [0, 1, 2].map((i) => x.subarray(i * n, (i + 1) * n).reduce((a, b) => a + b, 0));
    expect([...y]).toEqual(sums);
  });

  test("shuffles, votes, and matches of parts of a warp", async () => {
    const y = new Int32Array(32 * 6);
    const source = kernel(
      "int* y",
      `const int lane = threadIdx.x;
       y[lane] = __shfl_up_sync(0xffffffff, lane * 10, 1, 8);
       y[32 + lane] = __shfl_down_sync(0xffffffff, lane * 10, 3);
       if (lane < 12) y[64 + lane] = __shfl_xor_sync(0x00000fff, lane * 10, 1);
       else y[64 + lane] = __shfl_sync(0xfffff000, lane * 10, 12);
       y[96 + lane] = __ballot_sync(0xffffffff, lane % 3 == 0);
       y[128 + lane] = __reduce_add_sync(0xffffffff, lane);
       y[160 + lane] = __match_any_sync(0xffffffff, lane % 4);`,
      32,
    );
    await runKernel({ source, kernel: "k", block: 32, args: [y] });
    const lanes = Array.from({ length: 32 }, (_, i) => i);
    const mask = (pick: (i: number) => boolean): number => lanes.reduce((m, i) => (pick(i) ? m | (1 << i) : m), 0);
    expect([...y]).toEqual([
      ...lanes.map((i) => (i % 8 === 0 ? i : i - 1) * 10),
      ...lanes.map((i) => (i + 3 < 32 ? i + 3 : i) * 10),
      ...lanes.map((i) => (i < 12 ? i ^ 1 : 12) * 10),
      ...lanes.map(() => mask((i) => i % 3 === 0)),
      ...lanes.map(() => 496),
      ...lanes.map((lane) => mask((i) => i % 4 === lane % 4)),
    ]);
  });

  test("atomic sums of all blocks", async () => {
    const y = new Int32Array(2);
    const x = new Float32Array(1);
    const source = kernel(
      "int* y, float* x",
      "atomicAdd(y, 1); atomicMax(y + 1, (int)blockIdx.x); atomicAdd(x, 0.5f);",
    );
    await runKernel({ source, kernel: "k", grid: 20, block: 128, args: [y, x] });
    expect([...y, ...x]).toEqual([2560, 19, 1280]);
  });
});

describe("what is wrong with barriers", () => {
  const REVERSE = (barrier: string): string =>
    kernel(
      "float* y",
      `__shared__ float held[128];
       held[threadIdx.x] = threadIdx.x;
       ${barrier}
       y[threadIdx.x] = held[127 - threadIdx.x];`,
    );

  test("a missing one gives NaN from shared memory that nobody wrote, with any seed", async () => {
    const y = new Float32Array(128);
    const right = (i: number): number => 127 - i;
    expect(
      await wrongSeeds({ source: REVERSE("__syncthreads();"), kernel: "k", block: 128, args: [y] }, y, right),
    ).toBe(0);
    expect(await wrongSeeds({ source: REVERSE(""), kernel: "k", block: 128, args: [y] }, y, right)).toBe(8);
    expect(y.some(Number.isNaN)).toBe(true);
  });

  test("a missing one of a warp", async () => {
    const source = (barrier: string): string =>
      kernel(
        "float* y",
        `__shared__ float held[32];
         held[threadIdx.x] = 1;
         __syncwarp();
         held[threadIdx.x] = threadIdx.x;
         ${barrier}
         y[threadIdx.x] = held[threadIdx.x ^ 1];`,
        32,
      );
    const y = new Float32Array(32);
    const right = (i: number): number => i ^ 1;
    expect(await wrongSeeds({ source: source("__syncwarp();"), kernel: "k", block: 32, args: [y] }, y, right)).toBe(0);
    expect(await wrongSeeds({ source: source(""), kernel: "k", block: 32, args: [y] }, y, right)).toBeGreaterThan(0);
  });

  test("one that not all threads come to is a deadlock, with who waits for what", async () => {
    const source = kernel("int n", "if (threadIdx.x >= n) __syncthreads();");
    expect(await failure({ source, kernel: "k", block: 128, args: [40] })).toContain(
      "deadlock; threads 40-127 of block (0, 0, 0) wait for __syncthreads, where 88 of 128 have arrived; 40 threads have left the kernel",
    );
  });

  test("lanes in different operations of their warp", async () => {
    const source = kernel("int* y", "if (threadIdx.x < 7) __syncwarp(); else y[0] = __ballot_sync(0xffffffff, 1);", 32);
    expect(await failure({ source, kernel: "k", block: 32, args: [new Int32Array(1)] })).toMatch(
      /kernel k, block \(0, 0, 0\), thread \(\d+, 0, 0\): (__syncwarp|__ballot_sync) by a lane of a warp, others of which are in/,
    );
  });

  test("a lane that is not in its own mask", async () => {
    const source = kernel("int* y", "y[threadIdx.x] = __shfl_sync(0x0000ffff, 1, 0);", 32);
    expect(await failure({ source, kernel: "k", block: 32, args: [new Int32Array(32)] })).toContain("is not among");
  });
});

describe("what is wrong with memory", () => {
  test("a write behind an allocation names the kernel", async () => {
    const source = kernel("int n, float* y", "if (threadIdx.x <= n) y[threadIdx.x] = 1;");
    await runKernel({ source, kernel: "k", block: 128, args: [99, new Float32Array(100)] });
    expect(await failure({ source, kernel: "k", block: 128, args: [100, new Float32Array(100)] })).toContain(
      "kernel k wrote 0 bytes behind the end of an allocation of 400 bytes",
    );
  });

  test("an address that is not there names block and thread", async () => {
    const source = kernel("float* y", "if (blockIdx.x == 2 && threadIdx.x == 70) y[1ll << 40] = 1;");
    expect(await failure({ source, kernel: "k", grid: 3, block: 128, args: [new Float32Array(1)] })).toContain(
      "kernel k, block (2, 0, 0), thread (70, 0, 0): memory that is not there",
    );
  });

  test("dynamic shared memory is as large as the launch says", async () => {
    const source = kernel(
      "int n, float* y",
      `extern __shared__ __align__(1024) unsigned char smem[];
       float* held = (float*)smem;
       held[threadIdx.x] = threadIdx.x;
       __syncthreads();
       y[threadIdx.x] = held[(threadIdx.x + 1) % n];`,
    );
    const y = new Float32Array(128);
    await runKernel({ source, kernel: "k", block: 128, sharedBytes: 512, args: [128, y] });
    expect([...y]).toEqual(Array.from({ length: 128 }, (_, i) => (i + 1) % 128));
  });
});

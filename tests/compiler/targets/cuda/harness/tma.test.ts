import { beforeAll, describe, expect, test } from "vitest";
import { KernelError, type MapSpec, prepareHarness, runKernel } from "../../../../support/cuda/run-kernel.ts";

beforeAll(() => prepareHarness(), 600_000);

/** A kernel of one warp, whose first thread copies through `box` bytes of shared memory and waits by `full`. */
function kernel(params: string, body: string, attributes = ""): string {
  return `#include "dsk_sm90.cuh"
struct Memory {
  float box[512];
  Barrier full;
};
extern "C" __global__ void __launch_bounds__(32) ${attributes} k(${params}) {
  extern __shared__ __align__(1024) unsigned char smem[];
  Memory& s = *reinterpret_cast<Memory*>(smem);
  if (threadIdx.x == 0) {
    mbarrier_init(&s.full, 1);
    mbarrier_init_fence();
  }
  __syncwarp();
  ${body}
}
`;
}
const MAP = "const __grid_constant__ CUtensorMap map";
const SHARED = 512 * 4 + 8;

/** A tensor of 10 rows of 12 numbers: 1, 2, 3, ... */
const tensor = (): Float32Array => Float32Array.from({ length: 120 }, (_, i) => i + 1);
const mapOf = (of: Float32Array, box: readonly number[], swizzle: MapSpec["swizzle"] = 0): MapSpec => ({
  of,
  type: "f32",
  dims: [12, 10],
  strides: [48],
  box,
  swizzle,
});
const at = (row: number, column: number): number =>
  row >= 0 && row < 10 && column >= 0 && column < 12 ? row * 12 + column + 1 : 0;

describe("TMA", () => {
  const LOAD = kernel(
    `float* y, ${MAP}, int x0, int y0, int count`,
    `if (threadIdx.x == 0) {
       mbarrier_expect(&s.full, count * 4);
       tma_load_2d(s.box, &map, &s.full, x0, y0);
     }
     mbarrier_wait(&s.full, 0);
     for (int i = threadIdx.x; i < count; i += 32) y[i] = s.box[i];`,
  );
  // The order of the parameters: the buffer, the map, and numbers.
  const load = async (
    box: readonly [number, number],
    x: number,
    y: number,
    swizzle: MapSpec["swizzle"] = 0,
  ): Promise<number[]> => {
    const result = new Float32Array(box[0] * box[1]);
    const args = [result, mapOf(tensor(), box, swizzle), x, y, result.length];
    await runKernel({ source: LOAD, kernel: "k", block: 32, sharedBytes: SHARED, args });
    return [...result];
  };

  test("what lies outside of the tensor is 0, on every side", async () => {
    const corners = [
      [0, 0],
      [-3, -2],
      [9, 8],
      [-20, 0],
      [4, 100],
    ] as const;
    for (const [x, y] of corners) {
      expect(await load([8, 4], x, y)).toEqual(
        Array.from({ length: 32 }, (_, i) => at(y + Math.floor(i / 8), x + (i % 8))),
      );
    }
  });

  test("chunks of 16 bytes change places by the rows of 128 bytes", async () => {
    for (const swizzle of [32, 64, 128] as const) {
      const width = swizzle / 4;
      // Row r of so many bytes begins at r * swizzle; bits 7 and up of the address move the chunks.
      const expected: number[] = Array.from({ length: width * 10 });
      for (let row = 0; row < 10; row++) {
        for (let column = 0; column < width; column++) {
          const address = (row * width + column) * 4;
          const moved = address ^ (((address >> 7) & (swizzle / 16 - 1)) << 4);
          expected[moved / 4] = at(row, column);
        }
      }
      expect(await load([width, 10], 0, 0, swizzle)).toEqual(expected);
    }
  });

  const STORE = (call: string, fence = "fence_async();", wait = "tma_wait_read<0>();"): string =>
    kernel(
      MAP,
      `for (int i = threadIdx.x; i < 32; i += 32) s.box[i] = 1000 + i;
       ${fence}
       __syncwarp();
       if (threadIdx.x == 0) {
         ${call}
         tma_commit();
         ${wait}
         s.box[5] = -1;
       }`,
    );
  const store = async (source: string): Promise<Float32Array> => {
    const y = tensor();
    await runKernel({ source, kernel: "k", block: 32, sharedBytes: SHARED, args: [mapOf(y, [8, 4])] });
    return y;
  };
  const stored = (i: number): number => {
    const [row, column] = [Math.floor(i / 12) - 7, (i % 12) - 6];
    return row >= 0 && row < 4 && column >= 0 && column < 8 ? 1000 + row * 8 + column : 0;
  };

  test("stores write what is inside, and add where they are told to", async () => {
    const [copied, added] = [
      await store(STORE("tma_store_2d(&map, s.box, 6, 7);")),
      await store(STORE("tma_add_2d(&map, s.box, 6, 7);")),
    ];
    expect([...copied]).toEqual([...tensor()].map((old, i) => stored(i) || old));
    expect([...added]).toEqual([...tensor()].map((old, i) => old + stored(i)));
  });

  test("a store without the proxy fence, or whose memory is given up too early", async () => {
    await expect(store(STORE("tma_store_2d(&map, s.box, 6, 7);", ""))).rejects.toThrow("fence.proxy.async");
    await expect(store(STORE("tma_store_2d(&map, s.box, 6, 7);", "fence_async();", ""))).rejects.toThrow(
      "did not wait until its bulk stores have read shared memory",
    );
  });

  test("a box is copied to both blocks of a cluster, whose barriers get their own bytes", async () => {
    const source = kernel(
      `float* y, ${MAP}`,
      `cluster_sync();
       if (threadIdx.x == 0) {
         mbarrier_expect(&s.full, 32 * 4);
         if (cluster_rank() == 1) tma_load_2d_multicast(s.box, &map, &s.full, 3, 4, 2);
       }
       mbarrier_wait(&s.full, 0);
       y[blockIdx.x * 32 + threadIdx.x] = s.box[threadIdx.x];
       cluster_sync();`,
      "__cluster_dims__(2, 1, 1)",
    );
    const y = new Float32Array(128);
    await runKernel({
      source,
      kernel: "k",
      grid: 4,
      block: 32,
      sharedBytes: SHARED,
      args: [y, mapOf(tensor(), [8, 4])],
    });
    expect([...y]).toEqual(Array.from({ length: 128 }, (_, i) => at(2 + (Math.floor(i / 8) % 4), 4 + (i % 8))));
  });

  test("tensors of three dimensions", async () => {
    const source = kernel(
      `float* y, ${MAP}`,
      `if (threadIdx.x == 0) {
         mbarrier_expect(&s.full, 32 * 4);
         tma_load_3d(s.box, &map, &s.full, 0, 1, 1);
       }
       mbarrier_wait(&s.full, 0);
       y[threadIdx.x] = s.box[threadIdx.x];`,
    );
    const y = new Float32Array(32);
    // 3 planes of 4 rows of 8 numbers; boxes of 2 planes, 4 rows, 4 numbers.
    const x = Float32Array.from({ length: 96 }, (_, i) => i + 1);
    const map: MapSpec = { of: x, type: "f32", dims: [8, 4, 3], strides: [32, 128], box: [4, 4, 2], swizzle: 0 };
    await runKernel({ source, kernel: "k", block: 32, sharedBytes: SHARED, args: [y, map] });
    const right = Array.from({ length: 32 }, (_, i) => {
      const [plane, row, column] = [1 + Math.floor(i / 16), 1 + (Math.floor(i / 4) % 4), i % 4];
      return row < 4 ? plane * 32 + row * 8 + column + 1 : 0;
    });
    expect([...y]).toEqual(right);
  });

  test("boxes that the driver refuses", async () => {
    const y = new Float32Array(16);
    const run = (map: MapSpec): Promise<void> =>
      runKernel({ source: LOAD, kernel: "k", block: 32, sharedBytes: SHARED, args: [y, map, 0, 0, 1] });
    await expect(run(mapOf(tensor(), [3, 4]))).rejects.toThrow("invalid argument");
    await expect(run(mapOf(tensor(), [12, 4], 32))).rejects.toThrow(KernelError);
    await expect(run({ ...mapOf(tensor(), [8, 4]), strides: [40] })).rejects.toThrow("invalid argument");
  });
});

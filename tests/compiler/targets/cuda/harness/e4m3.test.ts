/** wgmma of eight-bit floats in the harness: tiles of 128 terms, each 128 bytes, whose neighbors are terms. */
import { beforeAll, describe, expect, test } from "vitest";
import { KernelError, type MapSpec, prepareHarness, runKernel } from "../../../../support/cuda/run-kernel.ts";
import { e4m3Number } from "../../../../support/e4m3.ts";
import { e4m3, productOf, smallNumbers } from "./numbers.ts";

beforeAll(() => prepareHarness(), 600_000);

const [M, N, K] = [128, 96, 256] as const;

/** y[M, N] = x[M, K] w[N, K] of codes, for each block 64 rows; A from shared memory, or where REGISTERS is 1 from registers. */
const GEMM = `#include "dsk_sm90.cuh"

constexpr int K = ${K}, N = ${N}, TILE = 128, REGISTERS = 0;
struct alignas(1024) Memory {
  unsigned char x[64 * TILE], w[N * TILE];
  Barrier full;
};

extern "C" __global__ void __launch_bounds__(128) gemm(const __grid_constant__ CUtensorMap x_map,
                                                       const __grid_constant__ CUtensorMap w_map, float* y) {
  Memory& s = *reinterpret_cast<Memory*>(shared_memory());
  const int rows = blockIdx.x * 64, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    mbarrier_init(&s.full, 1);
    mbarrier_init_fence();
  }
  __syncthreads();
  float d[N / 2];
  for (int k = 0; k < K; k += TILE) {
    if (threadIdx.x == 0) {
      mbarrier_expect(&s.full, (64 + N) * TILE);
      tma_load_2d(s.x, &x_map, &s.full, k, rows);
      tma_load_2d(s.w, &w_map, &s.full, k, 0);
    }
    mbarrier_wait(&s.full, k / TILE % 2);
    unsigned a[4][4];
    for (int i = 0; i < 4; i++) {
      for (int r = 0; r < 4; r++) {
        const int row = warp * 16 + lane / 4 + r % 2 * 8, byte = i * 32 + r / 2 * 16 + lane % 4 * 4;
        a[i][r] = *(const unsigned*)&s.x[row * TILE + (byte / 16 ^ row % 8) * 16 + byte % 16];
      }
    }
    wgmma_fence();
    for (int i = 0; i < 4; i++) {
      const Descriptor b = wgmma_behind(wgmma_descriptor(s.w, 0, 1024), i * 32);
      if (REGISTERS) dsk::sim::wgmma_e4m3<N>(d, a[i], b, k + i > 0);
      else dsk::sim::wgmma_e4m3<N>(d, wgmma_behind(wgmma_descriptor(s.x, 0, 1024), i * 32), b, k + i > 0);
    }
    wgmma_commit();
    wgmma_wait<0>();
    __syncthreads();
  }
  for (int i = 0; i < N / 2; i++)
    y[(rows + warp * 16 + lane / 4 + i / 2 % 2 * 8) * N + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
}
`;

/** Boxes of 128 terms. */
function rowsOf(of: Uint8Array, rows: number, box: number): MapSpec {
  return { of, type: "u8", dims: [K, rows], strides: [K], box: [128, box], swizzle: 128 };
}

async function multiply(source: string, x: Uint8Array, w: Uint8Array, seed = 1): Promise<Float32Array> {
  const y = new Float32Array(M * N);
  const args = [rowsOf(x, M, 64), rowsOf(w, N, N), y];
  await runKernel({ source, kernel: "gemm", grid: M / 64, block: 128, sharedBytes: (64 + N) * 128 + 8, args, seed });
  return y;
}

const [x, w] = [smallNumbers(M * K, 1), smallNumbers(N * K, 2)];

describe("wgmma of e4m3", () => {
  test.each([0, 1])("a product, A from registers: %i", async (registers) => {
    const source = GEMM.replace("REGISTERS = 0", `REGISTERS = ${registers}`);
    for (let seed = 1; seed <= 3; seed++) {
      const y = await multiply(source, e4m3(x), e4m3(w), seed);
      expect([...y]).toEqual([...productOf(x, w, M, N, K)]);
    }
  });

  test("every code has its number", async () => {
    // Row i of A is 1 at term i: results are B's numbers.
    const one = e4m3(Float32Array.of(1))[0]!;
    const a = Uint8Array.from({ length: M * K }, (_, i) => (Math.floor(i / K) === i % K ? one : 0));
    const finite = Array.from({ length: 256 }, (_, code) => code).filter((code) => !Number.isNaN(e4m3Number(code)));
    const b = Uint8Array.from(
      { length: N * K },
      (_, i) => finite[(Math.floor(i / K) * 128 + (i % K)) % finite.length]!,
    );
    const y = await multiply(GEMM, a, b);
    const want = Array.from({ length: M * N }, (_, i) => e4m3Number(b[(i % N) * K + Math.floor(i / N)]!) + 0);
    expect([...y]).toEqual(want);
    expect(new Set(want).size).toBe(finite.length - 1); // 0 is there twice
  });

  test("sums that nobody fenced, and rows that are neighbors, are errors", async () => {
    const said = async (from: string, to: string): Promise<string> => {
      expect(GEMM).toContain(from);
      const error: unknown = await multiply(GEMM.replace(from, to), e4m3(x), e4m3(w)).catch((e: unknown) => e);
      return error instanceof KernelError ? error.message : "";
    };
    expect(await said("wgmma_fence();", "")).toMatch(/used since the last wgmma.fence/);
    const turned =
      "dsk::sim::wgmma({N, dsk::sim::Number::kE4m3, d, nullptr, wgmma_descriptor(s.x, 0, 1024), b, false, true, true});";
    expect(await said("if (REGISTERS)", `${turned} if (REGISTERS)`)).toMatch(/e4m3 is K-major only/);
  });
});

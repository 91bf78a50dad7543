import { beforeAll, describe, expect, test } from "vitest";
import { KernelError, type MapSpec, prepareHarness, runKernel } from "../../../../support/cuda/run-kernel.ts";
import { bf16, productOf, smallNumbers } from "./numbers.ts";

beforeAll(() => prepareHarness(), 600_000);

const [M, N, K] = [256, 128, 320] as const;

/** y[M, N] = x[M, K] w[N, K]: a producer that copies tiles by TMA into a ring, and two warpgroups that multiply them. */
const GEMM = `#include "dsk_sm90.cuh"

constexpr int K = ${K}, N = ${N}, STAGES = 3, TILE = 64;
struct Memory {
  bf16 x[STAGES][128 * TILE], w[STAGES][128 * TILE];
  Barrier full[STAGES], empty[STAGES];
};

DSK_INLINE void wgmma_m64n128k16(float (&d)[64], Descriptor a, Descriptor b, int adds) {
#ifdef DSK_HARNESS
  dsk::sim::wgmma_bf16<128, 0, 0>(d, a, b, adds);
#endif
}

extern "C" __global__ void __launch_bounds__(384, 1) gemm(const __grid_constant__ CUtensorMap x_map,
                                                          const __grid_constant__ CUtensorMap w_map, float* y) {
  extern __shared__ __align__(1024) unsigned char smem[];
  Memory& s = *reinterpret_cast<Memory*>(smem);
  const int group = threadIdx.x / 128, rows = blockIdx.x * 128;
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(&s.full[i], 1);
      mbarrier_init(&s.empty[i], 2);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  if (group == 0) {
    registers_decrease<40>();
    if (threadIdx.x < 32 && elect_one()) {
      for (int k = 0; k < K / TILE; k++) {
        const int stage = k % STAGES, phase = k / STAGES % 2;
        mbarrier_wait(&s.empty[stage], phase ^ 1);  // free
        mbarrier_expect(&s.full[stage], 2 * 128 * TILE * 2);
        tma_load_2d(s.x[stage], &x_map, &s.full[stage], k * TILE, rows);
        tma_load_2d(s.w[stage], &w_map, &s.full[stage], k * TILE, 0);
      }
    }
  } else {
    registers_increase<232>();
    float d[64];
    for (int k = 0; k < K / TILE; k++) {
      const int stage = k % STAGES, phase = k / STAGES % 2;
      mbarrier_wait(&s.full[stage], phase);  // there
      wgmma_fence();
      for (int term = 0; term < TILE; term += 16) {
        wgmma_m64n128k16(d, wgmma_descriptor(&s.x[stage][(group - 1) * 64 * TILE + term], 0, 1024),
                         wgmma_descriptor(&s.w[stage][term], 0, 1024), k + term > 0);
      }
      wgmma_commit();
      wgmma_wait<0>();
      if (threadIdx.x % 128 == 0) mbarrier_arrive(&s.empty[stage]);  // done
    }
    const int lane = threadIdx.x % 32, row = rows + (group - 1) * 64 + threadIdx.x % 128 / 32 * 16 + lane / 4;
    for (int i = 0; i < 16; i++) {
      const int column = i * 8 + lane % 4 * 2;
      y[row * N + column] = d[i * 4];
      y[row * N + column + 1] = d[i * 4 + 1];
      y[(row + 8) * N + column] = d[i * 4 + 2];
      y[(row + 8) * N + column + 1] = d[i * 4 + 3];
    }
  }
}
`;

const [x, w] = [smallNumbers(M * K, 1), smallNumbers(N * K, 2)];
const right = productOf(x, w, M, N, K);
const SHARED = 3 * 2 * 128 * 64 * 2 + 6 * 8;

/** Boxes of 128 rows and 64 terms. */
function rowsOf(of: Uint16Array, rows: number): MapSpec {
  return { of, type: "bf16", dims: [K, rows], strides: [K * 2], box: [64, 128], swizzle: 128 };
}

/** The product by a kernel, or what the harness says of it. */
async function multiply(source: string, seed: number): Promise<Float32Array | string> {
  const y = new Float32Array(M * N);
  const args = [rowsOf(bf16(x), M), rowsOf(bf16(w), N), y];
  try {
    await runKernel({ source, kernel: "gemm", grid: M / 128, block: 384, sharedBytes: SHARED, args, seed });
  } catch (error) {
    if (error instanceof KernelError) return error.message;
    throw error;
  }
  return y;
}

/** What becomes of a kernel that is wrong, over some seeds: sentences, or "wrong" or "right" results. */
async function outcomes(from: string, to: string, seeds = 6): Promise<string[]> {
  expect(GEMM).toContain(from);
  const source = GEMM.replace(from, to);
  const all: string[] = [];
  for (let seed = 1; seed <= seeds; seed++) {
    const result = await multiply(source, seed);
    all.push(typeof result === "string" ? result : result.every((v, i) => v === right[i]) ? "right" : "wrong");
  }
  return all;
}
const caught = (all: readonly string[]): number => all.filter((outcome) => outcome !== "right").length;

describe("TMA, mbarriers, wgmma", () => {
  test("a product, whatever the seed", async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const y = await multiply(GEMM, seed);
      expect(typeof y === "string" ? y : y.findIndex((v, i) => v !== right[i])).toBe(-1);
    }
  });

  test("sums that are read before they are waited for are NaN", async () => {
    const all = await outcomes("wgmma_wait<0>();", "wgmma_wait<1>();");
    // A barrier that is released too early may also go on without the slower warps.
    const expected = /^wrong$|did not wait for its wgmma products|deadlock/;
    expect(all.filter((outcome) => !expected.test(outcome))).toEqual([]);
  });

  test("a stage that is multiplied before its copies are there", async () => {
    expect(caught(await outcomes("mbarrier_wait(&s.full[stage], phase);  // there", ""))).toBeGreaterThan(3);
  });

  test("a stage that is written over while it is in use", async () => {
    expect(caught(await outcomes("mbarrier_wait(&s.empty[stage], phase ^ 1);  // free", ""))).toBeGreaterThan(3);
  });

  test("a wait for the wrong phase", async () => {
    expect(
      caught(await outcomes("mbarrier_wait(&s.full[stage], phase);", "mbarrier_wait(&s.full[stage], phase ^ 1);")),
    ).toBe(6);
  });

  test("an arrival that never comes is a deadlock that names the barrier", async () => {
    const [first] = await outcomes("if (threadIdx.x % 128 == 0) mbarrier_arrive(&s.empty[stage]);  // done", "", 1);
    expect(first).toMatch(
      /deadlock; threads \d+ of block \(\d, 0, 0\) wait for mbarrier at 0x18418, parity 0: its phase 0 lacks 2 of 2 arrivals and 0 bytes/,
    );
  });

  test("bytes that are not announced", async () => {
    const all = await outcomes(
      "mbarrier_expect(&s.full[stage], 2 * 128 * TILE * 2);",
      "mbarrier_arrive(&s.full[stage]);",
    );
    expect(caught(all)).toBeGreaterThan(3);
  });

  test("a barrier that was not initialized", async () => {
    const [first] = await outcomes("mbarrier_init(&s.empty[i], 2);", "", 1);
    expect(first).toContain("was not initialized, or was written over");
  });

  test("a product without the fence", async () => {
    const [first] = await outcomes("wgmma_fence();", "", 1);
    expect(first).toContain("its sums are registers that were used since the last wgmma.fence");
  });

  test("more registers than the block has is a deadlock", async () => {
    const [first] = await outcomes("registers_increase<232>();", "registers_increase<240>();", 1);
    expect(first).toContain("wait for registers, to have 240 (setmaxnreg)");
  });
});

import { beforeAll, describe, expect, test } from "vitest";
import { prepareHarness, runKernel } from "../../../../support/cuda/run-kernel.ts";
import { bf16, productOf, smallNumbers } from "./numbers.ts";

beforeAll(() => prepareHarness(), 600_000);

const [M, N, K] = [64, 64, 96] as const;

/** y[M, N] = x[M, K] w[N, K] by four warps of 16 rows each: two buffers, filled by cp.async while the other one is multiplied. */
const GEMM = `#include "dsk_mma.cuh"

constexpr int K = ${K}, N = ${N}, TILE = 32, PITCH = 40;

extern "C" __global__ void __launch_bounds__(128) gemm(const bf16* __restrict__ x, const bf16* __restrict__ w, float* y) {
  __shared__ __align__(16) bf16 xs[2][64][PITCH], ws[2][64][PITCH];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float d[8][4] = {};
  auto load = [&](int stage, int k) {
    for (int i = threadIdx.x; i < 64 * TILE / 8; i += 128) {
      const int row = i / (TILE / 8), column = i % (TILE / 8) * 8;
      cp_async_16(&xs[stage][row][column], &x[row * K + k + column], 16);
      cp_async_16(&ws[stage][row][column], &w[row * K + k + column], 16);
    }
    cp_async_commit();
  };
  load(0, 0);
  for (int k = 0; k < K; k += TILE) {
    const int stage = k / TILE % 2;
    if (k + TILE < K) load(stage ^ 1, k + TILE);
    else cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();  // there
    for (int term = 0; term < TILE; term += 16) {
      unsigned a[4];
      ldmatrix_x4(a, &xs[stage][warp * 16 + lane % 16][term + lane / 16 * 8]);
      for (int j = 0; j < 8; j += 2) {
        unsigned b[4];
        ldmatrix_x4(b, &ws[stage][j * 8 + lane / 16 * 8 + lane % 8][term + lane / 8 % 2 * 8]);
        mma_m16n8k16_bf16(d[j], a, b[0], b[1]);
        mma_m16n8k16_bf16(d[j + 1], a, b[2], b[3]);
      }
    }
    __syncthreads();  // done
  }
  for (int j = 0; j < 8; j++) {
    for (int i = 0; i < 4; i++) y[(warp * 16 + lane / 4 + i / 2 * 8) * N + j * 8 + lane % 4 * 2 + i % 2] = d[j][i];
  }
}
`;

const [x, w] = [smallNumbers(M * K, 1), smallNumbers(N * K, 2)];
const right = productOf(x, w, M, N, K);

async function multiply(source: string, seed: number): Promise<boolean> {
  const y = new Float32Array(M * N);
  await runKernel({ source, kernel: "gemm", block: 128, args: [bf16(x), bf16(w), y], seed });
  return y.every((value, i) => value === right[i]);
}

/** How many of some seeds give a wrong result when the text is changed. */
async function wrongSeeds(from: string, to: string): Promise<number> {
  expect(GEMM).toContain(from);
  let wrong = 0;
  for (let seed = 1; seed <= 6; seed++) if (!(await multiply(GEMM.replace(from, to), seed))) wrong++;
  return wrong;
}

describe("cp.async, ldmatrix, mma.sync", () => {
  test("a product, whatever the seed", async () => {
    expect(await wrongSeeds("// there", "")).toBe(0);
  });
  test("a wait for one group too few", async () => {
    expect(await wrongSeeds("cp_async_wait<1>();", "cp_async_wait<2>();")).toBe(6);
  });
  test("no barrier behind the wait", async () => {
    expect(await wrongSeeds("__syncthreads();  // there", "")).toBe(6);
  });
  test("no barrier before the buffer is filled again", async () => {
    expect(await wrongSeeds("__syncthreads();  // done", "")).toBeGreaterThan(0);
  });

  test("matrices of other numbers: f16, tf32, e4m3", async () => {
    // Each lane's fragments as PTX has them, of a[i][k] = i + k and b[k][j] = k - j in steps of an eighth.
    const source = `#include "dsk_mma.cuh"
template <class T> DSK_INLINE void put(unsigned char* to, int at, float x) { reinterpret_cast<T*>(to)[at] = T(x); }
template <class T> DSK_INLINE void fill(unsigned (&a)[4], unsigned (&b)[2]) {
  const int lane = threadIdx.x % 32, width = 4 / sizeof(T), terms = 8 * width;
  for (int i = 0; i < width; i++) {
    for (int r = 0; r < 4; r++) {
      const int row = lane / 4 + r % 2 * 8, k = r / 2 * terms / 2 + lane % 4 * width + i;
      put<T>((unsigned char*)&a[r], i, (row % 4 + k % 4) * 0.125f);
      if (r < 2) put<T>((unsigned char*)&b[r], i, ((r * terms / 2 + lane % 4 * width + i) % 4 - lane / 4 % 4) * 0.125f);
    }
  }
}
extern "C" __global__ void __launch_bounds__(32) k(float* y) {
  unsigned a[4], b[2];
  float d[3][4] = {};
  fill<f16>(a, b);
  dsk::sim::mma_m16n8k16_f16(d[0], a, b[0], b[1]);
  fill<float>(a, b);
  dsk::sim::mma_m16n8k8_tf32(d[1], a, b[0], b[1]);
  fill<f8e4m3>(a, b);
  dsk::sim::mma_m16n8k32_e4m3(d[2], a, b[0], b[1]);
  for (int which = 0; which < 3; which++) {
    for (int i = 0; i < 4; i++) y[which * 128 + (threadIdx.x / 4 + i / 2 * 8) * 8 + threadIdx.x % 4 * 2 + i % 2] = d[which][i];
  }
}
`;
    const y = new Float32Array(3 * 128);
    await runKernel({ source, kernel: "k", block: 32, args: [y] });
    const sums = [16, 8, 32].flatMap((terms) => [
      ...productOf(
        Float32Array.from({ length: 16 * terms }, (_, at) => ((Math.floor(at / terms) % 4) + ((at % terms) % 4)) / 8),
        Float32Array.from({ length: 8 * terms }, (_, at) => (((at % terms) % 4) - (Math.floor(at / terms) % 4)) / 8),
        16,
        8,
        terms,
      ),
    ]);
    expect([...y]).toEqual(sums);
  });

  test("ldmatrix turns matrices, and stmatrix puts them back", async () => {
    const source = `#include "dsk_mma.cuh"
#include "dsk_sm90.cuh"
extern "C" __global__ void __launch_bounds__(32) k(const unsigned short* x, unsigned short* y) {
  __shared__ __align__(16) unsigned short from[32][8], to[32][8];
  for (int i = 0; i < 8; i++) from[threadIdx.x][i] = x[threadIdx.x * 8 + i];
  __syncwarp();
  unsigned r[4];
  ldmatrix_x4_transposed(r, from[threadIdx.x]);
  stmatrix_x4(to[threadIdx.x], r[0], r[1], r[2], r[3]);
  __syncwarp();
  for (int i = 0; i < 8; i++) y[threadIdx.x * 8 + i] = to[threadIdx.x][i];
}
`;
    const numbers = Uint16Array.from({ length: 256 }, (_, i) => i);
    const y = new Uint16Array(256);
    await runKernel({ source, kernel: "k", block: 32, args: [numbers, y] });
    expect([...y]).toEqual([...numbers].map((i) => (i & ~63) + (i % 8) * 8 + (Math.floor(i / 8) % 8)));
  });
});

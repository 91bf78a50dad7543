// parts_wq_b_2: 2 kernels in one launch
// of RmsNorm, Mla
// part_1: gemm
//   read x_2: f32[T, 24]
//   read weight: f32[24]
//   read wq_b: f32[24, 4, 24]
//   write x_4: f32[T, 4, 24]
// part_2: rows
//   read x_5: f32[T, 24]
//   write x_6: f32[T]

#include "dsk_few.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) parts_wq_b_2_few_1(
    int items_1, int items_before_1, int items_2, int items_before_2, int T, const float* __restrict__ x_2,
    const float* __restrict__ weight, const float* __restrict__ wq_b, float* __restrict__ x_4, const float* __restrict__ x_5,
    float* __restrict__ x_6) {
  __shared__ float kept0[4][8][32];
  __shared__ float x_3_rows[8];
  __shared__ float staged_a[8][256];
  const auto a0 = [&](int batch, int m_, int k_, float x_3) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    const int i_Q = clamp(k_, 0, 24 - 1);
    return i_Q == k_ ? x_2[(long long)i_T * 24 + i_Q] * x_3 * weight[i_Q] : 0.0f;
  };
  const auto finish = [&](int batch, int i_T, int n, float product) {
    if ((i_T >= 0) & (i_T < T) & (n < 4 * 24)) {
      const int i_N_R = n % 24;
      const int i_H = n / 24;
      x_4[(long long)i_T * 96 + i_H * 24 + i_N_R] = product;
    }
  };
  const int item = blockIdx.x;
  const int warp = threadIdx.x / 32, octet = threadIdx.x % 32 / 4, quad = threadIdx.x % 4;
  const int blocks = (4 * 24 + 31) / 32;
  const int first_n = item % blocks * 32;
  const int row_blocks = (T + 7) / 8;
  const int first_row = item / blocks % row_blocks * 8;
  const int batch = item / blocks / row_blocks;
  const int rows = min(8, T - first_row);
  for (int r = warp; r < rows; r += 8) {
    const int i_T = first_row + r;
    const int lane = threadIdx.x % 32;
    float x;
    float x_3;
    {
      float part1 = 0.0f;
      #pragma unroll 16
      for (int i_Q = lane; i_Q < 24; i_Q += 32) {
        part1 = part1 + square(x_2[(long long)i_T * 24 + i_Q]);
      }
      x = over_lanes<Sum, 32>(part1);
    }
    x_3 = rsqrtf(x / 24.0f + 0.000001f);
    if (lane == 0) x_3_rows[r] = x_3;
  }
  __syncthreads();
  float sum0[2][4] = {};
  float p0[4][8] = {};
  {
    const float* const b0 = wq_b + min(first_n + octet * 4, 4 * 24 - 4);
    for (int begin = 0; begin < 24; begin += 32) {
      const int first = begin + warp * 4;
      float words0[1][1][4];
      #pragma unroll
      for (int j = 0; j < 1; j++) if (first < 24) {
        const int k = first + j * 4 + quad;
        read_floats(words0[j][0], b0 + k * 96);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < rows * 32; i += 256) {
        const int r = i / 32, k = begin + i % 32;
        staged_a[r][i % 32] = k < 24 ? a0(batch, first_row + r, k, x_3_rows[r]) : 0.0f;
      }
      __syncthreads();
      #pragma unroll
      for (int j = 0; j < 1; j++) if (first < 24) {
        const int k = first + j * 4 + quad;
        #pragma unroll
        for (int r = 0; r < 8; r++) {
          const float left = staged_a[r][k - begin];
          for (int c = 0; c < 4; c++) p0[c][r] += words0[j][0][c] * left;
        }
      }
    }
  }
  over_quads(sum0, p0);
  keep_sums(kept0, sum0);
  __syncthreads();
  for (int i = threadIdx.x; i < rows * 32; i += 256) {
    const int r = i / 32;
    const int c = i % 32;
    finish(batch, first_row + r, first_n + c, sum_of_warps(kept0, r, c / 4, c % 4));
  }
}

extern "C" __global__ void __launch_bounds__(64, 4) parts_wq_b_2_tile_1(
    int items_1, int items_before_1, int items_2, int items_before_2, int T, const float* __restrict__ x_2,
    const float* __restrict__ weight, const float* __restrict__ wq_b, float* __restrict__ x_4, const float* __restrict__ x_5,
    float* __restrict__ x_6) {
  __shared__ __align__(16) float tile_a[32][68];
  __shared__ __align__(16) float tile_b[32][68];
  __shared__ float x_3_of_row[64];
  const auto a0 = [&](int batch, int m_, int k_, float x_3) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    const int i_Q = clamp(k_, 0, 24 - 1);
    return i_Q == k_ ? x_2[(long long)i_T * 24 + i_Q] * x_3 * weight[i_Q] : 0.0f;
  };
  const auto b0 = [&](int batch, int n_, int k_) -> float {
    const int n = clamp(n_, 0, 4 * 24 - 1);
    const int i_Q = clamp(k_, 0, 24 - 1);
    const int i_N_R = n % 24;
    const int i_H = n / 24;
    return i_Q == k_ ? wq_b[i_Q * 96 + i_H * 24 + i_N_R] : 0.0f;
  };
  const auto x_3_of = [&](int m_) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    float x;
    float x_3;
    {
      float sum0 = 0.0f;
      for (int i_Q = 0; i_Q < 24; i_Q++) {
        sum0 = sum0 + square(x_2[(long long)i_T * 24 + i_Q]);
      }
      x = sum0;
    }
    x_3 = rsqrtf(x / 24.0f + 0.000001f);
    return x_3;
  };
  const auto finish = [&](int batch, int i_T, int n, float product) {
    if ((i_T >= 0) & (i_T < T) & (n < 4 * 24)) {
      const int i_N_R = n % 24;
      const int i_H = n / 24;
      x_4[(long long)i_T * 96 + i_H * 24 + i_N_R] = product;
    }
  };
  const int lane = threadIdx.x;
  const int item = blockIdx.x;
  const int first_n = item % ((4 * 24 + 63) / 64) * 64;
  const int row = item / ((4 * 24 + 63) / 64) % ((T + 63) / 64);
  const int batch = item / ((4 * 24 + 63) / 64) / ((T + 63) / 64);
  const int own_m = lane / 8 * 8;
  const int own_n = lane % 8 * 8;
  const int first_m = row * 64;
  if (lane < 64) {
    x_3_of_row[lane] = x_3_of(first_m + lane);
  }
  float p0[8][8] = {};
  for (int first = 0; first < 24; first += 32) {
    __syncthreads();
    #pragma unroll 8
    for (int i = lane; i < 2048; i += 64) {
      const int k = i / 32 % 4 * 8 + i % 8;
      const int r = i / 128 * 4 + i / 8 % 4;
      const int at = first + k;
      tile_a[k][r] = a0(batch, first_m + r, at, x_3_of_row[r]);
    }
    #pragma unroll 16
    for (int i = lane; i < 2048; i += 64) {
      const int k = i / 64;
      const int r = i % 64;
      const int at = first + k;
      tile_b[k][r] = b0(batch, first_n + r, at);
    }
    __syncthreads();
    for (int k = 0; k < 32; k++) add_products(p0, &tile_a[k][own_m], &tile_b[k][own_n]);
  }
  // One row of each thread at a time goes through the memory of the tiles, so that neighbors store neighbors.
  float (*const slab0)[68] = tile_a;
  #pragma unroll
  for (int r = 0; r < 8; r++) {
    __syncthreads();
    for (int c = 0; c < 8; c++) slab0[own_m / 8][own_n + c] = p0[r][c];
    __syncthreads();
    #pragma unroll 1
    for (int i = lane; i < 512; i += 64) {
      const int own = i / 64;
      const int c = i % 64;
      finish(batch, first_m + own * 8 + r, first_n + c, slab0[own][c]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(64, 4) parts_wq_b_2_main_2(
    int items_1, int items_before_1, int items_2, int items_before_2, int T, const float* __restrict__ x_2,
    const float* __restrict__ weight, const float* __restrict__ wq_b, float* __restrict__ x_4, const float* __restrict__ x_5,
    float* __restrict__ x_6) {
  const int lane = threadIdx.x;
  const int i_T = blockIdx.x * 64 + lane;
  if (i_T >= T) {
    return;
  }
  float sum0 = 0.0f;
  for (int i_C = 0; i_C < 16; i_C++) {
    sum0 = sum0 + square(x_5[(long long)i_T * 24 + i_C]);
  }
  x_6[i_T] = sum0;
}

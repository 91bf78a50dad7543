// parts_down: 2 kernels in one launch
// of RmsNorm, DeepSeekMoe, SwiGlu
// part_1: rows
//   read x_2: f32[T]
//   write x_3: f32[T, 64]
//   read h: f32[T, 64]
//   read weight: f32[64]
//   read x_4: f32[T, 8]
//   read bias: f32[8]
//   update chosen: i32[T, 3]
//   update picked: f32[T, 3]
//   write x_12: f32[T]
// part_2: gemm
//   read x_13: f32[T, 16]
//   read down: f32[16, 64]
//   write x_14: f32[T, 64]

#include "dsk_few.cuh"
#include "dsk_select.cuh"

static __device__ __forceinline__ void run_main_1(
    int block, int items, int items_before, int T, const float* __restrict__ x_2, float* __restrict__ x_3,
    const float* __restrict__ h, const float* __restrict__ weight, const float* __restrict__ x_4,
    const float* __restrict__ bias, int* __restrict__ chosen, float* __restrict__ picked, float* __restrict__ x_12) {
  __shared__ float affinity[8];
  __shared__ float x_5[8];
  __shared__ int x_6[8];
  __shared__ float x_7[4];
  __shared__ int x_8[2];
  __shared__ float x_9[4];
  __shared__ unsigned char x_10[4];
  __shared__ float x_11[8];
  const int lane = threadIdx.x;
  const int i_T = block;
  float x;
  x = rsqrtf(x_2[i_T] / 64.0f + 0.000001f);
  for (int i_D = lane; i_D < 64; i_D += 256) {
    x_3[(long long)i_T * 64 + i_D] = h[(long long)i_T * 64 + i_D] * x * weight[i_D];
  }
  for (int i_E = lane; i_E < 8; i_E += 256) {
    affinity[i_E] = sigmoid(x_4[(long long)i_T * 8 + i_E]);
  }
  __syncthreads();
  for (int i_E = lane; i_E < 8; i_E += 256) {
    x_5[i_E] = affinity[i_E] + bias[i_E];
  }
  __syncthreads();
  for (int i_G = lane / 32; i_G < 4; i_G += 8) {
    const auto value_at = [&](int i_E_G) {
      return x_5[i_G * 2 + i_E_G];
    };
    const auto take = [&](int i_best, int i_E_G) {
      x_6[i_G * 2 + i_best] = i_E_G;
    };
    largest_of_warp<2, 2>(value_at, take);
  }
  __syncthreads();
  for (int i_G = lane; i_G < 4; i_G += 256) {
    float sum0 = 0.0f;
    for (int i_best = 0; i_best < 2; i_best++) {
      const int v1 = x_6[i_G * 2 + i_best];
      sum0 = sum0 + ((v1 < 0) ? 0.0f : x_5[i_G * 2 + min(max(v1, 0), 1)]);
    }
    x_7[i_G] = sum0;
  }
  __syncthreads();
  if (lane < 32) {
    const auto value_at = [&](int i_G) {
      return x_7[i_G];
    };
    const auto take = [&](int i_keep, int i_G) {
      x_8[i_keep] = i_G;
    };
    largest_of_warp<4, 2>(value_at, take);
  }
  for (int i_G = lane; i_G < 4; i_G += 256) {
    x_9[i_G] = 0.0f;
  }
  __syncthreads();
  if (lane == 0) {
    for (int i_keep = 0; i_keep < 2; i_keep++) {
      if (x_8[i_keep] >= 0) {
        x_9[x_8[i_keep]] = x_9[x_8[i_keep]] + 1.0f;
      }
    }
  }
  __syncthreads();
  for (int i_G = lane; i_G < 4; i_G += 256) {
    x_10[i_G] = x_9[i_G] > 0.0f;
  }
  __syncthreads();
  for (int i2 = lane; i2 < 4 * 2; i2 += 256) {
    const int i_E_G = i2 % 2;
    const int i_G = i2 / 2;
    x_11[i_G * 2 + i_E_G] = (x_10[i_G] != 0) ? x_5[i_G * 2 + i_E_G] : (-infinity());
  }
  __syncthreads();
  if (lane < 32) {
    const auto value_at = [&](int i_E) {
      return x_11[i_E];
    };
    const auto take = [&](int i_K, int i_E) {
      chosen[(long long)i_T * 3 + i_K] = i_E;
    };
    largest_of_warp<8, 3>(value_at, take);
  }
  __syncthreads();
  for (int i_K = lane; i_K < 3; i_K += 256) {
    const int v3 = chosen[(long long)i_T * 3 + i_K];
    picked[(long long)i_T * 3 + i_K] = (v3 < 0) ? 0.0f : affinity[min(max(v3, 0), 7)];
  }
  __syncthreads();
  if (lane == 0) {
    float sum4 = 0.0f;
    for (int i_K = 0; i_K < 3; i_K++) {
      sum4 = sum4 + picked[(long long)i_T * 3 + i_K];
    }
    x_12[i_T] = sum4;
  }
}

extern "C" __global__ void __launch_bounds__(256, 1) parts_down_main_1(
    int items_1, int items_before_1, int items_2, int items_before_2, int T, const float* __restrict__ x_2,
    float* __restrict__ x_3, const float* __restrict__ h, const float* __restrict__ weight, const float* __restrict__ x_4,
    const float* __restrict__ bias, int* __restrict__ chosen, float* __restrict__ picked, float* __restrict__ x_12,
    const float* __restrict__ x_13, const float* __restrict__ down, float* __restrict__ x_14) {
  run_main_1(blockIdx.x, items_1, items_before_1, T, x_2, x_3, h, weight, x_4, bias, chosen, picked, x_12);
}

static __device__ __forceinline__ void run_few_2(
    int block, int items, int items_before, int T, const float* __restrict__ x_13, const float* __restrict__ down,
    float* __restrict__ x_14) {
  __shared__ float kept0[4][8][32];
  __shared__ float staged_a[8][256];
  const auto a0 = [&](int batch, int m_, int k_) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    const int i_Fs = clamp(k_, 0, 16 - 1);
    return i_Fs == k_ ? x_13[(long long)i_T * 16 + i_Fs] : 0.0f;
  };
  const auto finish = [&](int batch, int i_T, int i_D, float product) {
    if ((i_T >= 0) & (i_T < T)) {
      x_14[(long long)i_T * 64 + i_D] = product;
    }
  };
  const int item = block;
  const int warp = threadIdx.x / 32, octet = threadIdx.x % 32 / 4, quad = threadIdx.x % 4;
  const int blocks = (64 + 31) / 32;
  const int first_n = item % blocks * 32;
  const int row_blocks = (T + 7) / 8;
  const int first_row = item / blocks % row_blocks * 8;
  const int batch = item / blocks / row_blocks;
  const int rows = min(8, T - first_row);
  float sum0[2][4] = {};
  float p0[4][8] = {};
  {
    const float* const b0 = down + min(first_n + octet * 4, 64 - 4);
    for (int begin = 0; begin < 16; begin += 32) {
      const int first = begin + warp * 4;
      float words0[1][1][4];
      #pragma unroll
      for (int j = 0; j < 1; j++) if (first < 16) {
        const int k = first + j * 4 + quad;
        read_floats(words0[j][0], b0 + k * 64);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < rows * 32; i += 256) {
        const int r = i / 32, k = begin + i % 32;
        staged_a[r][i % 32] = k < 16 ? a0(batch, first_row + r, k) : 0.0f;
      }
      __syncthreads();
      #pragma unroll
      for (int j = 0; j < 1; j++) if (first < 16) {
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

extern "C" __global__ void __launch_bounds__(256, 1) parts_down_few_2(
    int items_1, int items_before_1, int items_2, int items_before_2, int T, const float* __restrict__ x_2,
    float* __restrict__ x_3, const float* __restrict__ h, const float* __restrict__ weight, const float* __restrict__ x_4,
    const float* __restrict__ bias, int* __restrict__ chosen, float* __restrict__ picked, float* __restrict__ x_12,
    const float* __restrict__ x_13, const float* __restrict__ down, float* __restrict__ x_14) {
  run_few_2(blockIdx.x, items_2, items_before_2, T, x_13, down, x_14);
}

extern "C" __global__ void __launch_bounds__(64, 4) parts_down_tile_2(
    int items_1, int items_before_1, int items_2, int items_before_2, int T, const float* __restrict__ x_2,
    float* __restrict__ x_3, const float* __restrict__ h, const float* __restrict__ weight, const float* __restrict__ x_4,
    const float* __restrict__ bias, int* __restrict__ chosen, float* __restrict__ picked, float* __restrict__ x_12,
    const float* __restrict__ x_13, const float* __restrict__ down, float* __restrict__ x_14) {
  __shared__ __align__(16) float tile_a[32][68];
  __shared__ __align__(16) float tile_b[32][68];
  const auto a0 = [&](int batch, int m_, int k_) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    const int i_Fs = clamp(k_, 0, 16 - 1);
    return i_Fs == k_ ? x_13[(long long)i_T * 16 + i_Fs] : 0.0f;
  };
  const auto b0 = [&](int batch, int i_D, int k_) -> float {
    const int i_Fs = clamp(k_, 0, 16 - 1);
    return i_Fs == k_ ? down[i_Fs * 64 + i_D] : 0.0f;
  };
  const auto finish = [&](int batch, int i_T, int i_D, float product) {
    if ((i_T >= 0) & (i_T < T)) {
      x_14[(long long)i_T * 64 + i_D] = product;
    }
  };
  const int lane = threadIdx.x;
  const int item = blockIdx.x;
  const int first_n = item % ((64 + 63) / 64) * 64;
  const int row = item / ((64 + 63) / 64) % ((T + 63) / 64);
  const int batch = item / ((64 + 63) / 64) / ((T + 63) / 64);
  const int own_m = lane / 8 * 8;
  const int own_n = lane % 8 * 8;
  const int first_m = row * 64;
  float p0[8][8] = {};
  for (int first = 0; first < 16; first += 32) {
    __syncthreads();
    #pragma unroll 16
    for (int i = lane; i < 2048; i += 64) {
      const int k = i / 32 % 4 * 8 + i % 8;
      const int r = i / 128 * 4 + i / 8 % 4;
      const int at = first + k;
      tile_a[k][r] = a0(batch, first_m + r, at);
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

extern "C" __global__ void __launch_bounds__(256, 1) parts_down_all_parts(
    int items_1, int items_before_1, int items_2, int items_before_2, int T, const float* __restrict__ x_2,
    float* __restrict__ x_3, const float* __restrict__ h, const float* __restrict__ weight, const float* __restrict__ x_4,
    const float* __restrict__ bias, int* __restrict__ chosen, float* __restrict__ picked, float* __restrict__ x_12,
    const float* __restrict__ x_13, const float* __restrict__ down, float* __restrict__ x_14) {
  int block = blockIdx.x;
  if (block < items_1) {
    run_main_1(block, items_1, items_before_1, T, x_2, x_3, h, weight, x_4, bias, chosen, picked, x_12);
    return;
  }
  block -= items_1;
  run_few_2(block, items_2, items_before_2, T, x_13, down, x_14);
}

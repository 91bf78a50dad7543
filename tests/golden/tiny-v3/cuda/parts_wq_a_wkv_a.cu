// parts_wq_a_wkv_a: 2 kernels in one launch
// of Mla.query_down, Mla.latent_down
// part_1: gemm
//   read x: f32[T, 64]
//   read wq_a: f32[64, 24]
//   write x_2: f32[T, 24]
// part_2: gemm
//   read x: f32[T, 64]
//   read wkv_a: f32[64, 24]
//   write x_3: f32[T, 24]

#include "dsk_few.cuh"

static __device__ __forceinline__ void run_few_1(
    int block, int items, int items_before, int T, const float* __restrict__ x, const float* __restrict__ wq_a,
    float* __restrict__ x_2) {
  __shared__ float kept0[4][8][32];
  __shared__ float staged_a[8][256];
  const auto a0 = [&](int batch, int m_, int i_D) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    return x[(long long)i_T * 64 + i_D];
  };
  const auto finish = [&](int batch, int i_T, int i_Q, float product) {
    if ((i_T >= 0) & (i_T < T) & (i_Q < 24)) {
      x_2[(long long)i_T * 24 + i_Q] = product;
    }
  };
  const int item = block;
  const int warp = threadIdx.x / 32, octet = threadIdx.x % 32 / 4, quad = threadIdx.x % 4;
  const int blocks = (24 + 31) / 32;
  const int first_n = item % blocks * 32;
  const int row_blocks = (T + 7) / 8;
  const int first_row = item / blocks % row_blocks * 8;
  const int batch = item / blocks / row_blocks;
  const int rows = min(8, T - first_row);
  float sum0[2][4] = {};
  float p0[4][8] = {};
  {
    const float* const b0 = wq_a + min(first_n + octet * 4, 24 - 4);
    for (int begin = 0; begin < 64; begin += 64) {
      const int first = begin + warp * 8;
      float words0[2][1][4];
      #pragma unroll
      for (int j = 0; j < 2; j++) {
        const int k = first + j * 4 + quad;
        read_floats(words0[j][0], b0 + k * 24);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < rows * 64; i += 256) {
        const int r = i / 64, k = begin + i % 64;
        staged_a[r][i % 64] = a0(batch, first_row + r, k);
      }
      __syncthreads();
      #pragma unroll
      for (int j = 0; j < 2; j++) {
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

extern "C" __global__ void __launch_bounds__(256, 1) parts_wq_a_wkv_a_few_1(
    int items_1, int items_before_1, int items_2, int items_before_2, int T, const float* __restrict__ x,
    const float* __restrict__ wq_a, float* __restrict__ x_2, const float* __restrict__ wkv_a, float* __restrict__ x_3) {
  run_few_1(blockIdx.x, items_1, items_before_1, T, x, wq_a, x_2);
}

extern "C" __global__ void __launch_bounds__(64, 4) parts_wq_a_wkv_a_tile_1(
    int items_1, int items_before_1, int items_2, int items_before_2, int T, const float* __restrict__ x,
    const float* __restrict__ wq_a, float* __restrict__ x_2, const float* __restrict__ wkv_a, float* __restrict__ x_3) {
  __shared__ __align__(16) float tile_a[32][68];
  __shared__ __align__(16) float tile_b[32][68];
  const auto a0 = [&](int batch, int m_, int i_D) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    return x[(long long)i_T * 64 + i_D];
  };
  const auto b0 = [&](int batch, int n_, int i_D) -> float {
    const int i_Q = clamp(n_, 0, 24 - 1);
    return wq_a[i_D * 24 + i_Q];
  };
  const auto finish = [&](int batch, int i_T, int i_Q, float product) {
    if ((i_T >= 0) & (i_T < T) & (i_Q < 24)) {
      x_2[(long long)i_T * 24 + i_Q] = product;
    }
  };
  const int lane = threadIdx.x;
  const int item = blockIdx.x;
  const int first_n = item % ((24 + 63) / 64) * 64;
  const int row = item / ((24 + 63) / 64) % ((T + 63) / 64);
  const int batch = item / ((24 + 63) / 64) / ((T + 63) / 64);
  const int own_m = lane / 8 * 8;
  const int own_n = lane % 8 * 8;
  const int first_m = row * 64;
  float p0[8][8] = {};
  for (int first = 0; first < 64; first += 32) {
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

static __device__ __forceinline__ void run_few_2(
    int block, int items, int items_before, int T, const float* __restrict__ x, const float* __restrict__ wkv_a,
    float* __restrict__ x_3) {
  __shared__ float kept0[4][8][32];
  __shared__ float staged_a[8][256];
  const auto a0 = [&](int batch, int m_, int i_D) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    return x[(long long)i_T * 64 + i_D];
  };
  const auto finish = [&](int batch, int i_T, int i_C_R, float product_2) {
    if ((i_T >= 0) & (i_T < T) & (i_C_R < 24)) {
      x_3[(long long)i_T * 24 + i_C_R] = product_2;
    }
  };
  const int item = block;
  const int warp = threadIdx.x / 32, octet = threadIdx.x % 32 / 4, quad = threadIdx.x % 4;
  const int blocks = (24 + 31) / 32;
  const int first_n = item % blocks * 32;
  const int row_blocks = (T + 7) / 8;
  const int first_row = item / blocks % row_blocks * 8;
  const int batch = item / blocks / row_blocks;
  const int rows = min(8, T - first_row);
  float sum0[2][4] = {};
  float p0[4][8] = {};
  {
    const float* const b0 = wkv_a + min(first_n + octet * 4, 24 - 4);
    for (int begin = 0; begin < 64; begin += 64) {
      const int first = begin + warp * 8;
      float words0[2][1][4];
      #pragma unroll
      for (int j = 0; j < 2; j++) {
        const int k = first + j * 4 + quad;
        read_floats(words0[j][0], b0 + k * 24);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < rows * 64; i += 256) {
        const int r = i / 64, k = begin + i % 64;
        staged_a[r][i % 64] = a0(batch, first_row + r, k);
      }
      __syncthreads();
      #pragma unroll
      for (int j = 0; j < 2; j++) {
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

extern "C" __global__ void __launch_bounds__(256, 1) parts_wq_a_wkv_a_few_2(
    int items_1, int items_before_1, int items_2, int items_before_2, int T, const float* __restrict__ x,
    const float* __restrict__ wq_a, float* __restrict__ x_2, const float* __restrict__ wkv_a, float* __restrict__ x_3) {
  run_few_2(blockIdx.x, items_2, items_before_2, T, x, wkv_a, x_3);
}

extern "C" __global__ void __launch_bounds__(64, 4) parts_wq_a_wkv_a_tile_2(
    int items_1, int items_before_1, int items_2, int items_before_2, int T, const float* __restrict__ x,
    const float* __restrict__ wq_a, float* __restrict__ x_2, const float* __restrict__ wkv_a, float* __restrict__ x_3) {
  __shared__ __align__(16) float tile_a[32][68];
  __shared__ __align__(16) float tile_b[32][68];
  const auto a0 = [&](int batch, int m_, int i_D) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    return x[(long long)i_T * 64 + i_D];
  };
  const auto b0 = [&](int batch, int n_, int i_D) -> float {
    const int i_C_R = clamp(n_, 0, 24 - 1);
    return wkv_a[i_D * 24 + i_C_R];
  };
  const auto finish = [&](int batch, int i_T, int i_C_R, float product_2) {
    if ((i_T >= 0) & (i_T < T) & (i_C_R < 24)) {
      x_3[(long long)i_T * 24 + i_C_R] = product_2;
    }
  };
  const int lane = threadIdx.x;
  const int item = blockIdx.x;
  const int first_n = item % ((24 + 63) / 64) * 64;
  const int row = item / ((24 + 63) / 64) % ((T + 63) / 64);
  const int batch = item / ((24 + 63) / 64) / ((T + 63) / 64);
  const int own_m = lane / 8 * 8;
  const int own_n = lane % 8 * 8;
  const int first_m = row * 64;
  float p0[8][8] = {};
  for (int first = 0; first < 64; first += 32) {
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

extern "C" __global__ void __launch_bounds__(256, 1) parts_wq_a_wkv_a_all_parts(
    int items_1, int items_before_1, int items_2, int items_before_2, int T, const float* __restrict__ x,
    const float* __restrict__ wq_a, float* __restrict__ x_2, const float* __restrict__ wkv_a, float* __restrict__ x_3) {
  int block = blockIdx.x;
  if (block < items_1) {
    run_few_1(block, items_1, items_before_1, T, x, wq_a, x_2);
    return;
  }
  block -= items_1;
  run_few_2(block, items_2, items_before_2, T, x, wkv_a, x_3);
}

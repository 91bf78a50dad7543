// gemm_wo: gemm
// of Mla.output, Decoder
//   read x: f32[T, 4, 16]
//   read wo: f32[4, 16, 64]
//   read x_2: f32[T, 64]
//   write h: f32[T, 64]

#include "dsk_few.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) gemm_wo_few(
    int items, int items_before, int T, const float* __restrict__ x, const float* __restrict__ wo,
    const float* __restrict__ x_2, float* __restrict__ h) {
  __shared__ float kept0[4][8][32];
  __shared__ float staged_a[8][256];
  const auto a0 = [&](int batch, int m_, int k) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    const int i_Vh = k % 16;
    const int i_H = k / 16;
    return x[(long long)i_T * 64 + i_H * 16 + i_Vh];
  };
  const auto finish = [&](int batch, int i_T, int i_D, float product) {
    if ((i_T >= 0) & (i_T < T)) {
      h[(long long)i_T * 64 + i_D] = x_2[(long long)i_T * 64 + i_D] + product;
    }
  };
  const int item = blockIdx.x;
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
    const float* const b0 = wo + min(first_n + octet * 4, 64 - 4);
    for (int begin = 0; begin < 64; begin += 64) {
      const int first = begin + warp * 8;
      float words0[2][1][4];
      #pragma unroll
      for (int j = 0; j < 2; j++) {
        const int k = first + j * 4 + quad;
        read_floats(words0[j][0], b0 + k * 64);
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

extern "C" __global__ void __launch_bounds__(64, 4) gemm_wo_tile(
    int items, int items_before, int T, const float* __restrict__ x, const float* __restrict__ wo,
    const float* __restrict__ x_2, float* __restrict__ h) {
  __shared__ __align__(16) float tile_a[32][68];
  __shared__ __align__(16) float tile_b[32][68];
  const auto a0 = [&](int batch, int m_, int k) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    const int i_Vh = k % 16;
    const int i_H = k / 16;
    return x[(long long)i_T * 64 + i_H * 16 + i_Vh];
  };
  const auto b0 = [&](int batch, int i_D, int k) -> float {
    const int i_Vh = k % 16;
    const int i_H = k / 16;
    return wo[i_H * 1024 + i_Vh * 64 + i_D];
  };
  const auto finish = [&](int batch, int i_T, int i_D, float product) {
    if ((i_T >= 0) & (i_T < T)) {
      h[(long long)i_T * 64 + i_D] = x_2[(long long)i_T * 64 + i_D] + product;
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
  for (int first = 0; first < 4 * 16; first += 32) {
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

// gemm_head: gemm
// of Embedding.transposed
//   read x: f32[B, 64]
//   read weight: f32[160, 64]
//   write logits: f32[B, 160]

#include "dsk_few.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) gemm_head_few(
    int items, int items_before, int B, const float* __restrict__ x, const float* __restrict__ weight,
    float* __restrict__ logits) {
  __shared__ float kept0[4][8][32];
  __shared__ float staged_a[8][256];
  const auto a0 = [&](int batch, int m_, int i_D) -> float {
    const int i_B = clamp(m_, 0, B - 1);
    return x[(long long)i_B * 64 + i_D];
  };
  const auto finish = [&](int batch, int i_B, int i_V, float product) {
    if ((i_B >= 0) & (i_B < B) & (i_V < 160)) {
      logits[(long long)i_B * 160 + i_V] = product;
    }
  };
  const int item = blockIdx.x;
  const int warp = threadIdx.x / 32, octet = threadIdx.x % 32 / 4, quad = threadIdx.x % 4;
  const int blocks = (160 + 31) / 32;
  const int first_n = item % blocks * 32;
  const int row_blocks = (B + 7) / 8;
  const int first_row = item / blocks % row_blocks * 8;
  const int batch = item / blocks / row_blocks;
  const int rows = min(8, B - first_row);
  float sum0[2][4] = {};
  float p0[4][8] = {};
  {
    const float* b0[4];
    #pragma unroll
    for (int i = 0; i < 4; i++) b0[i] = weight + (long long)min(first_n + i * 8 + octet, 160 - 1) * 64;
    for (int begin = 0; begin < 64; begin += 128) {
      const int first = begin + warp * 16;
      float words0[1][4][4];
      #pragma unroll
      for (int j = 0; j < 1; j++) if (first < 64) {
        const int k = first + j * 16 + quad * 4;
        for (int i = 0; i < 4; i++) read_floats(words0[j][i], b0[i] + k);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < rows * 128; i += 256) {
        const int r = i / 128, k = begin + i % 128;
        staged_a[r][i % 128] = k < 64 ? a0(batch, first_row + r, k) : 0.0f;
      }
      __syncthreads();
      #pragma unroll
      for (int j = 0; j < 1; j++) if (first < 64) {
        const int k = first + j * 16 + quad * 4;
        #pragma unroll
        for (int i = 0; i < 4; i++) {
          #pragma unroll
          for (int r = 0; r < 8; r++) {
            const float left = staged_a[r][k + i - begin];
            for (int c = 0; c < 4; c++) p0[c][r] += words0[j][c][i] * left;
          }
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
    finish(batch, first_row + r, first_n + c, sum_of_warps(kept0, r, c % 8, c / 8));
  }
}

extern "C" __global__ void __launch_bounds__(64, 4) gemm_head_tile(
    int items, int items_before, int B, const float* __restrict__ x, const float* __restrict__ weight,
    float* __restrict__ logits) {
  __shared__ __align__(16) float tile_a[32][68];
  __shared__ __align__(16) float tile_b[32][68];
  const auto a0 = [&](int batch, int m_, int i_D) -> float {
    const int i_B = clamp(m_, 0, B - 1);
    return x[(long long)i_B * 64 + i_D];
  };
  const auto b0 = [&](int batch, int n_, int i_D) -> float {
    const int i_V = clamp(n_, 0, 160 - 1);
    return weight[i_V * 64 + i_D];
  };
  const auto finish = [&](int batch, int i_B, int i_V, float product) {
    if ((i_B >= 0) & (i_B < B) & (i_V < 160)) {
      logits[(long long)i_B * 160 + i_V] = product;
    }
  };
  const int lane = threadIdx.x;
  const int item = blockIdx.x;
  const int first_n = item % ((160 + 63) / 64) * 64;
  const int row = item / ((160 + 63) / 64) % ((B + 63) / 64);
  const int batch = item / ((160 + 63) / 64) / ((B + 63) / 64);
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
      const int k = i / 32 % 4 * 8 + i % 8;
      const int r = i / 128 * 4 + i / 8 % 4;
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

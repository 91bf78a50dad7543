// gemm_gate_up: gemm
// of RmsNorm, SwiGlu
//   read h: f32[T, 64]
//   read weight: f32[64]
//   read gate: f32[64, 96]
//   read up: f32[64, 96]
//   write x_3: f32[T, 96]

#include "dsk_few.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) gemm_gate_up_few(
    int items, int items_before, int T, const float* __restrict__ h, const float* __restrict__ weight,
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ x_3) {
  __shared__ float kept0[4][8][32];
  __shared__ float kept1[4][8][32];
  __shared__ float x_2_rows[8];
  __shared__ float staged_a[8][128];
  const auto a0 = [&](int batch, int m_, int i_D, float x_2) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    return h[(long long)i_T * 64 + i_D] * x_2 * weight[i_D];
  };
  const auto finish = [&](int batch, int i_T, int i_F, float product, float product_2) {
    if ((i_T >= 0) & (i_T < T) & (i_F < 96)) {
      x_3[(long long)i_T * 96 + i_F] = silu(product) * product_2;
    }
  };
  const int item = blockIdx.x;
  const int warp = threadIdx.x / 32, octet = threadIdx.x % 32 / 4, quad = threadIdx.x % 4;
  const int blocks = (96 + 31) / 32;
  const int first_n = item % blocks * 32;
  const int row_blocks = (T + 7) / 8;
  const int first_row = item / blocks % row_blocks * 8;
  const int batch = item / blocks / row_blocks;
  const int rows = min(8, T - first_row);
  for (int r = warp; r < rows; r += 8) {
    const int i_T = first_row + r;
    const int lane = threadIdx.x % 32;
    float x;
    float x_2;
    {
      float part1 = 0.0f;
      #pragma unroll 16
      for (int i_D = lane; i_D < 64; i_D += 32) {
        part1 = part1 + square(h[(long long)i_T * 64 + i_D]);
      }
      x = over_lanes<Sum, 32>(part1);
    }
    x_2 = rsqrtf(x / 64.0f + 0.000001f);
    if (lane == 0) x_2_rows[r] = x_2;
  }
  __syncthreads();
  float sum0[2][4] = {};
  float p0[4][8] = {};
  float sum1[2][4] = {};
  float p1[4][8] = {};
  {
    const float* const b0 = gate + min(first_n + octet * 4, 96 - 4);
    const float* const b1 = up + min(first_n + octet * 4, 96 - 4);
    for (int begin = 0; begin < 64; begin += 64) {
      const int first = begin + warp * 8;
      float words0[2][1][4];
      float words1[2][1][4];
      #pragma unroll
      for (int j = 0; j < 2; j++) {
        const int k = first + j * 4 + quad;
        read_floats(words0[j][0], b0 + k * 96);
        read_floats(words1[j][0], b1 + k * 96);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < rows * 64; i += 256) {
        const int r = i / 64, k = begin + i % 64;
        staged_a[r][i % 64] = a0(batch, first_row + r, k, x_2_rows[r]);
      }
      __syncthreads();
      #pragma unroll
      for (int j = 0; j < 2; j++) {
        const int k = first + j * 4 + quad;
        #pragma unroll
        for (int r = 0; r < 8; r++) {
          const float left = staged_a[r][k - begin];
          for (int c = 0; c < 4; c++) p0[c][r] += words0[j][0][c] * left;
          for (int c = 0; c < 4; c++) p1[c][r] += words1[j][0][c] * left;
        }
      }
    }
  }
  over_quads(sum0, p0);
  over_quads(sum1, p1);
  keep_sums(kept0, sum0);
  keep_sums(kept1, sum1);
  __syncthreads();
  for (int i = threadIdx.x; i < rows * 32; i += 256) {
    const int r = i / 32;
    const int c = i % 32;
    finish(batch, first_row + r, first_n + c, sum_of_warps(kept0, r, c / 4, c % 4), sum_of_warps(kept1, r, c / 4, c % 4));
  }
}

extern "C" __global__ void __launch_bounds__(128, 2) gemm_gate_up_tile(
    int items, int items_before, int T, const float* __restrict__ h, const float* __restrict__ weight,
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ x_3) {
  __shared__ __align__(16) float tile_a[32][68];
  __shared__ __align__(16) float tile_b[32][68];
  __shared__ float x_2_of_row[64];
  const auto a0 = [&](int batch, int m_, int i_D, float x_2) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    return h[(long long)i_T * 64 + i_D] * x_2 * weight[i_D];
  };
  const auto b0 = [&](int batch, int n_, int i_D) -> float {
    const int i_F = clamp(n_, 0, 96 - 1);
    return gate[i_D * 96 + i_F];
  };
  const auto b1 = [&](int batch, int n_, int i_D) -> float {
    const int i_F = clamp(n_, 0, 96 - 1);
    return up[i_D * 96 + i_F];
  };
  const auto x_2_of = [&](int m_) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    float x;
    float x_2;
    {
      float sum0 = 0.0f;
      for (int i_D = 0; i_D < 64; i_D++) {
        sum0 = sum0 + square(h[(long long)i_T * 64 + i_D]);
      }
      x = sum0;
    }
    x_2 = rsqrtf(x / 64.0f + 0.000001f);
    return x_2;
  };
  const auto finish = [&](int batch, int i_T, int i_F, float product, float product_2) {
    if ((i_T >= 0) & (i_T < T) & (i_F < 96)) {
      x_3[(long long)i_T * 96 + i_F] = silu(product) * product_2;
    }
  };
  const int lane = threadIdx.x;
  const int item = blockIdx.x;
  const int first_n = item % ((96 + 63) / 64) * 64;
  const int row = item / ((96 + 63) / 64) % ((T + 63) / 64);
  const int batch = item / ((96 + 63) / 64) / ((T + 63) / 64);
  const int own_m = lane / 8 * 4;
  const int own_n = lane % 8 * 8;
  const int first_m = row * 64;
  if (lane < 64) {
    x_2_of_row[lane] = x_2_of(first_m + lane);
  }
  float p0[4][8] = {};
  float p1[4][8] = {};
  for (int first = 0; first < 64; first += 32) {
    __syncthreads();
    #pragma unroll 8
    for (int i = lane; i < 2048; i += 128) {
      const int k = i / 32 % 4 * 8 + i % 8;
      const int r = i / 128 * 4 + i / 8 % 4;
      const int at = first + k;
      tile_a[k][r] = a0(batch, first_m + r, at, x_2_of_row[r]);
    }
    #pragma unroll 16
    for (int i = lane; i < 2048; i += 128) {
      const int k = i / 64;
      const int r = i % 64;
      const int at = first + k;
      tile_b[k][r] = b0(batch, first_n + r, at);
    }
    __syncthreads();
    for (int k = 0; k < 32; k++) add_products(p0, &tile_a[k][own_m], &tile_b[k][own_n]);
  }
  for (int first = 0; first < 64; first += 32) {
    __syncthreads();
    #pragma unroll 8
    for (int i = lane; i < 2048; i += 128) {
      const int k = i / 32 % 4 * 8 + i % 8;
      const int r = i / 128 * 4 + i / 8 % 4;
      const int at = first + k;
      tile_a[k][r] = a0(batch, first_m + r, at, x_2_of_row[r]);
    }
    #pragma unroll 16
    for (int i = lane; i < 2048; i += 128) {
      const int k = i / 64;
      const int r = i % 64;
      const int at = first + k;
      tile_b[k][r] = b1(batch, first_n + r, at);
    }
    __syncthreads();
    for (int k = 0; k < 32; k++) add_products(p1, &tile_a[k][own_m], &tile_b[k][own_n]);
  }
  // One row of each thread at a time goes through the memory of the tiles, so that neighbors store neighbors.
  float (*const slab0)[68] = tile_a;
  float (*const slab1)[68] = tile_a + 16;
  #pragma unroll
  for (int r = 0; r < 4; r++) {
    __syncthreads();
    for (int c = 0; c < 8; c++) slab0[own_m / 4][own_n + c] = p0[r][c];
    for (int c = 0; c < 8; c++) slab1[own_m / 4][own_n + c] = p1[r][c];
    __syncthreads();
    #pragma unroll 1
    for (int i = lane; i < 1024; i += 128) {
      const int own = i / 64;
      const int c = i % 64;
      finish(batch, first_m + own * 4 + r, first_n + c, slab0[own][c], slab1[own][c]);
    }
  }
}

// parts_wk_b: 2 kernels in one launch
// of RmsNorm, Mla, Rope
// part_1: rows
//   read x_2: f32[T]
//   read x_4: f32[T, 24]
//   read weight: f32[16]
//   write latent: f32[cache, 16]
//   read row_: i32[T]
//   read pos: i32[T]
//   update x_6: f32[T, 4]
//   read x_7: f32[4]
//   update x_8: f32[T, 4]
//   write key_pe: f32[cache, 8]
//   read x_13: f32[T, 4, 24]
//   write x_15: f32[T, 4, 4, 2]
//   read pos_2: i32[S]
//   read seq: i32[T]
//   read seq_2: i32[S]
//   write span_from: i32[T]
//   write span_to: i32[T]
// part_2: gemm
//   read x_13: f32[T, 4, 24]
//   read wk_b: f32[16, 4, 16]
//   write x_16: f32[T, 4, 16]

#include "dsk_few.cuh"

static __device__ __forceinline__ void run_main_1(
    int block, int items, int items_before, int S, int T, const float* __restrict__ x_2, const float* __restrict__ x_4,
    const float* __restrict__ weight, float* __restrict__ latent, const int* __restrict__ row_, const int* __restrict__ pos,
    float* __restrict__ x_6, const float* __restrict__ x_7, float* __restrict__ x_8, float* __restrict__ key_pe,
    const float* __restrict__ x_13, float* __restrict__ x_15, const int* __restrict__ pos_2, const int* __restrict__ seq,
    const int* __restrict__ seq_2, int* __restrict__ span_from, int* __restrict__ span_to) {
  __shared__ float x_3[16];
  __shared__ float x_9[4];
  __shared__ float x_10[4];
  __shared__ float x_11[8];
  __shared__ float x_12[16];
  __shared__ float x_14[16];
  const int lane = threadIdx.x;
  const int i_T = block;
  float x;
  float x_5;
  x = rsqrtf(x_2[i_T] / 16.0f + 0.000001f);
  for (int i_C = lane; i_C < 16; i_C += 256) {
    x_3[i_C] = x_4[(long long)i_T * 24 + i_C] * x * weight[i_C];
  }
  __syncthreads();
  for (int i_C = lane; i_C < 16; i_C += 256) {
    latent[(long long)(row_[i_T]) * 16 + i_C] = x_3[i_C];
  }
  x_5 = float(pos[i_T]);
  for (int i_P = lane; i_P < 4; i_P += 256) {
    x_6[(long long)i_T * 4 + i_P] = exact_cos(x_5 * x_7[i_P]);
  }
  for (int i_P = lane; i_P < 4; i_P += 256) {
    x_8[(long long)i_T * 4 + i_P] = exact_sin(x_5 * x_7[i_P]);
  }
  __syncthreads();
  for (int i_P = lane; i_P < 4; i_P += 256) {
    const int v0 = i_P * 2;
    x_9[i_P] = x_4[(long long)i_T * 24 + (v0 + 16)] * x_6[(long long)i_T * 4 + i_P]
        - x_4[(long long)i_T * 24 + (v0 + 17)] * x_8[(long long)i_T * 4 + i_P];
  }
  for (int i_P = lane; i_P < 4; i_P += 256) {
    const int v1 = i_P * 2;
    x_10[i_P] = x_4[(long long)i_T * 24 + (v1 + 16)] * x_8[(long long)i_T * 4 + i_P]
        + x_4[(long long)i_T * 24 + (v1 + 17)] * x_6[(long long)i_T * 4 + i_P];
  }
  __syncthreads();
  for (int i2 = lane; i2 < 4 * 2; i2 += 256) {
    const int i_pair = i2 % 2;
    const int i_P = i2 / 2;
    x_11[i_P * 2 + i_pair] = (i_pair < 1) ? x_9[i_P] : x_10[i_P];
  }
  __syncthreads();
  for (int i_R = lane; i_R < 8; i_R += 256) {
    key_pe[(long long)(row_[i_T]) * 8 + i_R] = x_11[i_R];
  }
  for (int i3 = lane; i3 < 4 * 4; i3 += 256) {
    const int i_P = i3 % 4;
    const int i_H = i3 / 4;
    const int v4 = i_P * 2;
    x_12[i_H * 4 + i_P] = x_13[(long long)i_T * 96 + i_H * 24 + (v4 + 16)] * x_6[(long long)i_T * 4 + i_P]
        - x_13[(long long)i_T * 96 + i_H * 24 + (v4 + 17)] * x_8[(long long)i_T * 4 + i_P];
  }
  for (int i5 = lane; i5 < 4 * 4; i5 += 256) {
    const int i_P = i5 % 4;
    const int i_H = i5 / 4;
    const int v6 = i_P * 2;
    x_14[i_H * 4 + i_P] = x_13[(long long)i_T * 96 + i_H * 24 + (v6 + 16)] * x_8[(long long)i_T * 4 + i_P]
        + x_13[(long long)i_T * 96 + i_H * 24 + (v6 + 17)] * x_6[(long long)i_T * 4 + i_P];
  }
  __syncthreads();
  for (int i7 = lane; i7 < 4 * 4 * 2; i7 += 256) {
    const int i_pair = i7 % 2;
    const int i_P = i7 / 2 % 4;
    const int i_H = i7 / 2 / 4;
    x_15[(long long)i_T * 32 + i_H * 8 + i_P * 2 + i_pair] = (i_pair < 1) ? x_12[i_H * 4 + i_P] : x_14[i_H * 4 + i_P];
  }
  {
    int part8 = 2147483647;
    for (int i_S = lane; i_S < S; i_S += 256) {
      part8 = min(part8, ((pos_2[i_S] <= pos[i_T]) & (seq[i_T] == seq_2[i_S])) ? i_S : 2147483647);
    }
    const int total9 = over_block<Min, 256>(part8);
    if (lane == 0) {
      span_from[i_T] = total9;
    }
  }
  {
    int part10 = -2147483647 - 1;
    for (int i_S = lane; i_S < S; i_S += 256) {
      part10 = max(part10, ((pos_2[i_S] <= pos[i_T]) & (seq[i_T] == seq_2[i_S])) ? i_S + 1 : 0);
    }
    const int total11 = over_block<Max, 256>(part10);
    if (lane == 0) {
      span_to[i_T] = total11;
    }
  }
}

extern "C" __global__ void __launch_bounds__(256, 1) parts_wk_b_main_1(
    int items_1, int items_before_1, int items_2, int items_before_2, int S, int T, const float* __restrict__ x_2,
    const float* __restrict__ x_4, const float* __restrict__ weight, float* __restrict__ latent, const int* __restrict__ row_,
    const int* __restrict__ pos, float* __restrict__ x_6, const float* __restrict__ x_7, float* __restrict__ x_8,
    float* __restrict__ key_pe, const float* __restrict__ x_13, float* __restrict__ x_15, const int* __restrict__ pos_2,
    const int* __restrict__ seq, const int* __restrict__ seq_2, int* __restrict__ span_from, int* __restrict__ span_to,
    const float* __restrict__ wk_b, float* __restrict__ x_16) {
  run_main_1(blockIdx.x, items_1, items_before_1, S, T, x_2, x_4, weight, latent, row_, pos, x_6, x_7, x_8, key_pe, x_13, x_15, pos_2, seq, seq_2, span_from, span_to);
}

static __device__ __forceinline__ void run_few_2(
    int block, int items, int items_before, int T, const float* __restrict__ x_13, const float* __restrict__ wk_b,
    float* __restrict__ x_16) {
  __shared__ float kept0[4][8][32];
  __shared__ float staged_a[8][256];
  const auto a0 = [&](int i_H, int m_, int k_) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    const int i_N = clamp(k_, 0, 16 - 1);
    return i_N == k_ ? x_13[(long long)i_T * 96 + i_H * 24 + i_N] : 0.0f;
  };
  const auto finish = [&](int i_H, int i_T, int i_C, float product) {
    if ((i_T >= 0) & (i_T < T) & (i_C < 16)) {
      x_16[(long long)i_T * 64 + i_H * 16 + i_C] = product;
    }
  };
  const int item = block;
  const int warp = threadIdx.x / 32, octet = threadIdx.x % 32 / 4, quad = threadIdx.x % 4;
  const int blocks = (16 + 31) / 32;
  const int first_n = item % blocks * 32;
  const int row_blocks = (T + 7) / 8;
  const int first_row = item / blocks % row_blocks * 8;
  const int i_H = item / blocks / row_blocks;
  const int rows = min(8, T - first_row);
  float sum0[2][4] = {};
  float p0[4][8] = {};
  {
    const float* b0[4];
    #pragma unroll
    for (int i = 0; i < 4; i++) b0[i] = wk_b + i_H * 16 + (long long)min(first_n + i * 8 + octet, 16 - 1) * 64;
    for (int begin = 0; begin < 16; begin += 128) {
      const int first = begin + warp * 16;
      float words0[1][4][4];
      #pragma unroll
      for (int j = 0; j < 1; j++) if (first < 16) {
        const int k = first + j * 16 + quad * 4;
        for (int i = 0; i < 4; i++) read_floats(words0[j][i], b0[i] + k);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < rows * 128; i += 256) {
        const int r = i / 128, k = begin + i % 128;
        staged_a[r][i % 128] = k < 16 ? a0(i_H, first_row + r, k) : 0.0f;
      }
      __syncthreads();
      #pragma unroll
      for (int j = 0; j < 1; j++) if (first < 16) {
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
    finish(i_H, first_row + r, first_n + c, sum_of_warps(kept0, r, c % 8, c / 8));
  }
}

extern "C" __global__ void __launch_bounds__(256, 1) parts_wk_b_few_2(
    int items_1, int items_before_1, int items_2, int items_before_2, int S, int T, const float* __restrict__ x_2,
    const float* __restrict__ x_4, const float* __restrict__ weight, float* __restrict__ latent, const int* __restrict__ row_,
    const int* __restrict__ pos, float* __restrict__ x_6, const float* __restrict__ x_7, float* __restrict__ x_8,
    float* __restrict__ key_pe, const float* __restrict__ x_13, float* __restrict__ x_15, const int* __restrict__ pos_2,
    const int* __restrict__ seq, const int* __restrict__ seq_2, int* __restrict__ span_from, int* __restrict__ span_to,
    const float* __restrict__ wk_b, float* __restrict__ x_16) {
  run_few_2(blockIdx.x, items_2, items_before_2, T, x_13, wk_b, x_16);
}

extern "C" __global__ void __launch_bounds__(64, 4) parts_wk_b_tile_2(
    int items_1, int items_before_1, int items_2, int items_before_2, int S, int T, const float* __restrict__ x_2,
    const float* __restrict__ x_4, const float* __restrict__ weight, float* __restrict__ latent, const int* __restrict__ row_,
    const int* __restrict__ pos, float* __restrict__ x_6, const float* __restrict__ x_7, float* __restrict__ x_8,
    float* __restrict__ key_pe, const float* __restrict__ x_13, float* __restrict__ x_15, const int* __restrict__ pos_2,
    const int* __restrict__ seq, const int* __restrict__ seq_2, int* __restrict__ span_from, int* __restrict__ span_to,
    const float* __restrict__ wk_b, float* __restrict__ x_16) {
  __shared__ __align__(16) float tile_a[32][68];
  __shared__ __align__(16) float tile_b[32][68];
  const auto a0 = [&](int i_H, int m_, int k_) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    const int i_N = clamp(k_, 0, 16 - 1);
    return i_N == k_ ? x_13[(long long)i_T * 96 + i_H * 24 + i_N] : 0.0f;
  };
  const auto b0 = [&](int i_H, int n_, int k_) -> float {
    const int i_C = clamp(n_, 0, 16 - 1);
    const int i_N = clamp(k_, 0, 16 - 1);
    return i_N == k_ ? wk_b[i_C * 64 + i_H * 16 + i_N] : 0.0f;
  };
  const auto finish = [&](int i_H, int i_T, int i_C, float product) {
    if ((i_T >= 0) & (i_T < T) & (i_C < 16)) {
      x_16[(long long)i_T * 64 + i_H * 16 + i_C] = product;
    }
  };
  const int lane = threadIdx.x;
  const int item = blockIdx.x;
  const int first_n = item % ((16 + 63) / 64) * 64;
  const int row = item / ((16 + 63) / 64) % ((T + 63) / 64);
  const int batch = item / ((16 + 63) / 64) / ((T + 63) / 64);
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

extern "C" __global__ void __launch_bounds__(256, 1) parts_wk_b_all_parts(
    int items_1, int items_before_1, int items_2, int items_before_2, int S, int T, const float* __restrict__ x_2,
    const float* __restrict__ x_4, const float* __restrict__ weight, float* __restrict__ latent, const int* __restrict__ row_,
    const int* __restrict__ pos, float* __restrict__ x_6, const float* __restrict__ x_7, float* __restrict__ x_8,
    float* __restrict__ key_pe, const float* __restrict__ x_13, float* __restrict__ x_15, const int* __restrict__ pos_2,
    const int* __restrict__ seq, const int* __restrict__ seq_2, int* __restrict__ span_from, int* __restrict__ span_to,
    const float* __restrict__ wk_b, float* __restrict__ x_16) {
  int block = blockIdx.x;
  if (block < items_1) {
    run_main_1(block, items_1, items_before_1, S, T, x_2, x_4, weight, latent, row_, pos, x_6, x_7, x_8, key_pe, x_13, x_15, pos_2, seq, seq_2, span_from, span_to);
    return;
  }
  block -= items_1;
  run_few_2(block, items_2, items_before_2, T, x_13, wk_b, x_16);
}

// gemm_down_2: gemm
// of SwiGlu
//   read x: f32[T, 3, 16]
//   read down: f32[8, 16, 64]
//   read chosen: i32[T, 3]
//   write x_2: f32[T, 3, 64]

#include "dsk_few.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) gemm_down_2_few(
    int items, int items_before, int T, const float* __restrict__ x, const float* __restrict__ down,
    const int* __restrict__ chosen, float* __restrict__ x_2, int* __restrict__ order, int* __restrict__ starts,
    int* __restrict__ counts) {
  __shared__ float kept0[4][8][32];
  __shared__ unsigned marks[2];
  __shared__ unsigned short members[64];
  __shared__ float staged_a[8][256];
  const auto a0 = [&](int batch, int m_, int k_) -> float {
    const int m = clamp(m_, 0, T * 3 - 1);
    const int i_F_2 = clamp(k_, 0, 16 - 1);
    const int i_K = m % 3;
    const int i_T = m / 3;
    return i_F_2 == k_ ? x[(long long)i_T * 48 + i_K * 16 + i_F_2] : 0.0f;
  };
  const auto group_of = [&](int m) -> int {
    const int i_K = m % 3;
    const int i_T = m / 3;
    return chosen[(long long)i_T * 3 + i_K];
  };
  const auto finish = [&](int batch, int m, int i_D, float product) {
    if ((m >= 0) & (m < T * 3)) {
      const int i_K = m % 3;
      const int i_T = m / 3;
      x_2[(long long)i_T * 192 + i_K * 64 + i_D] = product;
    }
  };
  const int item = blockIdx.x;
  const int warp = threadIdx.x / 32, octet = threadIdx.x % 32 / 4, quad = threadIdx.x % 4;
  const int blocks = (64 + 31) / 32;
  const int first_n = item % blocks * 32;
  const int own = item / blocks % (T * 3);
  const int batch = item / blocks / (T * 3);
  const int i_E = group_of(own);
  if (i_E < 0 || i_E >= 8) {
    // Products of a row without a group are 0.
    for (int c = threadIdx.x; c < 32; c += 256) finish(batch, own, first_n + c, 0.0f);
    return;
  }
  for (int i = threadIdx.x; i < (T * 3 + 31) / 32 * 32; i += 256) {
    const bool mine = i < T * 3 && group_of(min(i, T * 3 - 1)) == i_E;
    const unsigned mark = __ballot_sync(0xffffffffu, mine);
    if (i % 32 == 0) marks[i / 32] = mark;
  }
  __syncthreads();
  int count = 0;
  for (int i = 0; i < own; i += 32) {
    const unsigned before = own - i < 32 ? (1u << (own - i)) - 1 : 0xffffffffu;
    if ((marks[i / 32] & before) != 0) return;  // the block of an earlier row does it
  }
  for (int i = threadIdx.x; i < (T * 3 + 31) / 32 * 32; i += 256) {
    int place = __popc(marks[i / 32] & ((1u << i % 32) - 1));
    for (int j = 0; j < i / 32; j++) place += __popc(marks[j]);
    if ((marks[i / 32] >> i % 32 & 1) != 0) members[place] = i;
  }
  for (int i = 0; i < (T * 3 + 31) / 32; i++) count += __popc(marks[i]);
  __syncthreads();
  for (int first_row = 0; first_row < count; first_row += 8) {
    const int rows = min(8, count - first_row);
    float sum0[2][4] = {};
    float p0[4][8] = {};
    {
      const float* const b0 = down + i_E * 1024 + min(first_n + octet * 4, 64 - 4);
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
          staged_a[r][i % 32] = k < 16 ? a0(batch, members[first_row + r], k) : 0.0f;
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
      finish(batch, members[first_row + r], first_n + c, sum_of_warps(kept0, r, c / 4, c % 4));
    }
    __syncthreads();
  }
}

extern "C" __global__ void __launch_bounds__(128, 2) gemm_down_2_sort(
    int items, int items_before, int T, const float* __restrict__ x, const float* __restrict__ down,
    const int* __restrict__ chosen, float* __restrict__ x_2, int* __restrict__ order, int* __restrict__ starts,
    int* __restrict__ counts) {
  __shared__ int part_sums[128];
  const auto group_of = [&](int m) -> int {
    const int i_K = m % 3;
    const int i_T = m / 3;
    return chosen[(long long)i_T * 3 + i_K];
  };
  const auto sorted_group = [&](int i) -> int {
    const int own = group_of(i);
    return (own < 0) | (own > 8) ? 8 : own;
  };
  const int lane = threadIdx.x;
  // Each thread counts a run of rows of its own.
  const int each = (T * 3 + 127) / 128;
  const int begin = lane * each;
  const int end = min(begin + each, T * 3);
  for (int e = 0; e < 9; e++) {
    counts[e * 128 + lane] = 0;
  }
  for (int i = begin; i < end; i++) {
    const int at = sorted_group(i) * 128 + lane;
    counts[at] = counts[at] + 1;
  }
  __syncthreads();
  // Where each group begins, and in it each thread's rows: a running sum over 9 x 128 counts.
  int sum = 0;
  for (int c = 0; c < 9; c++) {
    sum += counts[lane * 9 + c];
  }
  part_sums[lane] = sum;
  __syncthreads();
  int at = 0;
  for (int other = 0; other < lane; other++) {
    at += part_sums[other];
  }
  for (int c = lane * 9; c < (lane + 1) * 9; c++) {
    const int here = counts[c];
    counts[c] = at;
    if (c % 128 == 0) {
      starts[c / 128] = at;
    }
    at += here;
  }
  if (lane == 0) {
    starts[9] = T * 3;
  }
  __syncthreads();
  for (int i = begin; i < end; i++) {
    const int next = sorted_group(i) * 128 + lane;
    const int place = counts[next];
    order[place] = i;
    counts[next] = place + 1;
  }
}

extern "C" __global__ void __launch_bounds__(64, 4) gemm_down_2_tile(
    int items, int items_before, int T, const float* __restrict__ x, const float* __restrict__ down,
    const int* __restrict__ chosen, float* __restrict__ x_2, int* __restrict__ order, int* __restrict__ starts,
    int* __restrict__ counts) {
  __shared__ __align__(16) float tile_a[32][68];
  __shared__ __align__(16) float tile_b[32][68];
  const auto a0 = [&](int batch, int m_, int k_) -> float {
    const int m = clamp(m_, 0, T * 3 - 1);
    const int i_F_2 = clamp(k_, 0, 16 - 1);
    const int i_K = m % 3;
    const int i_T = m / 3;
    return i_F_2 == k_ ? x[(long long)i_T * 48 + i_K * 16 + i_F_2] : 0.0f;
  };
  const auto b0 = [&](int batch, int i_D, int k_, int i_E) -> float {
    const int i_F_2 = clamp(k_, 0, 16 - 1);
    return i_F_2 == k_ ? down[i_E * 1024 + i_F_2 * 64 + i_D] : 0.0f;
  };
  const auto finish = [&](int batch, int m, int i_D, float product) {
    if ((m >= 0) & (m < T * 3)) {
      const int i_K = m % 3;
      const int i_T = m / 3;
      x_2[(long long)i_T * 192 + i_K * 64 + i_D] = product;
    }
  };
  const auto tiles_of = [&](int expert) -> int {
    return (starts[expert + 1] - starts[expert] + 63) / 64;
  };
  const int lane = threadIdx.x;
  const int item = blockIdx.x;
  const int first_n = item % ((64 + 63) / 64) * 64;
  const int row = item / ((64 + 63) / 64) % ((T * 3 + 63) / 64 + 8);
  const int batch = item / ((64 + 63) / 64) / ((T * 3 + 63) / 64 + 8);
  const int own_m = lane / 8 * 8;
  const int own_n = lane % 8 * 8;
  int expert = 0;
  int tile = row;
  while (expert < 8 && tile >= tiles_of(expert)) {
    tile -= tiles_of(expert);
    expert++;
  }
  const int first_row = starts[expert] + tile * 64;
  const int end_row = starts[expert + 1];
  if (first_row >= end_row) {
    return;
  }
  float p0[8][8] = {};
  if (expert < 8) {
    for (int first = 0; first < 16; first += 32) {
      __syncthreads();
      #pragma unroll 16
      for (int i = lane; i < 2048; i += 64) {
        const int k = i / 32 % 4 * 8 + i % 8;
        const int r = i / 128 * 4 + i / 8 % 4;
        const int at = first + k;
        tile_a[k][r] = a0(batch, first_row + r < end_row ? order[first_row + r] : -1, at);
      }
      #pragma unroll 16
      for (int i = lane; i < 2048; i += 64) {
        const int k = i / 64;
        const int r = i % 64;
        const int at = first + k;
        tile_b[k][r] = b0(batch, first_n + r, at, expert);
      }
      __syncthreads();
      for (int k = 0; k < 32; k++) add_products(p0, &tile_a[k][own_m], &tile_b[k][own_n]);
    }
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
      finish(batch, first_row + own * 8 + r < end_row ? order[first_row + own * 8 + r] : -1, first_n + c, slab0[own][c]);
    }
  }
}

// parts_gate_up: 3 kernels in one launch
// of RmsNorm, DeepSeekMoe, SwiGlu
// part_1: rows
//   read h: f32[T, 64]
//   write x: f32[T]
// part_2: gemm
//   read h: f32[T, 64]
//   read weight: f32[64]
//   read gate: f32[64, 8]
//   write x_3: f32[T, 8]
// part_3: gemm
//   read h: f32[T, 64]
//   read weight: f32[64]
//   read gate_2: f32[64, 16]
//   read up: f32[64, 16]
//   write x_5: f32[T, 16]

#include "dsk_few.cuh"

static __device__ __forceinline__ void run_main_1(
    int block, int items, int items_before, int T, const float* __restrict__ h, float* __restrict__ x) {
  const int lane = threadIdx.x;
  const int i_T = block;
  {
    float part0 = 0.0f;
    for (int i_D = lane; i_D < 64; i_D += 256) {
      part0 = part0 + square(h[(long long)i_T * 64 + i_D]);
    }
    const float total1 = over_block<Sum, 256>(part0);
    if (lane == 0) {
      x[i_T] = total1;
    }
  }
}

static __device__ __forceinline__ void run_few_2(
    int block, int items, int items_before, int T, const float* __restrict__ h, const float* __restrict__ weight,
    const float* __restrict__ gate, float* __restrict__ x_3) {
  __shared__ float kept0[4][8][32];
  __shared__ float x_4_rows[8];
  __shared__ float staged_a[8][256];
  const auto a0 = [&](int batch, int m_, int i_D, float x_4) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    return h[(long long)i_T * 64 + i_D] * x_4 * weight[i_D];
  };
  const auto finish = [&](int batch, int i_T, int i_E, float product) {
    if ((i_T >= 0) & (i_T < T) & (i_E < 8)) {
      x_3[(long long)i_T * 8 + i_E] = product;
    }
  };
  const int item = block;
  const int warp = threadIdx.x / 32, octet = threadIdx.x % 32 / 4, quad = threadIdx.x % 4;
  const int blocks = (8 + 31) / 32;
  const int first_n = item % blocks * 32;
  const int row_blocks = (T + 7) / 8;
  const int first_row = item / blocks % row_blocks * 8;
  const int batch = item / blocks / row_blocks;
  const int rows = min(8, T - first_row);
  for (int r = warp; r < rows; r += 8) {
    const int i_T = first_row + r;
    const int lane = threadIdx.x % 32;
    float x_2;
    float x_4;
    {
      float part1 = 0.0f;
      #pragma unroll 16
      for (int i_D = lane; i_D < 64; i_D += 32) {
        part1 = part1 + square(h[(long long)i_T * 64 + i_D]);
      }
      x_2 = over_lanes<Sum, 32>(part1);
    }
    x_4 = rsqrtf(x_2 / 64.0f + 0.000001f);
    if (lane == 0) x_4_rows[r] = x_4;
  }
  __syncthreads();
  float sum0[2][4] = {};
  float p0[4][8] = {};
  {
    const float* const b0 = gate + min(first_n + octet * 4, 8 - 4);
    for (int begin = 0; begin < 64; begin += 64) {
      const int first = begin + warp * 8;
      float words0[2][1][4];
      #pragma unroll
      for (int j = 0; j < 2; j++) {
        const int k = first + j * 4 + quad;
        read_floats(words0[j][0], b0 + k * 8);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < rows * 64; i += 256) {
        const int r = i / 64, k = begin + i % 64;
        staged_a[r][i % 64] = a0(batch, first_row + r, k, x_4_rows[r]);
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

static __device__ __forceinline__ void run_few_3(
    int block, int items, int items_before, int T, const float* __restrict__ h, const float* __restrict__ weight,
    const float* __restrict__ gate_2, const float* __restrict__ up, float* __restrict__ x_5) {
  __shared__ float kept0[4][8][32];
  __shared__ float kept1[4][8][32];
  __shared__ float x_7_rows[8];
  __shared__ float staged_a[8][128];
  const auto a0 = [&](int batch, int m_, int i_D, float x_7) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    return h[(long long)i_T * 64 + i_D] * x_7 * weight[i_D];
  };
  const auto finish = [&](int batch, int i_T, int i_Fs, float product_2, float product_3) {
    if ((i_T >= 0) & (i_T < T) & (i_Fs < 16)) {
      x_5[(long long)i_T * 16 + i_Fs] = silu(product_2) * product_3;
    }
  };
  const int item = block;
  const int warp = threadIdx.x / 32, octet = threadIdx.x % 32 / 4, quad = threadIdx.x % 4;
  const int blocks = (16 + 31) / 32;
  const int first_n = item % blocks * 32;
  const int row_blocks = (T + 7) / 8;
  const int first_row = item / blocks % row_blocks * 8;
  const int batch = item / blocks / row_blocks;
  const int rows = min(8, T - first_row);
  for (int r = warp; r < rows; r += 8) {
    const int i_T = first_row + r;
    const int lane = threadIdx.x % 32;
    float x_6;
    float x_7;
    {
      float part1 = 0.0f;
      #pragma unroll 16
      for (int i_D = lane; i_D < 64; i_D += 32) {
        part1 = part1 + square(h[(long long)i_T * 64 + i_D]);
      }
      x_6 = over_lanes<Sum, 32>(part1);
    }
    x_7 = rsqrtf(x_6 / 64.0f + 0.000001f);
    if (lane == 0) x_7_rows[r] = x_7;
  }
  __syncthreads();
  float sum0[2][4] = {};
  float p0[4][8] = {};
  float sum1[2][4] = {};
  float p1[4][8] = {};
  {
    const float* const b0 = gate_2 + min(first_n + octet * 4, 16 - 4);
    const float* const b1 = up + min(first_n + octet * 4, 16 - 4);
    for (int begin = 0; begin < 64; begin += 64) {
      const int first = begin + warp * 8;
      float words0[2][1][4];
      float words1[2][1][4];
      #pragma unroll
      for (int j = 0; j < 2; j++) {
        const int k = first + j * 4 + quad;
        read_floats(words0[j][0], b0 + k * 16);
        read_floats(words1[j][0], b1 + k * 16);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < rows * 64; i += 256) {
        const int r = i / 64, k = begin + i % 64;
        staged_a[r][i % 64] = a0(batch, first_row + r, k, x_7_rows[r]);
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

extern "C" __global__ void __launch_bounds__(256, 1) parts_gate_up_all_parts(
    int items_1, int items_before_1, int items_2, int items_before_2, int items_3, int items_before_3, int T,
    const float* __restrict__ h, float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ gate,
    float* __restrict__ x_3, const float* __restrict__ gate_2, const float* __restrict__ up, float* __restrict__ x_5) {
  int block = blockIdx.x;
  if (block < items_1) {
    run_main_1(block, items_1, items_before_1, T, h, x);
    return;
  }
  block -= items_1;
  if (block < items_2) {
    run_few_2(block, items_2, items_before_2, T, h, weight, gate, x_3);
    return;
  }
  block -= items_2;
  run_few_3(block, items_3, items_before_3, T, h, weight, gate_2, up, x_5);
}

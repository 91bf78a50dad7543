// parts_mul: 3 kernels in one launch
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

#include "dsk.cuh"

static __device__ __forceinline__ void run_main_1(
    int block, int items, int items_before, int T, const float* __restrict__ h, float* __restrict__ x) {
  const int lane = threadIdx.x;
  const int i_T = block;
  {
    float part0 = 0.0f;
    for (int i_D = lane; i_D < 64; i_D += 64) {
      part0 = part0 + square(h[(long long)i_T * 64 + i_D]);
    }
    const float total1 = over_block<Sum, 64>(part0);
    if (lane == 0) {
      x[i_T] = total1;
    }
  }
}

extern "C" __global__ void __launch_bounds__(64, 4) parts_mul_main_1(
    int items_1, int items_before_1, int items_2, int items_before_2, int items_3, int items_before_3, int T,
    const float* __restrict__ h, float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ gate,
    float* __restrict__ x_3, const float* __restrict__ gate_2, const float* __restrict__ up, float* __restrict__ x_5) {
  run_main_1(blockIdx.x, items_1, items_before_1, T, h, x);
}

static __device__ __forceinline__ void run_few_2(
    int block, int items, int items_before, int T, const float* __restrict__ h, const float* __restrict__ weight,
    const float* __restrict__ gate, float* __restrict__ x_3) {
  const auto a0 = [&](int batch, int m_, int i_D, float x_4) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    return ((h[(long long)i_T * 64 + i_D] * x_4) * weight[i_D]);
  };
  const auto finish = [&](int batch, int i_T, int i_E, float product) {
    if ((i_T >= 0) & (i_T < T) & (i_E < 8)) {
      x_3[(long long)i_T * 8 + i_E] = product;
    }
  };
  const int lane = threadIdx.x;
  const int item = block;
  const int blocks = (8 + 63) / 64;
  const int n = item % blocks * 64 + lane;
  const int row_blocks = (T + 3) / 4;
  const int first = item / blocks % row_blocks * 4;
  const int batch = item / blocks / row_blocks;
  const int rows = min(4, T - first);
  float x_4_rows[4];
  #pragma unroll
  for (int r = 0; r < 4; r++) {
    if (r < rows) {
      const int i_T = first + r;
      float x_2;
      float x_4;
      {
        float part1 = 0.0f;
        for (int i_D = lane; i_D < 64; i_D += 64) {
          part1 = part1 + square(h[(long long)i_T * 64 + i_D]);
        }
        x_2 = over_block<Sum, 64>(part1);
      }
      x_4 = rsqrtf(((x_2 / 64.0f) + 0.000001f));
      x_4_rows[r] = x_4;
    }
  }
  const int i_T = first;
  const int i_E = min(n, 8 - 1);
  float sum0[4] = {};
  for (int i_D = 0; i_D < 64; i_D++) {
    const float b = gate[i_D * 8 + i_E];
    if (rows == 1) {
      const float x_4 = x_4_rows[0];
      sum0[0] += ((h[(long long)i_T * 64 + i_D] * x_4) * weight[i_D]) * b;
    } else {
      #pragma unroll
      for (int r = 0; r < 4; r++) sum0[r] += a0(batch, first + r, i_D, x_4_rows[r]) * b;
    }
  }
  if (n < 8) {
    #pragma unroll
    for (int r = 0; r < 4; r++) if (r < rows) finish(batch, first + r, n, sum0[r]);
  }
}

extern "C" __global__ void __launch_bounds__(64, 4) parts_mul_few_2(
    int items_1, int items_before_1, int items_2, int items_before_2, int items_3, int items_before_3, int T,
    const float* __restrict__ h, float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ gate,
    float* __restrict__ x_3, const float* __restrict__ gate_2, const float* __restrict__ up, float* __restrict__ x_5) {
  run_few_2(blockIdx.x, items_2, items_before_2, T, h, weight, gate, x_3);
}

extern "C" __global__ void __launch_bounds__(64, 4) parts_mul_tile_2(
    int items_1, int items_before_1, int items_2, int items_before_2, int items_3, int items_before_3, int T,
    const float* __restrict__ h, float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ gate,
    float* __restrict__ x_3, const float* __restrict__ gate_2, const float* __restrict__ up, float* __restrict__ x_5) {
  __shared__ __align__(16) float tile_a[32][68];
  __shared__ __align__(16) float tile_b[32][68];
  __shared__ float x_4_of_row[64];
  const auto a0 = [&](int batch, int m_, int i_D, float x_4) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    return ((h[(long long)i_T * 64 + i_D] * x_4) * weight[i_D]);
  };
  const auto b0 = [&](int batch, int n_, int i_D) -> float {
    const int i_E = clamp(n_, 0, 8 - 1);
    return gate[i_D * 8 + i_E];
  };
  const auto x_4_of = [&](int m_) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    float x_2;
    float x_4;
    {
      float sum0 = 0.0f;
      for (int i_D = 0; i_D < 64; i_D++) {
        sum0 = sum0 + square(h[(long long)i_T * 64 + i_D]);
      }
      x_2 = sum0;
    }
    x_4 = rsqrtf(((x_2 / 64.0f) + 0.000001f));
    return x_4;
  };
  const auto finish = [&](int batch, int i_T, int i_E, float product) {
    if ((i_T >= 0) & (i_T < T) & (i_E < 8)) {
      x_3[(long long)i_T * 8 + i_E] = product;
    }
  };
  const int lane = threadIdx.x;
  const int item = blockIdx.x;
  const int first_n = item % ((8 + 63) / 64) * 64;
  const int row = item / ((8 + 63) / 64) % ((T + 63) / 64);
  const int batch = item / ((8 + 63) / 64) / ((T + 63) / 64);
  const int own_m = lane / 8 * 8;
  const int own_n = lane % 8 * 8;
  const int first_m = row * 64;
  if (lane < 64) {
    x_4_of_row[lane] = x_4_of(first_m + lane);
  }
  float p0[8][8] = {};
  for (int first = 0; first < 64; first += 32) {
    __syncthreads();
    #pragma unroll 4
    for (int i = lane; i < 2048; i += 64) {
      const int k = i % 32;
      const int r = i / 32;
      const int at = first + k;
      tile_a[k][r] = a0(batch, first_m + r, at, x_4_of_row[r]);
    }
    #pragma unroll 4
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

static __device__ __forceinline__ void run_few_3(
    int block, int items, int items_before, int T, const float* __restrict__ h, const float* __restrict__ weight,
    const float* __restrict__ gate_2, const float* __restrict__ up, float* __restrict__ x_5) {
  const auto a0 = [&](int batch, int m_, int i_D, float x_7) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    return ((h[(long long)i_T * 64 + i_D] * x_7) * weight[i_D]);
  };
  const auto finish = [&](int batch, int i_T, int i_Fs, float product_2, float product_3) {
    if ((i_T >= 0) & (i_T < T) & (i_Fs < 16)) {
      x_5[(long long)i_T * 16 + i_Fs] = (silu(product_2) * product_3);
    }
  };
  const int lane = threadIdx.x;
  const int item = block;
  const int blocks = (16 + 63) / 64;
  const int n = item % blocks * 64 + lane;
  const int row_blocks = (T + 3) / 4;
  const int first = item / blocks % row_blocks * 4;
  const int batch = item / blocks / row_blocks;
  const int rows = min(4, T - first);
  float x_7_rows[4];
  #pragma unroll
  for (int r = 0; r < 4; r++) {
    if (r < rows) {
      const int i_T = first + r;
      float x_6;
      float x_7;
      {
        float part1 = 0.0f;
        for (int i_D = lane; i_D < 64; i_D += 64) {
          part1 = part1 + square(h[(long long)i_T * 64 + i_D]);
        }
        x_6 = over_block<Sum, 64>(part1);
      }
      x_7 = rsqrtf(((x_6 / 64.0f) + 0.000001f));
      x_7_rows[r] = x_7;
    }
  }
  const int i_T = first;
  const int i_Fs = min(n, 16 - 1);
  float sum0[4] = {};
  float sum1[4] = {};
  for (int i_D = 0; i_D < 64; i_D++) {
    const float b0 = gate_2[i_D * 16 + i_Fs];
    const float b1 = up[i_D * 16 + i_Fs];
    if (rows == 1) {
      const float x_7 = x_7_rows[0];
      const float a = ((h[(long long)i_T * 64 + i_D] * x_7) * weight[i_D]);
      sum0[0] += a * b0;
      sum1[0] += a * b1;
    } else {
      #pragma unroll
      for (int r = 0; r < 4; r++) sum0[r] += a0(batch, first + r, i_D, x_7_rows[r]) * b0;
      #pragma unroll
      for (int r = 0; r < 4; r++) sum1[r] += a0(batch, first + r, i_D, x_7_rows[r]) * b1;
    }
  }
  if (n < 16) {
    #pragma unroll
    for (int r = 0; r < 4; r++) if (r < rows) finish(batch, first + r, n, sum0[r], sum1[r]);
  }
}

extern "C" __global__ void __launch_bounds__(64, 4) parts_mul_few_3(
    int items_1, int items_before_1, int items_2, int items_before_2, int items_3, int items_before_3, int T,
    const float* __restrict__ h, float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ gate,
    float* __restrict__ x_3, const float* __restrict__ gate_2, const float* __restrict__ up, float* __restrict__ x_5) {
  run_few_3(blockIdx.x, items_3, items_before_3, T, h, weight, gate_2, up, x_5);
}

extern "C" __global__ void __launch_bounds__(128, 2) parts_mul_tile_3(
    int items_1, int items_before_1, int items_2, int items_before_2, int items_3, int items_before_3, int T,
    const float* __restrict__ h, float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ gate,
    float* __restrict__ x_3, const float* __restrict__ gate_2, const float* __restrict__ up, float* __restrict__ x_5) {
  __shared__ __align__(16) float tile_a[32][68];
  __shared__ __align__(16) float tile_b[32][68];
  __shared__ float x_7_of_row[64];
  const auto a0 = [&](int batch, int m_, int i_D, float x_7) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    return ((h[(long long)i_T * 64 + i_D] * x_7) * weight[i_D]);
  };
  const auto b0 = [&](int batch, int n_, int i_D) -> float {
    const int i_Fs = clamp(n_, 0, 16 - 1);
    return gate_2[i_D * 16 + i_Fs];
  };
  const auto b1 = [&](int batch, int n_, int i_D) -> float {
    const int i_Fs = clamp(n_, 0, 16 - 1);
    return up[i_D * 16 + i_Fs];
  };
  const auto x_7_of = [&](int m_) -> float {
    const int i_T = clamp(m_, 0, T - 1);
    float x_6;
    float x_7;
    {
      float sum0 = 0.0f;
      for (int i_D = 0; i_D < 64; i_D++) {
        sum0 = sum0 + square(h[(long long)i_T * 64 + i_D]);
      }
      x_6 = sum0;
    }
    x_7 = rsqrtf(((x_6 / 64.0f) + 0.000001f));
    return x_7;
  };
  const auto finish = [&](int batch, int i_T, int i_Fs, float product_2, float product_3) {
    if ((i_T >= 0) & (i_T < T) & (i_Fs < 16)) {
      x_5[(long long)i_T * 16 + i_Fs] = (silu(product_2) * product_3);
    }
  };
  const int lane = threadIdx.x;
  const int item = blockIdx.x;
  const int first_n = item % ((16 + 63) / 64) * 64;
  const int row = item / ((16 + 63) / 64) % ((T + 63) / 64);
  const int batch = item / ((16 + 63) / 64) / ((T + 63) / 64);
  const int own_m = lane / 8 * 4;
  const int own_n = lane % 8 * 8;
  const int first_m = row * 64;
  if (lane < 64) {
    x_7_of_row[lane] = x_7_of(first_m + lane);
  }
  float p0[4][8] = {};
  float p1[4][8] = {};
  for (int first = 0; first < 64; first += 32) {
    __syncthreads();
    #pragma unroll 4
    for (int i = lane; i < 2048; i += 128) {
      const int k = i % 32;
      const int r = i / 32;
      const int at = first + k;
      tile_a[k][r] = a0(batch, first_m + r, at, x_7_of_row[r]);
    }
    #pragma unroll 4
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
    #pragma unroll 4
    for (int i = lane; i < 2048; i += 128) {
      const int k = i % 32;
      const int r = i / 32;
      const int at = first + k;
      tile_a[k][r] = a0(batch, first_m + r, at, x_7_of_row[r]);
    }
    #pragma unroll 4
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

extern "C" __global__ void __launch_bounds__(64, 4) parts_mul_all_parts(
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

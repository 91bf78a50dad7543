// rows_rms_norm: rows
// of Embedding, RmsNorm
//   update x: f32[T, 64]
//   read tokens_: i32[T]
//   read weight: f32[160, 64]
//   write x_4: f32[T, 64]
//   read weight_2: f32[64]

#include "dsk.cuh"

extern "C" __global__ void __launch_bounds__(32, 8) rows_rms_norm_main(
    int items, int items_before, int T, float* __restrict__ x, const int* __restrict__ tokens_,
    const float* __restrict__ weight, float* __restrict__ x_4, const float* __restrict__ weight_2) {
  const int lane = threadIdx.x;
  const int i_T = blockIdx.x;
  float x_2;
  float x_3;
  for (int i_D = lane; i_D < 64; i_D += 32) {
    const int v0 = tokens_[i_T];
    x[(long long)i_T * 64 + i_D] = (v0 < 0) ? 0.0f : weight[min(max(v0, 0), 159) * 64 + i_D];
  }
  __syncthreads();
  {
    float part1 = 0.0f;
    for (int i_D = lane; i_D < 64; i_D += 32) {
      part1 = part1 + square(x[(long long)i_T * 64 + i_D]);
    }
    x_2 = over_lanes<Sum, 32>(part1);
  }
  x_3 = rsqrtf(x_2 / 64.0f + 0.000001f);
  for (int i_D = lane; i_D < 64; i_D += 32) {
    x_4[(long long)i_T * 64 + i_D] = x[(long long)i_T * 64 + i_D] * x_3 * weight_2[i_D];
  }
}

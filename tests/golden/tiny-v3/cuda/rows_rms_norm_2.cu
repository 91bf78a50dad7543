// rows_rms_norm_2: rows
// of DeepSeekMoe, Decoder, RmsNorm
//   read x_2: f32[T]
//   read picked: f32[T, 3]
//   read chosen: i32[T, 3]
//   read x_4: f32[T, 3, 64]
//   update x_5: f32[T, 64]
//   read h: f32[T, 64]
//   read x_6: f32[T, 64]
//   write x_9: f32[T, 64]
//   read weight_2: f32[64]

#include "dsk.cuh"

extern "C" __global__ void __launch_bounds__(64, 4) rows_rms_norm_2_main(
    int items, int items_before, int T, const float* __restrict__ x_2, const float* __restrict__ picked,
    const int* __restrict__ chosen, const float* __restrict__ x_4, float* __restrict__ x_5, const float* __restrict__ h,
    const float* __restrict__ x_6, float* __restrict__ x_9, const float* __restrict__ weight_2) {
  __shared__ float weight[3];
  __shared__ float x_3[64];
  const int lane = threadIdx.x;
  const int i_T = blockIdx.x;
  float x;
  float x_7;
  float x_8;
  x = x_2[i_T] + 1e-20f;
  for (int i_K = lane; i_K < 3; i_K += 64) {
    weight[i_K] = picked[(long long)i_T * 3 + i_K] / x * 2.5f;
  }
  __syncthreads();
  for (int i_D = lane; i_D < 64; i_D += 64) {
    float sum0 = 0.0f;
    for (int i_K = 0; i_K < 3; i_K++) {
      sum0 = sum0 + ((chosen[(long long)i_T * 3 + i_K] < 0) ? 0.0f : x_4[(long long)i_T * 192 + i_K * 64 + i_D] * weight[i_K]);
    }
    x_3[i_D] = sum0;
  }
  __syncthreads();
  for (int i_D = lane; i_D < 64; i_D += 64) {
    x_5[(long long)i_T * 64 + i_D] = h[(long long)i_T * 64 + i_D] + (x_6[(long long)i_T * 64 + i_D] + x_3[i_D]);
  }
  __syncthreads();
  {
    float part1 = 0.0f;
    for (int i_D = lane; i_D < 64; i_D += 64) {
      part1 = part1 + square(x_5[(long long)i_T * 64 + i_D]);
    }
    x_7 = over_block<Sum, 64>(part1);
  }
  x_8 = rsqrtf(x_7 / 64.0f + 0.000001f);
  for (int i_D = lane; i_D < 64; i_D += 64) {
    x_9[(long long)i_T * 64 + i_D] = x_5[(long long)i_T * 64 + i_D] * x_8 * weight_2[i_D];
  }
}

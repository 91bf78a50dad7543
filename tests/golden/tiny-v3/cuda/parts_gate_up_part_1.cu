// parts_gate_up, part 1: rows
//   read h: f32[T, 64]
//   write x: f32[T]

#include "dsk.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) parts_gate_up_main_1(
    int items_1, int items_before_1, int items_2, int items_before_2, int items_3, int items_before_3, int T,
    const float* __restrict__ h, float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ gate,
    float* __restrict__ x_3, const float* __restrict__ gate_2, const float* __restrict__ up, float* __restrict__ x_5) {
  const int lane = threadIdx.x;
  const int i_T = blockIdx.x;
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

// rows_embedding_transposed: rows
// of Embedding.transposed
//   write x: f32[B, 64]
//   read rows_: i32[B]
//   read hidden: f32[T, 64]

#include "dsk.cuh"

extern "C" __global__ void __launch_bounds__(32, 8) rows_embedding_transposed_main(
    int items, int items_before, int B, int T, float* __restrict__ x, const int* __restrict__ rows_,
    const float* __restrict__ hidden) {
  const int lane = threadIdx.x;
  const int i_B = blockIdx.x;
  for (int i_D = lane; i_D < 64; i_D += 32) {
    const int v0 = rows_[i_B];
    x[(long long)i_B * 64 + i_D] = (v0 < 0) ? 0.0f : hidden[(long long)(min(max(v0, 0), T - 1)) * 64 + i_D];
  }
}

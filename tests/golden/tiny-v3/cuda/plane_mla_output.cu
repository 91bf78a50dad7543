// plane_mla_output: plane
// of Mla, Mla.output
//   read x_2: f32[T, 4, 16]
//   read latent: f32[cache, 16]
//   read slot: i32[S]
//   read x_3: f32[T, 4, 4, 2]
//   read key_pe: f32[cache, 8]
//   read pos: i32[S]
//   read pos_2: i32[T]
//   read seq: i32[T]
//   read seq_2: i32[S]
//   write x_4: f32[T, 4, 16]
//   read span_from: i32[T]
//   read span_to: i32[T]

#include "dsk.cuh"

extern "C" __global__ void __launch_bounds__(128, 2) plane_mla_output_main(
    int items, int items_before, int S, int T, const float* __restrict__ x_2, const float* __restrict__ latent,
    const int* __restrict__ slot, const float* __restrict__ x_3, const float* __restrict__ key_pe, const int* __restrict__ pos,
    const int* __restrict__ pos_2, const int* __restrict__ seq, const int* __restrict__ seq_2, float* __restrict__ x_4,
    const int* __restrict__ span_from, const int* __restrict__ span_to, float* __restrict__ x_of_all) {
  float* const x = x_of_all + ((long long)blockIdx.x * 4 + threadIdx.x / 32) * S;
  const int lane = threadIdx.x;
  const int count = T * 4;
  const int team = lane / 32;
  for (int block = blockIdx.x; block < items; block += gridDim.x) {
    // Teams without a row repeat the last one, as barriers want it, and store nothing.
    const bool inside = block * 4 + team < count;
    const int item = min(block * 4 + team, count - 1);
    const int lane = threadIdx.x % 32;
    const int i_H = item % 4;
    const int i_T = item / 4;
    const int from_column = span_from[i_T];
    const int to_column = span_to[i_T];
    float peak;
    float sum_;
    float inverse;
    for (int i_S = from_column + lane; i_S < to_column; i_S += 32) {
      float sum0 = 0.0f;
      {
        for (int i_C = 0; i_C < 16; i_C++) {
          sum0 += x_2[(long long)i_T * 64 + i_H * 16 + i_C] * latent[(long long)(slot[i_S]) * 16 + i_C];
        }
      }
      {
        for (int i_R = 0; i_R < 8; i_R++) {
          sum0 += x_3[(long long)i_T * 32 + i_H * 8 + i_R] * key_pe[(long long)(slot[i_S]) * 8 + i_R];
        }
      }
      x[i_S] = sum0;
    }
    __syncwarp();
    for (int i_S = from_column + lane; i_S < to_column; i_S += 32) {
      x[i_S] = x[i_S] * 0.20412415f;
    }
    __syncwarp();
    {
      float part1 = (-infinity());
      for (int i_S = from_column + lane; i_S < to_column; i_S += 32) {
        part1 = max_nan(part1, (!((pos[i_S] <= pos_2[i_T]) & (seq[i_T] == seq_2[i_S]))) ? (-infinity()) : x[i_S]);
      }
      peak = over_lanes<Max, 32>(part1);
    }
    __syncwarp();
    for (int i_S = from_column + lane; i_S < to_column; i_S += 32) {
      const float v2 = peak;
      x[i_S] = (!((pos[i_S] <= pos_2[i_T]) & (seq[i_T] == seq_2[i_S]))) ? 0.0f
          : expf(x[i_S] - ((v2 == (-infinity())) ? 0.0f : v2));
    }
    __syncwarp();
    {
      float part3 = 0.0f;
      for (int i_S = from_column + lane; i_S < to_column; i_S += 32) {
        part3 = part3 + x[i_S];
      }
      sum_ = over_lanes<Sum, 32>(part3);
    }
    const float v4 = sum_;
    inverse = (v4 == 0.0f) ? 0.0f : 1.0f / v4;
    __syncwarp();
    for (int i_S = from_column + lane; i_S < to_column; i_S += 32) {
      x[i_S] = x[i_S] * inverse;
    }
    __syncwarp();
    for (int i_C = lane; i_C < 16; i_C += 32) {
      float sum5 = 0.0f;
      for (int i_S = from_column; i_S < to_column; i_S++) {
        sum5 += x[i_S] * latent[(long long)(slot[i_S]) * 16 + i_C];
      }
      if (inside) {
        x_4[(long long)i_T * 64 + i_H * 16 + i_C] = sum5;
      }
    }
    __syncwarp();
  }
}

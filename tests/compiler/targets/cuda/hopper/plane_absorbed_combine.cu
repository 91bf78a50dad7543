// plane_absorbed: attention for the tensor cores of sm_90a
//   read x_2: bf16[T, 128, 512], read latent: bf16[cache, 512], read slot: i32[S], read x_3: bf16[T, 128, 64]
//   read key_pe: bf16[cache, 64], read pos: i32[S], read pos_2: i32[T], read seq: i32[T], read seq_2: i32[S]
//   write x_4: bf16[T, 128, 512], read span_from: i32[T], read span_to: i32[T]
// Scores of 576 terms, values of 512: 2176 FLOP for each row and column that it sees.
// Tiles of 64 rows, blocks of 64 columns, 5 halves of them in shared memory.
#include "dsk_sm90.cuh"

constexpr int ROWS = 64;
// Of a score, for powers of 2.
constexpr float SCALE = 0.195101102f;

extern "C" __global__ void __launch_bounds__(128, 4) plane_absorbed_combine(
    int items, int items_before, int S, int T, const bf16* __restrict__ x_2, const bf16* __restrict__ latent,
    const int* __restrict__ slot, const bf16* __restrict__ x_3, const bf16* __restrict__ key_pe, const int* __restrict__ pos,
    const int* __restrict__ pos_2, const int* __restrict__ seq, const int* __restrict__ seq_2, bf16* __restrict__ x_4,
    const int* __restrict__ span_from, const int* __restrict__ span_to, const float* __restrict__ partials,
    const float* __restrict__ marks) {
  const int m_end = T * 128, heads = 1, row_tiles = (m_end + ROWS - 1) / ROWS;
  const int shares = shares_of(row_tiles, (int)((long long)S * min(T, 1) / max(1, T) / 64), 132, 264, 4, 85);
  if (shares == 1) return;  // results are there
  const int own = threadIdx.x / 128, column = threadIdx.x % 128 * 4;
  if (own >= 1) return;
  for (int item = blockIdx.x; item < (m_end + 0) / 1 * heads; item += gridDim.x) {
    const int m = item % ((m_end + 0) / 1) * 1 + own, head = item / ((m_end + 0) / 1);
    if (m >= m_end) continue;
    const long long first = (long long)(head * row_tiles + m / ROWS) * shares * ROWS + m % ROWS;
    float largest = -infinity();
    for (int i = 0; i < shares; i++) largest = fmaxf(largest, marks[(first + (long long)i * ROWS) * 2]);
    const float base = largest == -infinity() ? 0.0f : largest * SCALE;
    float sum_ = 0.0f, sums[4] = {};
    #pragma unroll 4
    for (int i = 0; i < shares; i++) {
      const long long place = first + (long long)i * ROWS;
      const float weight = power_of_2(marks[place * 2] * SCALE - base);
      const float4 kept = *reinterpret_cast<const float4*>(partials + place * 512 + column);
      sum_ += weight * marks[place * 2 + 1];
      sums[0] += weight * kept.x, sums[1] += weight * kept.y, sums[2] += weight * kept.z, sums[3] += weight * kept.w;
    }
    const int i_H = m % 128;
    const int i_T = m / 128;
    const float v0 = sum_;
    const float inverse = (v0 == 0.0f) ? 0.0f : 1.0f / v0;
    const float factor = inverse;
    bf16* const to = x_4 + (long long)i_T * 65536 + i_H * 512 + column;
    *reinterpret_cast<uint2*>(to) = uint2{pack_bf16(sums[0] * factor, sums[1] * factor),
        pack_bf16(sums[2] * factor, sums[3] * factor)};
  }
}

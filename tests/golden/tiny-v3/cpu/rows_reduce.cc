// rows_reduce: rows
//   read x_2: f32[T, 24]
//   write x_4: f32[T, 24]
//   read weight: f32[24]
//   read x_5: f32[T, 24]
//   write x_6: f32[T]
#include "dsk.h"

namespace rows_reduce {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t T = extents[0];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return 0;
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x_2 = (const float*)args[0];
  float* __restrict x_4 = (float*)args[1];
  const float* __restrict weight = (const float*)args[2];
  const float* __restrict x_5 = (const float*)args[3];
  float* __restrict x_6 = (float*)args[4];
  const int64_t T = extents[0];
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float x;
    float x_3;
    float sum0 = 0.0f;
    #pragma omp simd reduction(+ : sum0)
    for (int64_t i_Q = 0; i_Q < 24; i_Q++) {
      sum0 += (dsk_get(x_2[i_T * 24 + i_Q]) * dsk_get(x_2[i_T * 24 + i_Q]));
    }
    x = sum0;
    x_3 = (float(1) / dsk_sqrt(((x / 24.0f) + 0.000001f)));
    #pragma omp simd
    for (int64_t i_Q = 0; i_Q < 24; i_Q++) {
      dsk_put(x_4[i_T * 24 + i_Q], ((dsk_get(x_2[i_T * 24 + i_Q]) * x_3) * dsk_get(weight[i_Q])));
    }
    float sum1 = 0.0f;
    #pragma omp simd reduction(+ : sum1)
    for (int64_t i_C = 0; i_C < 16; i_C++) {
      sum1 += (dsk_get(x_5[i_T * 24 + i_C]) * dsk_get(x_5[i_T * 24 + i_C]));
    }
    dsk_put(x_6[i_T], sum1);
  }
}

}

extern const dsk_kernel dsk_rows_reduce;
const dsk_kernel dsk_rows_reduce = { "rows_reduce", 5, 1, rows_reduce::items, rows_reduce::scratch, rows_reduce::run, nullptr };

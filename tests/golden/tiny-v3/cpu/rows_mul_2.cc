// rows_mul_2: rows
//   read h: f32[T, 64]
//   write x_3: f32[T, 64]
//   read weight: f32[64]
#include "dsk.h"

namespace rows_mul_2 {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t T = extents[0];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return 0;
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict h = (const float*)args[0];
  float* __restrict x_3 = (float*)args[1];
  const float* __restrict weight = (const float*)args[2];
  const int64_t T = extents[0];
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float x;
    float x_2;
    float sum0 = 0.0f;
    #pragma omp simd reduction(+ : sum0)
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      sum0 += (dsk_get(h[i_T * 64 + i_D]) * dsk_get(h[i_T * 64 + i_D]));
    }
    x = sum0;
    x_2 = (float(1) / dsk_sqrt(((x / 64.0f) + 0.000001f)));
    #pragma omp simd
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      dsk_put(x_3[i_T * 64 + i_D], ((dsk_get(h[i_T * 64 + i_D]) * x_2) * dsk_get(weight[i_D])));
    }
  }
}

}

extern const dsk_kernel dsk_rows_mul_2;
const dsk_kernel dsk_rows_mul_2 = { "rows_mul_2", 3, 1, rows_mul_2::items, rows_mul_2::scratch, rows_mul_2::run, nullptr };

// rows_mul_4: rows
//   update x: f32[T, 64]
//   read h: f32[T, 64]
//   read x_2: f32[T, 64]
//   write x_5: f32[T, 64]
//   read weight: f32[64]
#include "dsk.h"

namespace rows_mul_4 {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t T = extents[0];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return 0;
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  float* __restrict x = (float*)args[0];
  const float* __restrict h = (const float*)args[1];
  const float* __restrict x_2 = (const float*)args[2];
  float* __restrict x_5 = (float*)args[3];
  const float* __restrict weight = (const float*)args[4];
  const int64_t T = extents[0];
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float x_3;
    float x_4;
    #pragma omp simd
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      dsk_put(x[i_T * 64 + i_D], (dsk_get(h[i_T * 64 + i_D]) + dsk_get(x_2[i_T * 64 + i_D])));
    }
    float sum0 = 0.0f;
    #pragma omp simd reduction(+ : sum0)
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      sum0 += (dsk_get(x[i_T * 64 + i_D]) * dsk_get(x[i_T * 64 + i_D]));
    }
    x_3 = sum0;
    x_4 = (float(1) / dsk_sqrt(((x_3 / 64.0f) + 0.000001f)));
    #pragma omp simd
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      dsk_put(x_5[i_T * 64 + i_D], ((dsk_get(x[i_T * 64 + i_D]) * x_4) * dsk_get(weight[i_D])));
    }
  }
}

}

extern const dsk_kernel dsk_rows_mul_4;
const dsk_kernel dsk_rows_mul_4 = {"rows_mul_4", 5, 1, rows_mul_4::items, rows_mul_4::scratch, rows_mul_4::run};

// rows_mul_3: rows
//   write x: f32[T, 96]
//   read x_2: f32[T, 96]
//   read x_3: f32[T, 96]
#include "dsk.h"

namespace rows_mul_3 {

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
  const float* __restrict x_2 = (const float*)args[1];
  const float* __restrict x_3 = (const float*)args[2];
  const int64_t T = extents[0];
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    #pragma omp simd
    for (int64_t i_F = 0; i_F < 96; i_F++) {
      dsk_put(x[i_T * 96 + i_F], (dsk_silu(dsk_get(x_2[i_T * 96 + i_F])) * dsk_get(x_3[i_T * 96 + i_F])));
    }
  }
}

}

extern const dsk_kernel dsk_rows_mul_3;
const dsk_kernel dsk_rows_mul_3 = {"rows_mul_3", 3, 1, rows_mul_3::items, rows_mul_3::scratch, rows_mul_3::run};

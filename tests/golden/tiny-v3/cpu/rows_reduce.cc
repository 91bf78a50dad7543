// rows_reduce: rows
//   read x: f32[T, 24]
//   write x_2: f32[T]
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
  const float* __restrict x = (const float*)args[0];
  float* __restrict x_2 = (float*)args[1];
  const int64_t T = extents[0];
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float sum0 = 0.0f;
    #pragma omp simd reduction(+ : sum0)
    for (int64_t i_C = 0; i_C < 16; i_C++) {
      sum0 += (dsk_get(x[i_T * 24 + i_C]) * dsk_get(x[i_T * 24 + i_C]));
    }
    dsk_put(x_2[i_T], sum0);
  }
}

}

extern const dsk_kernel dsk_rows_reduce;
const dsk_kernel dsk_rows_reduce = {"rows_reduce", 2, 1, rows_reduce::items, rows_reduce::scratch, rows_reduce::run};

// rows_concat: rows
//   read x_2: f32[T, 4, 24]
//   read x_3: f32[T, 4]
//   read x_4: f32[T, 4]
//   write x_6: f32[T, 4, 4, 2]
#include "dsk.h"

namespace rows_concat {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t T = extents[0];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<float>(4 * 4) +
         dsk_bytes<float>(4 * 4);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x_2 = (const float*)args[0];
  const float* __restrict x_3 = (const float*)args[1];
  const float* __restrict x_4 = (const float*)args[2];
  float* __restrict x_6 = (float*)args[3];
  const int64_t T = extents[0];
  float* __restrict x = dsk_take<float>(scratch, 4 * 4);
  float* __restrict x_5 = dsk_take<float>(scratch, 4 * 4);
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    #pragma omp simd
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      dsk_put(x[i_H * 4], ((dsk_get(x_2[i_T * 96 + i_H * 24 + 16]) * dsk_get(x_3[i_T * 4])) - (dsk_get(x_2[i_T * 96 + i_H * 24 + 17]) * dsk_get(x_4[i_T * 4]))));
      dsk_put(x[i_H * 4 + 1], ((dsk_get(x_2[i_T * 96 + i_H * 24 + 18]) * dsk_get(x_3[i_T * 4 + 1])) - (dsk_get(x_2[i_T * 96 + i_H * 24 + 19]) * dsk_get(x_4[i_T * 4 + 1]))));
      dsk_put(x[i_H * 4 + 2], ((dsk_get(x_2[i_T * 96 + i_H * 24 + 20]) * dsk_get(x_3[i_T * 4 + 2])) - (dsk_get(x_2[i_T * 96 + i_H * 24 + 21]) * dsk_get(x_4[i_T * 4 + 2]))));
      dsk_put(x[i_H * 4 + 3], ((dsk_get(x_2[i_T * 96 + i_H * 24 + 22]) * dsk_get(x_3[i_T * 4 + 3])) - (dsk_get(x_2[i_T * 96 + i_H * 24 + 23]) * dsk_get(x_4[i_T * 4 + 3]))));
    }
    #pragma omp simd
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      dsk_put(x_5[i_H * 4], ((dsk_get(x_2[i_T * 96 + i_H * 24 + 16]) * dsk_get(x_4[i_T * 4])) + (dsk_get(x_2[i_T * 96 + i_H * 24 + 17]) * dsk_get(x_3[i_T * 4]))));
      dsk_put(x_5[i_H * 4 + 1], ((dsk_get(x_2[i_T * 96 + i_H * 24 + 18]) * dsk_get(x_4[i_T * 4 + 1])) + (dsk_get(x_2[i_T * 96 + i_H * 24 + 19]) * dsk_get(x_3[i_T * 4 + 1]))));
      dsk_put(x_5[i_H * 4 + 2], ((dsk_get(x_2[i_T * 96 + i_H * 24 + 20]) * dsk_get(x_4[i_T * 4 + 2])) + (dsk_get(x_2[i_T * 96 + i_H * 24 + 21]) * dsk_get(x_3[i_T * 4 + 2]))));
      dsk_put(x_5[i_H * 4 + 3], ((dsk_get(x_2[i_T * 96 + i_H * 24 + 22]) * dsk_get(x_4[i_T * 4 + 3])) + (dsk_get(x_2[i_T * 96 + i_H * 24 + 23]) * dsk_get(x_3[i_T * 4 + 3]))));
    }
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      #pragma omp simd
      for (int64_t i_P = 0; i_P < 4; i_P++) {
        dsk_put(x_6[i_T * 32 + i_H * 8 + i_P * 2], dsk_get(x[i_H * 4 + i_P]));
        dsk_put(x_6[i_T * 32 + i_H * 8 + i_P * 2 + 1], dsk_get(x_5[i_H * 4 + i_P]));
      }
    }
  }
}

}

extern const dsk_kernel dsk_rows_concat;
const dsk_kernel dsk_rows_concat = {"rows_concat", 4, 1, rows_concat::items, rows_concat::scratch, rows_concat::run};

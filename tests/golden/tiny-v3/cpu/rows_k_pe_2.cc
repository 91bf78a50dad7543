// rows_k_pe_2: rows
//   read x_2: f32[T, 24]
//   read x_3: f32[T, 4]
//   read x_4: f32[T, 4]
//   write key_pe: f32[cache, 8]
//   read row: i32[T]
#include "dsk.h"

namespace rows_k_pe_2 {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t T = extents[0];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<float>(4) +
         dsk_bytes<float>(4) +
         dsk_bytes<float>(4 * 2);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x_2 = (const float*)args[0];
  const float* __restrict x_3 = (const float*)args[1];
  const float* __restrict x_4 = (const float*)args[2];
  float* __restrict key_pe = (float*)args[3];
  const int32_t* __restrict row = (const int32_t*)args[4];
  const int64_t T = extents[0];
  float* __restrict x = dsk_take<float>(scratch, 4);
  float* __restrict x_5 = dsk_take<float>(scratch, 4);
  float* __restrict x_6 = dsk_take<float>(scratch, 4 * 2);
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    dsk_put(x[0], ((dsk_get(x_2[i_T * 24 + 16]) * dsk_get(x_3[i_T * 4])) - (dsk_get(x_2[i_T * 24 + 17]) * dsk_get(x_4[i_T * 4]))));
    dsk_put(x[1], ((dsk_get(x_2[i_T * 24 + 18]) * dsk_get(x_3[i_T * 4 + 1])) - (dsk_get(x_2[i_T * 24 + 19]) * dsk_get(x_4[i_T * 4 + 1]))));
    dsk_put(x[2], ((dsk_get(x_2[i_T * 24 + 20]) * dsk_get(x_3[i_T * 4 + 2])) - (dsk_get(x_2[i_T * 24 + 21]) * dsk_get(x_4[i_T * 4 + 2]))));
    dsk_put(x[3], ((dsk_get(x_2[i_T * 24 + 22]) * dsk_get(x_3[i_T * 4 + 3])) - (dsk_get(x_2[i_T * 24 + 23]) * dsk_get(x_4[i_T * 4 + 3]))));
    dsk_put(x_5[0], ((dsk_get(x_2[i_T * 24 + 16]) * dsk_get(x_4[i_T * 4])) + (dsk_get(x_2[i_T * 24 + 17]) * dsk_get(x_3[i_T * 4]))));
    dsk_put(x_5[1], ((dsk_get(x_2[i_T * 24 + 18]) * dsk_get(x_4[i_T * 4 + 1])) + (dsk_get(x_2[i_T * 24 + 19]) * dsk_get(x_3[i_T * 4 + 1]))));
    dsk_put(x_5[2], ((dsk_get(x_2[i_T * 24 + 20]) * dsk_get(x_4[i_T * 4 + 2])) + (dsk_get(x_2[i_T * 24 + 21]) * dsk_get(x_3[i_T * 4 + 2]))));
    dsk_put(x_5[3], ((dsk_get(x_2[i_T * 24 + 22]) * dsk_get(x_4[i_T * 4 + 3])) + (dsk_get(x_2[i_T * 24 + 23]) * dsk_get(x_3[i_T * 4 + 3]))));
    #pragma omp simd
    for (int64_t i_P = 0; i_P < 4; i_P++) {
      dsk_put(x_6[i_P * 2], dsk_get(x[i_P]));
      dsk_put(x_6[i_P * 2 + 1], dsk_get(x_5[i_P]));
    }
    #pragma omp simd
    for (int64_t i_R = 0; i_R < 8; i_R++) {
      dsk_put(key_pe[(int64_t(dsk_get(row[i_T]))) * 8 + i_R], dsk_get(x_6[i_R]));
    }
  }
}

}

extern const dsk_kernel dsk_rows_k_pe_2;
const dsk_kernel dsk_rows_k_pe_2 = {"rows_k_pe_2", 5, 1, rows_k_pe_2::items, rows_k_pe_2::scratch, rows_k_pe_2::run};

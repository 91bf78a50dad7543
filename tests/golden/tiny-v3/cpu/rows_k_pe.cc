// rows_k_pe: rows
//   read pos: i32[T]
//   update x_2: f32[T, 4]
//   read x_3: f32[4]
//   update x_4: f32[T, 4]
//   read x_6: f32[T, 24]
//   write key_pe: f32[cache, 8]
//   read row: i32[T]
//   read x_10: f32[T, 4, 24]
//   write x_12: f32[T, 4, 4, 2]
#include "dsk.h"

namespace rows_k_pe {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t T = extents[0];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<float>(4) +
         dsk_bytes<float>(4) +
         dsk_bytes<float>(4 * 2) +
         dsk_bytes<float>(4 * 4) +
         dsk_bytes<float>(4 * 4);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const int32_t* __restrict pos = (const int32_t*)args[0];
  float* __restrict x_2 = (float*)args[1];
  const float* __restrict x_3 = (const float*)args[2];
  float* __restrict x_4 = (float*)args[3];
  const float* __restrict x_6 = (const float*)args[4];
  float* __restrict key_pe = (float*)args[5];
  const int32_t* __restrict row = (const int32_t*)args[6];
  const float* __restrict x_10 = (const float*)args[7];
  float* __restrict x_12 = (float*)args[8];
  const int64_t T = extents[0];
  float* __restrict x_5 = dsk_take<float>(scratch, 4);
  float* __restrict x_7 = dsk_take<float>(scratch, 4);
  float* __restrict x_8 = dsk_take<float>(scratch, 4 * 2);
  float* __restrict x_9 = dsk_take<float>(scratch, 4 * 4);
  float* __restrict x_11 = dsk_take<float>(scratch, 4 * 4);
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float x;
    x = float(dsk_get(pos[i_T]));
    dsk_put(x_2[i_T * 4], dsk_cos((x * dsk_get(x_3[0]))));
    dsk_put(x_2[i_T * 4 + 1], dsk_cos((x * dsk_get(x_3[1]))));
    dsk_put(x_2[i_T * 4 + 2], dsk_cos((x * dsk_get(x_3[2]))));
    dsk_put(x_2[i_T * 4 + 3], dsk_cos((x * dsk_get(x_3[3]))));
    dsk_put(x_4[i_T * 4], dsk_sin((x * dsk_get(x_3[0]))));
    dsk_put(x_4[i_T * 4 + 1], dsk_sin((x * dsk_get(x_3[1]))));
    dsk_put(x_4[i_T * 4 + 2], dsk_sin((x * dsk_get(x_3[2]))));
    dsk_put(x_4[i_T * 4 + 3], dsk_sin((x * dsk_get(x_3[3]))));
    dsk_put(x_5[0], ((dsk_get(x_6[i_T * 24 + 16]) * dsk_get(x_2[i_T * 4])) - (dsk_get(x_6[i_T * 24 + 17]) * dsk_get(x_4[i_T * 4]))));
    dsk_put(x_5[1], ((dsk_get(x_6[i_T * 24 + 18]) * dsk_get(x_2[i_T * 4 + 1])) - (dsk_get(x_6[i_T * 24 + 19]) * dsk_get(x_4[i_T * 4 + 1]))));
    dsk_put(x_5[2], ((dsk_get(x_6[i_T * 24 + 20]) * dsk_get(x_2[i_T * 4 + 2])) - (dsk_get(x_6[i_T * 24 + 21]) * dsk_get(x_4[i_T * 4 + 2]))));
    dsk_put(x_5[3], ((dsk_get(x_6[i_T * 24 + 22]) * dsk_get(x_2[i_T * 4 + 3])) - (dsk_get(x_6[i_T * 24 + 23]) * dsk_get(x_4[i_T * 4 + 3]))));
    dsk_put(x_7[0], ((dsk_get(x_6[i_T * 24 + 16]) * dsk_get(x_4[i_T * 4])) + (dsk_get(x_6[i_T * 24 + 17]) * dsk_get(x_2[i_T * 4]))));
    dsk_put(x_7[1], ((dsk_get(x_6[i_T * 24 + 18]) * dsk_get(x_4[i_T * 4 + 1])) + (dsk_get(x_6[i_T * 24 + 19]) * dsk_get(x_2[i_T * 4 + 1]))));
    dsk_put(x_7[2], ((dsk_get(x_6[i_T * 24 + 20]) * dsk_get(x_4[i_T * 4 + 2])) + (dsk_get(x_6[i_T * 24 + 21]) * dsk_get(x_2[i_T * 4 + 2]))));
    dsk_put(x_7[3], ((dsk_get(x_6[i_T * 24 + 22]) * dsk_get(x_4[i_T * 4 + 3])) + (dsk_get(x_6[i_T * 24 + 23]) * dsk_get(x_2[i_T * 4 + 3]))));
    #pragma omp simd
    for (int64_t i_P = 0; i_P < 4; i_P++) {
      dsk_put(x_8[i_P * 2], dsk_get(x_5[i_P]));
      dsk_put(x_8[i_P * 2 + 1], dsk_get(x_7[i_P]));
    }
    #pragma omp simd
    for (int64_t i_R = 0; i_R < 8; i_R++) {
      dsk_put(key_pe[(int64_t(dsk_get(row[i_T]))) * 8 + i_R], dsk_get(x_8[i_R]));
    }
    #pragma omp simd
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      dsk_put(x_9[i_H * 4], ((dsk_get(x_10[i_T * 96 + i_H * 24 + 16]) * dsk_get(x_2[i_T * 4])) - (dsk_get(x_10[i_T * 96 + i_H * 24 + 17]) * dsk_get(x_4[i_T * 4]))));
      dsk_put(x_9[i_H * 4 + 1], ((dsk_get(x_10[i_T * 96 + i_H * 24 + 18]) * dsk_get(x_2[i_T * 4 + 1])) - (dsk_get(x_10[i_T * 96 + i_H * 24 + 19]) * dsk_get(x_4[i_T * 4 + 1]))));
      dsk_put(x_9[i_H * 4 + 2], ((dsk_get(x_10[i_T * 96 + i_H * 24 + 20]) * dsk_get(x_2[i_T * 4 + 2])) - (dsk_get(x_10[i_T * 96 + i_H * 24 + 21]) * dsk_get(x_4[i_T * 4 + 2]))));
      dsk_put(x_9[i_H * 4 + 3], ((dsk_get(x_10[i_T * 96 + i_H * 24 + 22]) * dsk_get(x_2[i_T * 4 + 3])) - (dsk_get(x_10[i_T * 96 + i_H * 24 + 23]) * dsk_get(x_4[i_T * 4 + 3]))));
    }
    #pragma omp simd
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      dsk_put(x_11[i_H * 4], ((dsk_get(x_10[i_T * 96 + i_H * 24 + 16]) * dsk_get(x_4[i_T * 4])) + (dsk_get(x_10[i_T * 96 + i_H * 24 + 17]) * dsk_get(x_2[i_T * 4]))));
      dsk_put(x_11[i_H * 4 + 1], ((dsk_get(x_10[i_T * 96 + i_H * 24 + 18]) * dsk_get(x_4[i_T * 4 + 1])) + (dsk_get(x_10[i_T * 96 + i_H * 24 + 19]) * dsk_get(x_2[i_T * 4 + 1]))));
      dsk_put(x_11[i_H * 4 + 2], ((dsk_get(x_10[i_T * 96 + i_H * 24 + 20]) * dsk_get(x_4[i_T * 4 + 2])) + (dsk_get(x_10[i_T * 96 + i_H * 24 + 21]) * dsk_get(x_2[i_T * 4 + 2]))));
      dsk_put(x_11[i_H * 4 + 3], ((dsk_get(x_10[i_T * 96 + i_H * 24 + 22]) * dsk_get(x_4[i_T * 4 + 3])) + (dsk_get(x_10[i_T * 96 + i_H * 24 + 23]) * dsk_get(x_2[i_T * 4 + 3]))));
    }
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      #pragma omp simd
      for (int64_t i_P = 0; i_P < 4; i_P++) {
        dsk_put(x_12[i_T * 32 + i_H * 8 + i_P * 2], dsk_get(x_9[i_H * 4 + i_P]));
        dsk_put(x_12[i_T * 32 + i_H * 8 + i_P * 2 + 1], dsk_get(x_11[i_H * 4 + i_P]));
      }
    }
  }
}

}

extern const dsk_kernel dsk_rows_k_pe;
const dsk_kernel dsk_rows_k_pe = {"rows_k_pe", 9, 1, rows_k_pe::items, rows_k_pe::scratch, rows_k_pe::run};

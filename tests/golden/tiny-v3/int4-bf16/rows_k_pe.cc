// rows_k_pe: rows
//   read x_2: f32[T]
//   read x_4: f32[T, 24]
//   read weight: f32[16]
//   write latent: bf16[cache, 16]
//   read row: i32[T]
//   read x_6: f32[T, 4]
//   read x_7: f32[T, 4]
//   write key_pe: bf16[cache, 8]
//   read x_11: f32[T, 4, 24]
//   write x_13: f32[T, 4, 4, 2]
#include "dsk.h"

namespace rows_k_pe {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t T = extents[0];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<float>(16) +
         dsk_bytes<float>(4) +
         dsk_bytes<float>(4) +
         dsk_bytes<float>(4 * 2) +
         dsk_bytes<float>(4 * 4) +
         dsk_bytes<float>(4 * 4);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x_2 = (const float*)args[0];
  const float* __restrict x_4 = (const float*)args[1];
  const float* __restrict weight = (const float*)args[2];
  bf16* __restrict latent = (bf16*)args[3];
  const int32_t* __restrict row = (const int32_t*)args[4];
  const float* __restrict x_6 = (const float*)args[5];
  const float* __restrict x_7 = (const float*)args[6];
  bf16* __restrict key_pe = (bf16*)args[7];
  const float* __restrict x_11 = (const float*)args[8];
  float* __restrict x_13 = (float*)args[9];
  const int64_t T = extents[0];
  float* __restrict x_3 = dsk_take<float>(scratch, 16);
  float* __restrict x_5 = dsk_take<float>(scratch, 4);
  float* __restrict x_8 = dsk_take<float>(scratch, 4);
  float* __restrict x_9 = dsk_take<float>(scratch, 4 * 2);
  float* __restrict x_10 = dsk_take<float>(scratch, 4 * 4);
  float* __restrict x_12 = dsk_take<float>(scratch, 4 * 4);
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float x;
    x = (float(1) / dsk_sqrt(((dsk_get(x_2[i_T]) / 16.0f) + 0.000001f)));
    #pragma omp simd
    for (int64_t i_C = 0; i_C < 16; i_C++) {
      dsk_put(x_3[i_C], ((dsk_get(x_4[i_T * 24 + i_C]) * x) * dsk_get(weight[i_C])));
    }
    #pragma omp simd
    for (int64_t i_C = 0; i_C < 16; i_C++) {
      dsk_put(latent[(int64_t(dsk_get(row[i_T]))) * 16 + i_C], dsk_get(x_3[i_C]));
    }
    dsk_put(x_5[0], ((dsk_get(x_4[i_T * 24 + 16]) * dsk_get(x_6[i_T * 4])) - (dsk_get(x_4[i_T * 24 + 17]) * dsk_get(x_7[i_T * 4]))));
    dsk_put(x_5[1], ((dsk_get(x_4[i_T * 24 + 18]) * dsk_get(x_6[i_T * 4 + 1])) - (dsk_get(x_4[i_T * 24 + 19]) * dsk_get(x_7[i_T * 4 + 1]))));
    dsk_put(x_5[2], ((dsk_get(x_4[i_T * 24 + 20]) * dsk_get(x_6[i_T * 4 + 2])) - (dsk_get(x_4[i_T * 24 + 21]) * dsk_get(x_7[i_T * 4 + 2]))));
    dsk_put(x_5[3], ((dsk_get(x_4[i_T * 24 + 22]) * dsk_get(x_6[i_T * 4 + 3])) - (dsk_get(x_4[i_T * 24 + 23]) * dsk_get(x_7[i_T * 4 + 3]))));
    dsk_put(x_8[0], ((dsk_get(x_4[i_T * 24 + 16]) * dsk_get(x_7[i_T * 4])) + (dsk_get(x_4[i_T * 24 + 17]) * dsk_get(x_6[i_T * 4]))));
    dsk_put(x_8[1], ((dsk_get(x_4[i_T * 24 + 18]) * dsk_get(x_7[i_T * 4 + 1])) + (dsk_get(x_4[i_T * 24 + 19]) * dsk_get(x_6[i_T * 4 + 1]))));
    dsk_put(x_8[2], ((dsk_get(x_4[i_T * 24 + 20]) * dsk_get(x_7[i_T * 4 + 2])) + (dsk_get(x_4[i_T * 24 + 21]) * dsk_get(x_6[i_T * 4 + 2]))));
    dsk_put(x_8[3], ((dsk_get(x_4[i_T * 24 + 22]) * dsk_get(x_7[i_T * 4 + 3])) + (dsk_get(x_4[i_T * 24 + 23]) * dsk_get(x_6[i_T * 4 + 3]))));
    #pragma omp simd
    for (int64_t i_P = 0; i_P < 4; i_P++) {
      dsk_put(x_9[i_P * 2], dsk_get(x_5[i_P]));
      dsk_put(x_9[i_P * 2 + 1], dsk_get(x_8[i_P]));
    }
    #pragma omp simd
    for (int64_t i_R = 0; i_R < 8; i_R++) {
      dsk_put(key_pe[(int64_t(dsk_get(row[i_T]))) * 8 + i_R], dsk_get(x_9[i_R]));
    }
    #pragma omp simd
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      dsk_put(x_10[i_H * 4], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 16]) * dsk_get(x_6[i_T * 4])) - (dsk_get(x_11[i_T * 96 + i_H * 24 + 17]) * dsk_get(x_7[i_T * 4]))));
      dsk_put(x_10[i_H * 4 + 1], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 18]) * dsk_get(x_6[i_T * 4 + 1])) - (dsk_get(x_11[i_T * 96 + i_H * 24 + 19]) * dsk_get(x_7[i_T * 4 + 1]))));
      dsk_put(x_10[i_H * 4 + 2], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 20]) * dsk_get(x_6[i_T * 4 + 2])) - (dsk_get(x_11[i_T * 96 + i_H * 24 + 21]) * dsk_get(x_7[i_T * 4 + 2]))));
      dsk_put(x_10[i_H * 4 + 3], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 22]) * dsk_get(x_6[i_T * 4 + 3])) - (dsk_get(x_11[i_T * 96 + i_H * 24 + 23]) * dsk_get(x_7[i_T * 4 + 3]))));
    }
    #pragma omp simd
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      dsk_put(x_12[i_H * 4], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 16]) * dsk_get(x_7[i_T * 4])) + (dsk_get(x_11[i_T * 96 + i_H * 24 + 17]) * dsk_get(x_6[i_T * 4]))));
      dsk_put(x_12[i_H * 4 + 1], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 18]) * dsk_get(x_7[i_T * 4 + 1])) + (dsk_get(x_11[i_T * 96 + i_H * 24 + 19]) * dsk_get(x_6[i_T * 4 + 1]))));
      dsk_put(x_12[i_H * 4 + 2], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 20]) * dsk_get(x_7[i_T * 4 + 2])) + (dsk_get(x_11[i_T * 96 + i_H * 24 + 21]) * dsk_get(x_6[i_T * 4 + 2]))));
      dsk_put(x_12[i_H * 4 + 3], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 22]) * dsk_get(x_7[i_T * 4 + 3])) + (dsk_get(x_11[i_T * 96 + i_H * 24 + 23]) * dsk_get(x_6[i_T * 4 + 3]))));
    }
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      #pragma omp simd
      for (int64_t i_P = 0; i_P < 4; i_P++) {
        dsk_put(x_13[i_T * 32 + i_H * 8 + i_P * 2], dsk_get(x_10[i_H * 4 + i_P]));
        dsk_put(x_13[i_T * 32 + i_H * 8 + i_P * 2 + 1], dsk_get(x_12[i_H * 4 + i_P]));
      }
    }
  }
}

}

extern const dsk_kernel dsk_rows_k_pe;
const dsk_kernel dsk_rows_k_pe = { "rows_k_pe", 10, 1, rows_k_pe::items, rows_k_pe::scratch, rows_k_pe::run, nullptr };

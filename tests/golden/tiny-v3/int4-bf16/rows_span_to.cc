// rows_span_to: rows
//   read x_2: f32[T]
//   read x_4: f32[T, 24]
//   read weight: f32[16]
//   write latent: bf16[cache, 16]
//   read row: i32[T]
//   read pos: i32[T]
//   update x_6: f32[T, 4]
//   read x_7: f32[4]
//   update x_8: f32[T, 4]
//   write key_pe: bf16[cache, 8]
//   read x_13: f32[T, 4, 24]
//   write x_15: f32[T, 4, 4, 2]
//   read pos_2: i32[S]
//   read seq: i32[T]
//   read seq_2: i32[S]
//   write span_from: i32[T]
//   write span_to: i32[T]
#include "dsk.h"

namespace rows_span_to {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t S = extents[0];
  const int64_t T = extents[1];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t S = extents[0];
  const int64_t T = extents[1];
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
  const int32_t* __restrict pos = (const int32_t*)args[5];
  float* __restrict x_6 = (float*)args[6];
  const float* __restrict x_7 = (const float*)args[7];
  float* __restrict x_8 = (float*)args[8];
  bf16* __restrict key_pe = (bf16*)args[9];
  const float* __restrict x_13 = (const float*)args[10];
  float* __restrict x_15 = (float*)args[11];
  const int32_t* __restrict pos_2 = (const int32_t*)args[12];
  const int32_t* __restrict seq = (const int32_t*)args[13];
  const int32_t* __restrict seq_2 = (const int32_t*)args[14];
  int32_t* __restrict span_from = (int32_t*)args[15];
  int32_t* __restrict span_to = (int32_t*)args[16];
  const int64_t S = extents[0];
  const int64_t T = extents[1];
  float* __restrict x_3 = dsk_take<float>(scratch, 16);
  float* __restrict x_9 = dsk_take<float>(scratch, 4);
  float* __restrict x_10 = dsk_take<float>(scratch, 4);
  float* __restrict x_11 = dsk_take<float>(scratch, 4 * 2);
  float* __restrict x_12 = dsk_take<float>(scratch, 4 * 4);
  float* __restrict x_14 = dsk_take<float>(scratch, 4 * 4);
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float x;
    float x_5;
    x = (float(1) / dsk_sqrt(((dsk_get(x_2[i_T]) / 16.0f) + 0.000001f)));
    #pragma omp simd
    for (int64_t i_C = 0; i_C < 16; i_C++) {
      dsk_put(x_3[i_C], ((dsk_get(x_4[i_T * 24 + i_C]) * x) * dsk_get(weight[i_C])));
    }
    #pragma omp simd
    for (int64_t i_C = 0; i_C < 16; i_C++) {
      dsk_put(latent[(int64_t(dsk_get(row[i_T]))) * 16 + i_C], dsk_get(x_3[i_C]));
    }
    x_5 = float(dsk_get(pos[i_T]));
    dsk_put(x_6[i_T * 4], dsk_cos((x_5 * dsk_get(x_7[0]))));
    dsk_put(x_6[i_T * 4 + 1], dsk_cos((x_5 * dsk_get(x_7[1]))));
    dsk_put(x_6[i_T * 4 + 2], dsk_cos((x_5 * dsk_get(x_7[2]))));
    dsk_put(x_6[i_T * 4 + 3], dsk_cos((x_5 * dsk_get(x_7[3]))));
    dsk_put(x_8[i_T * 4], dsk_sin((x_5 * dsk_get(x_7[0]))));
    dsk_put(x_8[i_T * 4 + 1], dsk_sin((x_5 * dsk_get(x_7[1]))));
    dsk_put(x_8[i_T * 4 + 2], dsk_sin((x_5 * dsk_get(x_7[2]))));
    dsk_put(x_8[i_T * 4 + 3], dsk_sin((x_5 * dsk_get(x_7[3]))));
    dsk_put(x_9[0], ((dsk_get(x_4[i_T * 24 + 16]) * dsk_get(x_6[i_T * 4])) - (dsk_get(x_4[i_T * 24 + 17]) * dsk_get(x_8[i_T * 4]))));
    dsk_put(x_9[1], ((dsk_get(x_4[i_T * 24 + 18]) * dsk_get(x_6[i_T * 4 + 1])) - (dsk_get(x_4[i_T * 24 + 19]) * dsk_get(x_8[i_T * 4 + 1]))));
    dsk_put(x_9[2], ((dsk_get(x_4[i_T * 24 + 20]) * dsk_get(x_6[i_T * 4 + 2])) - (dsk_get(x_4[i_T * 24 + 21]) * dsk_get(x_8[i_T * 4 + 2]))));
    dsk_put(x_9[3], ((dsk_get(x_4[i_T * 24 + 22]) * dsk_get(x_6[i_T * 4 + 3])) - (dsk_get(x_4[i_T * 24 + 23]) * dsk_get(x_8[i_T * 4 + 3]))));
    dsk_put(x_10[0], ((dsk_get(x_4[i_T * 24 + 16]) * dsk_get(x_8[i_T * 4])) + (dsk_get(x_4[i_T * 24 + 17]) * dsk_get(x_6[i_T * 4]))));
    dsk_put(x_10[1], ((dsk_get(x_4[i_T * 24 + 18]) * dsk_get(x_8[i_T * 4 + 1])) + (dsk_get(x_4[i_T * 24 + 19]) * dsk_get(x_6[i_T * 4 + 1]))));
    dsk_put(x_10[2], ((dsk_get(x_4[i_T * 24 + 20]) * dsk_get(x_8[i_T * 4 + 2])) + (dsk_get(x_4[i_T * 24 + 21]) * dsk_get(x_6[i_T * 4 + 2]))));
    dsk_put(x_10[3], ((dsk_get(x_4[i_T * 24 + 22]) * dsk_get(x_8[i_T * 4 + 3])) + (dsk_get(x_4[i_T * 24 + 23]) * dsk_get(x_6[i_T * 4 + 3]))));
    #pragma omp simd
    for (int64_t i_P = 0; i_P < 4; i_P++) {
      dsk_put(x_11[i_P * 2], dsk_get(x_9[i_P]));
      dsk_put(x_11[i_P * 2 + 1], dsk_get(x_10[i_P]));
    }
    #pragma omp simd
    for (int64_t i_R = 0; i_R < 8; i_R++) {
      dsk_put(key_pe[(int64_t(dsk_get(row[i_T]))) * 8 + i_R], dsk_get(x_11[i_R]));
    }
    #pragma omp simd
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      dsk_put(x_12[i_H * 4], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 16]) * dsk_get(x_6[i_T * 4])) - (dsk_get(x_13[i_T * 96 + i_H * 24 + 17]) * dsk_get(x_8[i_T * 4]))));
      dsk_put(x_12[i_H * 4 + 1], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 18]) * dsk_get(x_6[i_T * 4 + 1])) - (dsk_get(x_13[i_T * 96 + i_H * 24 + 19]) * dsk_get(x_8[i_T * 4 + 1]))));
      dsk_put(x_12[i_H * 4 + 2], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 20]) * dsk_get(x_6[i_T * 4 + 2])) - (dsk_get(x_13[i_T * 96 + i_H * 24 + 21]) * dsk_get(x_8[i_T * 4 + 2]))));
      dsk_put(x_12[i_H * 4 + 3], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 22]) * dsk_get(x_6[i_T * 4 + 3])) - (dsk_get(x_13[i_T * 96 + i_H * 24 + 23]) * dsk_get(x_8[i_T * 4 + 3]))));
    }
    #pragma omp simd
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      dsk_put(x_14[i_H * 4], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 16]) * dsk_get(x_8[i_T * 4])) + (dsk_get(x_13[i_T * 96 + i_H * 24 + 17]) * dsk_get(x_6[i_T * 4]))));
      dsk_put(x_14[i_H * 4 + 1], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 18]) * dsk_get(x_8[i_T * 4 + 1])) + (dsk_get(x_13[i_T * 96 + i_H * 24 + 19]) * dsk_get(x_6[i_T * 4 + 1]))));
      dsk_put(x_14[i_H * 4 + 2], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 20]) * dsk_get(x_8[i_T * 4 + 2])) + (dsk_get(x_13[i_T * 96 + i_H * 24 + 21]) * dsk_get(x_6[i_T * 4 + 2]))));
      dsk_put(x_14[i_H * 4 + 3], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 22]) * dsk_get(x_8[i_T * 4 + 3])) + (dsk_get(x_13[i_T * 96 + i_H * 24 + 23]) * dsk_get(x_6[i_T * 4 + 3]))));
    }
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      #pragma omp simd
      for (int64_t i_P = 0; i_P < 4; i_P++) {
        dsk_put(x_15[i_T * 32 + i_H * 8 + i_P * 2], dsk_get(x_12[i_H * 4 + i_P]));
        dsk_put(x_15[i_T * 32 + i_H * 8 + i_P * 2 + 1], dsk_get(x_14[i_H * 4 + i_P]));
      }
    }
    int32_t sum0 = INT32_MAX;
    for (int64_t i_S = 0; i_S < S; i_S++) {
      sum0 = dsk_min<int32_t>(sum0, (((dsk_get(pos_2[i_S]) <= dsk_get(pos[i_T])) & (dsk_get(seq[i_T]) == dsk_get(seq_2[i_S]))) ? int32_t(i_S) : 2147483647));
    }
    dsk_put(span_from[i_T], sum0);
    int32_t sum1 = INT32_MIN;
    for (int64_t i_S = 0; i_S < S; i_S++) {
      sum1 = dsk_max<int32_t>(sum1, (((dsk_get(pos_2[i_S]) <= dsk_get(pos[i_T])) & (dsk_get(seq[i_T]) == dsk_get(seq_2[i_S]))) ? (int32_t(i_S) + 1) : 0));
    }
    dsk_put(span_to[i_T], sum1);
  }
}

}

extern const dsk_kernel dsk_rows_span_to;
const dsk_kernel dsk_rows_span_to = { "rows_span_to", 17, 2, rows_span_to::items, rows_span_to::scratch, rows_span_to::run, nullptr };

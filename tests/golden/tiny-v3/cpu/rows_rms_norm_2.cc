// rows_rms_norm_2: rows
// of DeepSeekMoe, Decoder, RmsNorm
//   read x_2: f32[T]
//   read picked: f32[T, 3]
//   read chosen: i32[T, 3]
//   read x_4: f32[T, 3, 64]
//   update x_5: f32[T, 64]
//   read h: f32[T, 64]
//   read x_6: f32[T, 64]
//   write x_9: f32[T, 64]
//   read weight_2: f32[64]
#include "dsk.h"

namespace rows_rms_norm_2 {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t T = extents[0];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<float>(3) +
         dsk_bytes<float>(64);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x_2 = (const float*)args[0];
  const float* __restrict picked = (const float*)args[1];
  const int32_t* __restrict chosen = (const int32_t*)args[2];
  const float* __restrict x_4 = (const float*)args[3];
  float* __restrict x_5 = (float*)args[4];
  const float* __restrict h = (const float*)args[5];
  const float* __restrict x_6 = (const float*)args[6];
  float* __restrict x_9 = (float*)args[7];
  const float* __restrict weight_2 = (const float*)args[8];
  const int64_t T = extents[0];
  float* __restrict weight = dsk_take<float>(scratch, 3);
  float* __restrict x_3 = dsk_take<float>(scratch, 64);
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float x;
    float x_7;
    float x_8;
    x = (dsk_get(x_2[i_T]) + 1e-20f);
    dsk_put(weight[0], ((dsk_get(picked[i_T * 3]) / x) * 2.5f));
    dsk_put(weight[1], ((dsk_get(picked[i_T * 3 + 1]) / x) * 2.5f));
    dsk_put(weight[2], ((dsk_get(picked[i_T * 3 + 2]) / x) * 2.5f));
    #pragma omp simd
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      dsk_put(x_3[i_D], ((((dsk_get(chosen[i_T * 3]) < 0) ? 0.0f : (dsk_get(x_4[i_T * 192 + i_D]) * dsk_get(weight[0]))) + ((dsk_get(chosen[i_T * 3 + 1]) < 0) ? 0.0f : (dsk_get(x_4[i_T * 192 + 1 * 64 + i_D]) * dsk_get(weight[1])))) + ((dsk_get(chosen[i_T * 3 + 2]) < 0) ? 0.0f : (dsk_get(x_4[i_T * 192 + 2 * 64 + i_D]) * dsk_get(weight[2])))));
    }
    #pragma omp simd
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      dsk_put(x_5[i_T * 64 + i_D], (dsk_get(h[i_T * 64 + i_D]) + (dsk_get(x_6[i_T * 64 + i_D]) + dsk_get(x_3[i_D]))));
    }
    float sum0 = 0.0f;
    #pragma omp simd reduction(+ : sum0)
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      sum0 += (dsk_get(x_5[i_T * 64 + i_D]) * dsk_get(x_5[i_T * 64 + i_D]));
    }
    x_7 = sum0;
    x_8 = (float(1) / dsk_sqrt(((x_7 / 64.0f) + 0.000001f)));
    #pragma omp simd
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      dsk_put(x_9[i_T * 64 + i_D], ((dsk_get(x_5[i_T * 64 + i_D]) * x_8) * dsk_get(weight_2[i_D])));
    }
  }
}

}

extern const dsk_kernel dsk_rows_rms_norm_2;
const dsk_kernel dsk_rows_rms_norm_2 = { "rows_rms_norm_2", 9, 1, rows_rms_norm_2::items, rows_rms_norm_2::scratch, rows_rms_norm_2::run, nullptr };

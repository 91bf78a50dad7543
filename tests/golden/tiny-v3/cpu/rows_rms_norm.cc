// rows_rms_norm: rows
// of Embedding, RmsNorm
//   update x: f32[T, 64]
//   read tokens: i32[T]
//   read weight: f32[160, 64]
//   write x_4: f32[T, 64]
//   read weight_2: f32[64]
#include "dsk.h"

namespace rows_rms_norm {

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
  const int32_t* __restrict tokens = (const int32_t*)args[1];
  const float* __restrict weight = (const float*)args[2];
  float* __restrict x_4 = (float*)args[3];
  const float* __restrict weight_2 = (const float*)args[4];
  const int64_t T = extents[0];
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float x_2;
    float x_3;
    #pragma omp simd
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      const int32_t v0 = dsk_get(tokens[i_T]);
      dsk_put(x[i_T * 64 + i_D], ((v0 < 0) ? 0.0f : dsk_get(weight[(dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v0), 0), 159)) * 64 + i_D])));
    }
    float sum1 = 0.0f;
    #pragma omp simd reduction(+ : sum1)
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      sum1 += (dsk_get(x[i_T * 64 + i_D]) * dsk_get(x[i_T * 64 + i_D]));
    }
    x_2 = sum1;
    x_3 = (float(1) / dsk_sqrt(((x_2 / 64.0f) + 0.000001f)));
    #pragma omp simd
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      dsk_put(x_4[i_T * 64 + i_D], ((dsk_get(x[i_T * 64 + i_D]) * x_3) * dsk_get(weight_2[i_D])));
    }
  }
}

}

extern const dsk_kernel dsk_rows_rms_norm;
const dsk_kernel dsk_rows_rms_norm = { "rows_rms_norm", 5, 1, rows_rms_norm::items, rows_rms_norm::scratch, rows_rms_norm::run, nullptr };

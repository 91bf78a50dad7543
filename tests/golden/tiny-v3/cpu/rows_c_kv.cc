// rows_c_kv: rows
//   read x_2: f32[T]
//   read x_4: f32[T, 24]
//   read weight: f32[16]
//   write latent: f32[cache, 16]
//   read row: i32[T]
#include "dsk.h"

namespace rows_c_kv {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t T = extents[0];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<float>(16);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x_2 = (const float*)args[0];
  const float* __restrict x_4 = (const float*)args[1];
  const float* __restrict weight = (const float*)args[2];
  float* __restrict latent = (float*)args[3];
  const int32_t* __restrict row = (const int32_t*)args[4];
  const int64_t T = extents[0];
  float* __restrict x_3 = dsk_take<float>(scratch, 16);
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
  }
}

}

extern const dsk_kernel dsk_rows_c_kv;
const dsk_kernel dsk_rows_c_kv = {"rows_c_kv", 5, 1, rows_c_kv::items, rows_c_kv::scratch, rows_c_kv::run};

// rows_embedding_transposed: rows
// of Embedding.transposed
//   write x: f32[B, 64]
//   read rows: i32[B]
//   read hidden: f32[T, 64]
#include "dsk.h"

namespace rows_embedding_transposed {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t B = extents[0];
  const int64_t T = extents[1];
  return B;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t B = extents[0];
  const int64_t T = extents[1];
  return 0;
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  float* __restrict x = (float*)args[0];
  const int32_t* __restrict rows = (const int32_t*)args[1];
  const float* __restrict hidden = (const float*)args[2];
  const int64_t B = extents[0];
  const int64_t T = extents[1];
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_B = item;
    #pragma omp simd
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      const int32_t v0 = dsk_get(rows[i_B]);
      dsk_put(x[i_B * 64 + i_D], ((v0 < 0) ? 0.0f : dsk_get(hidden[(dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v0), 0), (T - 1))) * 64 + i_D])));
    }
  }
}

}

extern const dsk_kernel dsk_rows_embedding_transposed;
const dsk_kernel dsk_rows_embedding_transposed = { "rows_embedding_transposed", 3, 2, rows_embedding_transposed::items, rows_embedding_transposed::scratch, rows_embedding_transposed::run, nullptr };

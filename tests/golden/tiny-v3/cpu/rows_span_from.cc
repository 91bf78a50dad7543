// rows_span_from: rows
//   read pos: i32[S]
//   read pos_2: i32[T]
//   read seq: i32[T]
//   read seq_2: i32[S]
//   write span_from: i32[T]
#include "dsk.h"

namespace rows_span_from {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t S = extents[0];
  const int64_t T = extents[1];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t S = extents[0];
  const int64_t T = extents[1];
  return 0;
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const int32_t* __restrict pos = (const int32_t*)args[0];
  const int32_t* __restrict pos_2 = (const int32_t*)args[1];
  const int32_t* __restrict seq = (const int32_t*)args[2];
  const int32_t* __restrict seq_2 = (const int32_t*)args[3];
  int32_t* __restrict span_from = (int32_t*)args[4];
  const int64_t S = extents[0];
  const int64_t T = extents[1];
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    int32_t sum0 = INT32_MAX;
    for (int64_t i_S = 0; i_S < S; i_S++) {
      sum0 = dsk_min<int32_t>(sum0, (((dsk_get(pos[i_S]) <= dsk_get(pos_2[i_T])) & (dsk_get(seq[i_T]) == dsk_get(seq_2[i_S]))) ? int32_t(i_S) : 2147483647));
    }
    dsk_put(span_from[i_T], sum0);
  }
}

}

extern const dsk_kernel dsk_rows_span_from;
const dsk_kernel dsk_rows_span_from = {"rows_span_from", 5, 2, rows_span_from::items, rows_span_from::scratch, rows_span_from::run};

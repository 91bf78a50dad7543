// rows_pow: rows
//   write x: f32[4]
#include "dsk.h"

namespace rows_pow {

static int64_t items(void* const* args, const int64_t* extents) {
  return 1;
}

static int64_t scratch(const int64_t* extents) {
  return 0;
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  float* __restrict x = (float*)args[0];
  for (int64_t item = begin; item < end; item++) {
    dsk_put(x[0], dsk_pow(10000.0f, (float(int32_t(0)) / (-4.0f))));
    dsk_put(x[1], dsk_pow(10000.0f, (float(int32_t(1)) / (-4.0f))));
    dsk_put(x[2], dsk_pow(10000.0f, (float(int32_t(2)) / (-4.0f))));
    dsk_put(x[3], dsk_pow(10000.0f, (float(int32_t(3)) / (-4.0f))));
  }
}

}

extern const dsk_kernel dsk_rows_pow;
const dsk_kernel dsk_rows_pow = { "rows_pow", 1, 0, rows_pow::items, rows_pow::scratch, rows_pow::run, nullptr };

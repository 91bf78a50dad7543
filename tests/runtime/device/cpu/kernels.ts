import type { HandKernel } from "../../../support/kernels.ts";

/** Kernels of the tests of sessions. */
export const KERNELS: Readonly<Record<string, HandKernel>> = {
  // a[1], x[N], y[N], out[N]; N: out = a x + y
  axpy: {
    args: 4,
    extents: 1,
    items: "return (extents[0] + 63) / 64;",
    run: `
      const float a = *(const float*)args[0];
      const float *x = (const float*)args[1], *y = (const float*)args[2];
      float* out = (float*)args[3];
      const int64_t last = end * 64 < extents[0] ? end * 64 : extents[0];
      for (int64_t i = begin * 64; i < last; ++i) out[i] = a * x[i] + y[i];`,
  },
  // x[T, D], out[T]; T, D: the sum of each row, with a copy of the row in scratch memory
  row_sum: {
    args: 2,
    extents: 2,
    items: "return extents[0];",
    scratch: "return extents[1] * 4;",
    run: `
      float* row = (float*)scratch;
      for (int64_t t = begin; t < end; ++t) {
        std::memcpy(row, (const float*)args[0] + t * extents[1], extents[1] * 4);
        float sum = 0;
        for (int64_t d = 0; d < extents[1]; ++d) sum += row[d];
        ((float*)args[1])[t] = sum;
      }`,
  },
  // out i32[T]; T: for each item, the how manieth call of its thread it was in, counted at the beginning of scratch memory
  calls: {
    args: 1,
    extents: 1,
    items: "return extents[0];",
    scratch: "return 64;",
    run: `
      int64_t* const calls = (int64_t*)scratch;
      ++calls[0];
      for (int i = 1; i < 8; ++i) calls[0] += calls[i] != 0 ? 1000 : 0;
      for (int64_t i = begin; i < end; ++i) ((int32_t*)args[0])[i] = (int32_t)calls[0];`,
  },
  // count i32[1], out[T]: marks so many rows
  mark: {
    args: 2,
    extents: 0,
    items: "return *(const int32_t*)args[0];",
    run: "for (int64_t t = begin; t < end; ++t) ((float*)args[1])[t] = 1;",
  },
  // ms i32[1], out[1]: sleeps
  sleep: {
    args: 2,
    extents: 0,
    items: "return 1;",
    run: "usleep(*(const int32_t*)args[0] * 1000); *(float*)args[1] = 1;",
  },
  // state f32[1], out f32[1]: adds 1 to the state
  count: {
    args: 2,
    extents: 0,
    items: "return 1;",
    run: "*(float*)args[1] = (*(float*)args[0] += 1);",
  },
  // out i32[N]; N: 1 where an item ran on the session's own thread
  own_thread: {
    args: 1,
    extents: 1,
    items: "return extents[0];",
    run: `
      char name[16];
      pthread_getname_np(pthread_self(), name, sizeof name);
      for (int64_t i = begin; i < end; ++i) ((int32_t*)args[0])[i] = std::strcmp(name, "dskc-session") == 0;`,
  },
  // cache f32[2], values f32[T, 2], rows i32[T]; T
  put: {
    args: 3,
    extents: 1,
    items: "return extents[0];",
    run: `
      for (int64_t t = begin; t < end; ++t)
        std::memcpy((float*)args[0] + ((const int32_t*)args[2])[t] * 2, (const float*)args[1] + t * 2, 8);`,
  },
  // cache f32[2], rows i32[T], out f32[T, 2]; T
  get: {
    args: 3,
    extents: 1,
    items: "return extents[0];",
    run: `
      for (int64_t t = begin; t < end; ++t)
        std::memcpy((float*)args[2] + t * 2, (const float*)args[0] + ((const int32_t*)args[1])[t] * 2, 8);`,
  },
  // x, out u64[1]: the address of x in the unit of a cache line, 0 for a multiple
  misaligned: {
    args: 2,
    extents: 0,
    items: "return 1;",
    run: "*(int32_t*)args[1] = (int32_t)((uintptr_t)args[0] % 64);",
  },
};

// What products of blocks and of planes share: vectors, squares that are turned around in registers.
#pragma once
#include "dsk.h"

// Vectors of the compiler: one source for all instruction sets. Products and sums of vectors become fused multiply-adds.
template <int n> struct Vector {
  typedef float Floats __attribute__((vector_size(n * 4)));
  typedef uint32_t Bits __attribute__((vector_size(n * 4)));
  typedef int32_t Ints __attribute__((vector_size(n * 4)));
  typedef uint16_t Halves __attribute__((vector_size(n * 2)));
};
// Packing turns small squares around in registers, 8 x 8 where vectors have room for it.
#ifdef __AVX__
constexpr int side = 8;
#else
constexpr int side = 4;
#endif
typedef Vector<side>::Floats Row;

template <class V> DSK_INLINE V load(const void* from) {
  V v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
template <class V> DSK_INLINE void store(float* to, V v) { __builtin_memcpy(to, &v, sizeof v); }

#ifdef __clang__
#define DSK_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define DSK_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Vector<side>::Ints{__VA_ARGS__})
#endif

// Row i of the result has element i of all rows.
DSK_INLINE void turn(Row (&r)[side]) {
#ifdef __AVX__
  Row s[8], t[8];
  for (int i = 0; i < 8; i += 2) {
    s[i] = DSK_SHUFFLE(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    s[i + 1] = DSK_SHUFFLE(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    t[i] = DSK_SHUFFLE(s[i], s[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    t[i + 1] = DSK_SHUFFLE(s[i], s[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    t[i + 2] = DSK_SHUFFLE(s[i + 1], s[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    t[i + 3] = DSK_SHUFFLE(s[i + 1], s[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = DSK_SHUFFLE(t[i], t[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[i + 4] = DSK_SHUFFLE(t[i], t[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
#else
  const Row a = DSK_SHUFFLE(r[0], r[1], 0, 4, 1, 5), b = DSK_SHUFFLE(r[0], r[1], 2, 6, 3, 7);
  const Row c = DSK_SHUFFLE(r[2], r[3], 0, 4, 1, 5), d = DSK_SHUFFLE(r[2], r[3], 2, 6, 3, 7);
  r[0] = DSK_SHUFFLE(a, c, 0, 1, 4, 5);
  r[1] = DSK_SHUFFLE(a, c, 2, 3, 6, 7);
  r[2] = DSK_SHUFFLE(b, d, 0, 1, 4, 5);
  r[3] = DSK_SHUFFLE(b, d, 2, 3, 6, 7);
#endif
}

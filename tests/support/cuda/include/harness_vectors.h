// Vectors of two, three, and four numbers, and their makers.
#pragma once
#include "sim_threads.h"

#define DSK_VECTORS(name, T, align2, align4)                           \
  struct name##1 {                                                     \
    T x;                                                               \
  };                                                                   \
  struct alignas(align2) name##2 {                                     \
    T x, y;                                                            \
  };                                                                   \
  struct alignas(align4) name##4 {                                     \
    T x, y, z, w;                                                      \
  };                                                                   \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }           \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }   \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define DSK_VECTOR3(name, T) \
  struct name##3 {           \
    T x, y, z;               \
  };

DSK_VECTOR3(char, signed char)
DSK_VECTOR3(uchar, unsigned char)
DSK_VECTOR3(short, short)
DSK_VECTOR3(ushort, unsigned short)
DSK_VECTOR3(int, int)
DSK_VECTOR3(longlong, long long)
DSK_VECTOR3(ulonglong, unsigned long long)
DSK_VECTOR3(float, float)
DSK_VECTOR3(double, double)
DSK_VECTORS(char, signed char, 2, 4)
DSK_VECTORS(uchar, unsigned char, 2, 4)
DSK_VECTORS(short, short, 4, 8)
DSK_VECTORS(ushort, unsigned short, 4, 8)
DSK_VECTORS(int, int, 8, 16)
DSK_VECTORS(uint, unsigned, 8, 16)
DSK_VECTORS(longlong, long long, 16, 16)
DSK_VECTORS(ulonglong, unsigned long long, 16, 16)
DSK_VECTORS(float, float, 8, 16)
DSK_VECTORS(double, double, 16, 16)
#undef DSK_VECTORS
#undef DSK_VECTOR3

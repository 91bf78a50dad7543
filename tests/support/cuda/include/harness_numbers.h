// Small floats of cuda_bf16.h, cuda_fp16.h, and cuda_fp8.h: their names and conversions, as far as kernels use them. Rounding is to
// nearest, ties to even.
#pragma once
#include <string.h>

#include "harness_math.h"
#include "harness_vectors.h"

struct __nv_bfloat16 {
  unsigned short __x;
  __nv_bfloat16() = default;
  __nv_bfloat16(float x) {
    const unsigned bits = __float_as_uint(x);
    __x = x != x ? 0x7fff : static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
  operator float() const { return __uint_as_float(static_cast<unsigned>(__x) << 16); }
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 v) { return {v.x, v.y}; }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {v.x, v.y}; }
inline float __low2float(__nv_bfloat162 v) { return v.x; }
inline float __high2float(__nv_bfloat162 v) { return v.y; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.__x; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return dsk_bits<__nv_bfloat16>(bits); }

struct __half {
  unsigned short __x;
  __half() = default;
  __half(float x) : __x(dsk_bits<unsigned short>(static_cast<_Float16>(x))) {}
  operator float() const { return static_cast<float>(dsk_bits<_Float16>(__x)); }
};
struct alignas(4) __half2 {
  __half x, y;
};
using half = __half;
using half2 = __half2;
inline __half __float2half(float x) { return x; }
inline __half __float2half_rn(float x) { return x; }
inline float __half2float(__half x) { return x; }
inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
inline float2 __half22float2(__half2 v) { return {v.x, v.y}; }
inline unsigned short __half_as_ushort(__half x) { return x.__x; }
inline __half __ushort_as_half(unsigned short bits) { return dsk_bits<__half>(bits); }

namespace dsk::sim {

// E4M3 (OCP 8-bit floating point): no infinity, NaN is 0x7f, the largest is 448, to which larger ones saturate.
inline unsigned char to_e4m3(float x) {
  const unsigned char sign = __builtin_signbit(x) ? 0x80 : 0;
  const float size = __builtin_fabsf(x);
  if (size != size) return sign | 0x7f;
  if (size >= 448) return sign | 0x7e;
  // Below 2^-6 they are multiples of 2^-9.
  if (size < 0x1p-6f) return sign | static_cast<unsigned char>(__builtin_rintf(size * 0x1p9f));
  const unsigned bits = __float_as_uint(size);
  const unsigned rounded = bits + 0x7ffff + (bits >> 20 & 1);
  return sign | static_cast<unsigned char>((rounded >> 20) - (120u << 3));
}
inline float from_e4m3(unsigned char x) {
  const unsigned exponent = x >> 3 & 15, fraction = x & 7;
  const float size = (x & 0x7f) == 0x7f ? __builtin_nanf("")
                     : exponent == 0    ? static_cast<float>(fraction) * 0x1p-9f
                                        : __uint_as_float((exponent + 120) << 23 | fraction << 20);
  return x & 0x80 ? -size : size;
}

inline unsigned short pack_e4m3(float low, float high) {
  return static_cast<unsigned short>(to_e4m3(low) | to_e4m3(high) << 8);
}
inline unsigned pack_bf16(float low, float high) {
  return __nv_bfloat16(low).__x | static_cast<unsigned>(__nv_bfloat16(high).__x) << 16;
}

}  // namespace dsk::sim

struct __nv_fp8_e4m3 {
  unsigned char __x;
  __nv_fp8_e4m3() = default;
  explicit __nv_fp8_e4m3(float x) : __x(dsk::sim::to_e4m3(x)) {}
  explicit operator float() const { return dsk::sim::from_e4m3(__x); }
};

// Functions of CUDA's math library and its intrinsics. Those with the names of C's are C's, with the overloads of C++: they are at
// least as exact as CUDA's.
#pragma once
#include <math.h>
#include <string.h>

template <class To, class From>
inline To dsk_bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}
inline float __uint_as_float(unsigned x) { return dsk_bits<float>(x); }
inline float __int_as_float(int x) { return dsk_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return dsk_bits<unsigned>(x); }
inline int __float_as_int(float x) { return dsk_bits<int>(x); }
inline double __longlong_as_double(long long x) { return dsk_bits<double>(x); }
inline long long __double_as_longlong(double x) { return dsk_bits<long long>(x); }

// Smaller and larger, of mixed types as well; of floats the one that is a number.
#define DSK_MIN_MAX(A, B, R)                                                       \
  inline R min(A a, B b) { return static_cast<R>(a) < static_cast<R>(b) ? static_cast<R>(a) : static_cast<R>(b); } \
  inline R max(A a, B b) { return static_cast<R>(a) > static_cast<R>(b) ? static_cast<R>(a) : static_cast<R>(b); }
DSK_MIN_MAX(int, int, int)
DSK_MIN_MAX(unsigned, unsigned, unsigned)
DSK_MIN_MAX(int, unsigned, unsigned)
DSK_MIN_MAX(unsigned, int, unsigned)
DSK_MIN_MAX(long, long, long)
DSK_MIN_MAX(unsigned long, unsigned long, unsigned long)
DSK_MIN_MAX(long long, long long, long long)
DSK_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
#undef DSK_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline float rcbrtf(float x) { return 1.0f / cbrtf(x); }
inline float normcdff(float x) { return 0.5f * erfcf(-0.70710678f * x); }
inline double normcdf(double x) { return 0.5 * erfc(-0.70710678118654752 * x); }
inline float __saturatef(float x) { return x > 0 ? x < 1 ? x : 1 : 0; }

// The fast ones are as exact as the others here.
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return powf(10, x); }
inline float exp10f(float x) { return powf(10, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float fdividef(float x, float y) { return x / y; }

// One rounding each, never fused: the volatile variable keeps the compiler from it.
#define DSK_ROUNDED(name, T, op)      \
  inline T name(T x, T y) {           \
    volatile T rounded = x op y;      \
    return rounded;                   \
  }
DSK_ROUNDED(__fadd_rn, float, +)
DSK_ROUNDED(__fsub_rn, float, -)
DSK_ROUNDED(__fmul_rn, float, *)
DSK_ROUNDED(__fdiv_rn, float, /)
DSK_ROUNDED(__dadd_rn, double, +)
DSK_ROUNDED(__dsub_rn, double, -)
DSK_ROUNDED(__dmul_rn, double, *)
DSK_ROUNDED(__ddiv_rn, double, /)
#undef DSK_ROUNDED
inline float __fmaf_rn(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
inline double __fma_rn(double x, double y, double z) { return __builtin_fma(x, y, z); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __frsqrt_rn(float x) { return static_cast<float>(1.0 / sqrt(static_cast<double>(x))); }

// To whole numbers: what does not fit becomes the nearest that does, NaN 0.
template <class To, class From>
inline To dsk_saturated(From x) {
  constexpr To most = static_cast<To>(-1) > 0 ? static_cast<To>(-1) : static_cast<To>(~(To{1} << (sizeof(To) * 8 - 1)));
  constexpr To least = static_cast<To>(-1) > 0 ? 0 : static_cast<To>(To{1} << (sizeof(To) * 8 - 1));
  return x != x ? 0 : x >= static_cast<From>(most) ? most : x <= static_cast<From>(least) ? least : static_cast<To>(x);
}
inline int __float2int_rn(float x) { return dsk_saturated<int>(rintf(x)); }
inline int __float2int_rz(float x) { return dsk_saturated<int>(truncf(x)); }
inline int __float2int_rd(float x) { return dsk_saturated<int>(floorf(x)); }
inline int __float2int_ru(float x) { return dsk_saturated<int>(ceilf(x)); }
inline unsigned __float2uint_rn(float x) { return dsk_saturated<unsigned>(rintf(x)); }
inline unsigned __float2uint_rz(float x) { return dsk_saturated<unsigned>(truncf(x)); }
inline long long __float2ll_rn(float x) { return dsk_saturated<long long>(rintf(x)); }
inline int __double2int_rn(double x) { return dsk_saturated<int>(rint(x)); }
inline int __double2int_rz(double x) { return dsk_saturated<int>(trunc(x)); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
inline double __int2double_rn(int x) { return x; }

// Bits.
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1u) << (31 - bit);
  return reversed;
}
inline unsigned __umulhi(unsigned x, unsigned y) { return static_cast<unsigned>(static_cast<unsigned long long>(x) * y >> 32); }
inline int __mulhi(int x, int y) { return static_cast<int>(static_cast<long long>(x) * y >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(x) * y >> 64);
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const unsigned long long bytes = static_cast<unsigned long long>(y) << 32 | x;
  unsigned chosen = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned at = selector >> (4 * i) & 0xf;
    const unsigned byte = static_cast<unsigned>(bytes >> (8 * (at & 7)) & 0xff);
    // The fourth bit asks for copies of the byte's sign.
    chosen |= (at & 8 ? (byte & 0x80 ? 0xffu : 0u) : byte) << (8 * i);
  }
  return chosen;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) << (by & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (by & 31));
}

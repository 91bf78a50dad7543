// What generated kernels share: conversions of small floats, elementary functions that vectorize, orders, random numbers.
#pragma once
#include "abi.h"

#define DSK_INLINE static inline __attribute__((always_inline))

// Headers of the C++ library would take most of the time that a kernel takes to compile: the compiler knows these itself.
constexpr float DSK_INF = __builtin_inff(), DSK_NAN = __builtin_nanf("");
#define DSK_BOTH(name) \
  DSK_INLINE float dsk_##name(float x) { return __builtin_##name##f(x); } \
  DSK_INLINE double dsk_##name(double x) { return __builtin_##name(x); }
DSK_BOTH(sqrt)
DSK_BOTH(sin)
DSK_BOTH(cos)
DSK_BOTH(floor)
DSK_BOTH(fabs)
DSK_INLINE int32_t dsk_fabs(int32_t x) { return x < 0 ? int32_t(0u - uint32_t(x)) : x; }
DSK_INLINE float dsk_pow(float x, float y) { return __builtin_powf(x, y); }
DSK_INLINE double dsk_pow(double x, double y) { return __builtin_pow(x, y); }
DSK_INLINE float dsk_fma(float x, float y, float z) { return __builtin_fmaf(x, y, z); }

// Arrays of scratch memory, one after the other: each starts on a cache line.
template <class T> static constexpr int64_t dsk_bytes(int64_t count) { return (count * int64_t(sizeof(T)) + 63) / 64 * 64; }
template <class T> DSK_INLINE T* dsk_take(char*& scratch, int64_t count) {
  T* const array = (T*)scratch;
  scratch += dsk_bytes<T>(count);
  return array;
}

// Small floats, by their bits. Rounding is to nearest, ties to even.
struct bf16 { uint16_t bits; };
struct f16 { uint16_t bits; };
struct f8e4m3 { uint8_t bits; };
// Two whole numbers from -8 to 7, the first one in the lower half: pointers count pairs, offsets elements.
struct i4 { uint8_t bits; };

template <class To, class From> DSK_INLINE To dsk_bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &x, sizeof to);
  return to;
}

DSK_INLINE float dsk_get(float x) { return x; }
DSK_INLINE double dsk_get(double x) { return x; }
DSK_INLINE int32_t dsk_get(int32_t x) { return x; }
DSK_INLINE int64_t dsk_get(int64_t x) { return x; }
DSK_INLINE bool dsk_get(uint8_t x) { return x != 0; }
DSK_INLINE int32_t dsk_get(int8_t x) { return x; }
DSK_INLINE int32_t dsk_get(const i4* pairs, int64_t i) { return int32_t(uint32_t(pairs[i >> 1].bits) << (i & 1 ? 24 : 28)) >> 28; }
DSK_INLINE float dsk_get(bf16 x) { return dsk_bits<float>(uint32_t(x.bits) << 16); }
DSK_INLINE float dsk_get(f16 x) {
  // Shifts exponent and fraction in place; the product moves the exponent's bias and makes subnormals normal.
  const uint32_t sign = uint32_t(x.bits & 0x8000) << 16, rest = uint32_t(x.bits & 0x7fff) << 13;
  const float scaled = dsk_bits<float>(rest) * 0x1p112f;
  const uint32_t special = (x.bits & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u;
  return dsk_bits<float>(dsk_bits<uint32_t>(scaled) | special | sign);
}
DSK_INLINE float dsk_get(f8e4m3 x) {
  const int exponent = (x.bits >> 3) & 15, fraction = x.bits & 7;
  if ((x.bits & 0x7f) == 0x7f) return DSK_NAN;
  const float size = exponent == 0 ? __builtin_ldexpf(float(fraction), -9) : __builtin_ldexpf(float(8 + fraction), exponent - 10);
  return x.bits & 0x80 ? -size : size;
}

DSK_INLINE void dsk_put(float& to, float x) { to = x; }
DSK_INLINE void dsk_put(double& to, double x) { to = x; }
DSK_INLINE void dsk_put(int32_t& to, int32_t x) { to = x; }
DSK_INLINE void dsk_put(uint8_t& to, bool x) { to = x; }
DSK_INLINE void dsk_put(bf16& to, float x) {
  const uint32_t bits = dsk_bits<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  to.bits = uint16_t((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16) | 0x40 : rounded);
}
DSK_INLINE void dsk_put(f16& to, float x) {
  const uint32_t bits = dsk_bits<uint32_t>(x), sign = (bits >> 16) & 0x8000, size = bits & 0x7fffffff;
  uint32_t half;
  if (size > 0x7f800000) half = 0x7e00;
  else if (size >= 0x477ff000) half = 0x7c00;                    // 65520 and above
  else if (size >= 0x38800000) half = (size - 0x38000000 + 0xfff + ((size >> 13) & 1)) >> 13;
  else half = dsk_bits<uint32_t>(dsk_bits<float>(size) + 0.5f) - 0x3f000000;  // subnormal: the sum rounds
  to.bits = uint16_t(sign | half);
}
DSK_INLINE void dsk_put(f8e4m3& to, float x) {
  const uint8_t sign = __builtin_signbit(x) ? 0x80 : 0;
  const float size = dsk_fabs(x);
  if (size != size) { to.bits = sign | 0x7f; return; }
  if (size >= 448) { to.bits = sign | 0x7e; return; }            // saturates
  int exponent;
  __builtin_frexpf(size, &exponent);
  exponent = exponent - 1 < -6 ? -6 : exponent - 1;
  const int steps = int(__builtin_nearbyintf(__builtin_ldexpf(size, 3 - exponent)));
  to.bits = uint8_t(sign | (steps < 8 ? steps : ((exponent + 7) << 3) + steps - 8));
}

// exp by 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]: at most 1 ulp off, no branches.
DSK_INLINE float dsk_exp(float x) {
  // Into [-104, 89], where results are 0 and infinity at the ends. Bits of negative numbers are in reverse order, as unsigned
  // ones behind those of positive numbers; and compilers have minima of integers, but none of floats that keeps NaN.
  const uint32_t own = dsk_bits<uint32_t>(x), above = own < 0xc2d00000u ? own : 0xc2d00000u;
  const int32_t between = int32_t(above) < 0x42b20000 ? int32_t(above) : 0x42b20000;
  const float limited = dsk_bits<float>(between);
  // Adding 1.5 * 2^23 rounds to a whole number, which is in the lowest bits then.
  const float shifted = dsk_fma(limited, 1.44269504f, 12582912.0f), n = shifted - 12582912.0f;
  const float r = dsk_fma(n, -1.42860677e-6f, dsk_fma(n, -0.693145752f, limited));
  float p = 1.3981999e-3f;
  p = dsk_fma(p, r, 8.3334519e-3f);
  p = dsk_fma(p, r, 4.1665795e-2f);
  p = dsk_fma(p, r, 1.6666665e-1f);
  p = dsk_fma(p, r, 0.5f);
  p = dsk_fma(p * r, r, r) + 1.0f;
  // 2^n in two factors: n may be below -126 or above 127.
  const uint32_t whole = dsk_bits<uint32_t>(shifted) << 23, half = dsk_bits<uint32_t>(shifted) << 22 & 0xff800000u;
  const float y = p * dsk_bits<float>(half + 0x3f800000u) * dsk_bits<float>(whole - half + 0x3f800000u);
  return x == x ? y : x;
}
DSK_INLINE double dsk_exp(double x) { return __builtin_exp(x); }

// log by its exponent and a polynomial of the fraction in [sqrt(1/2), sqrt(2)) (Cephes logf).
DSK_INLINE float dsk_log(float x) {
  const float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x;
  const float bias = x < 1.17549435e-38f ? -23.0f : 0.0f;
  const int32_t bits = dsk_bits<int32_t>(scaled);
  const int32_t shifted = bits - 0x3f3504f3;
  const float e = float(shifted >> 23) + bias;
  const float f = dsk_bits<float>(bits - (shifted & int32_t(0xff800000))) - 1.0f;
  float p = 7.0376836292e-2f;
  p = dsk_fma(p, f, -1.1514610310e-1f);
  p = dsk_fma(p, f, 1.1676998740e-1f);
  p = dsk_fma(p, f, -1.2420140846e-1f);
  p = dsk_fma(p, f, 1.4249322787e-1f);
  p = dsk_fma(p, f, -1.6668057665e-1f);
  p = dsk_fma(p, f, 2.0000714765e-1f);
  p = dsk_fma(p, f, -2.4999993993e-1f);
  p = dsk_fma(p, f, 3.3333331174e-1f);
  const float z = f * f;
  float y = p * f * z;
  y = dsk_fma(e, -2.12194440e-4f, y);
  y = dsk_fma(z, -0.5f, y);
  y = dsk_fma(e, 0.693359375f, f + y);
  const float infinity = DSK_INF;
  y = x == infinity ? infinity : y;
  y = x == 0 ? -infinity : y;
  return x < 0 || x != x ? DSK_NAN : y;
}
DSK_INLINE double dsk_log(double x) { return __builtin_log(x); }

template <class F> DSK_INLINE F dsk_sigmoid(F x) { return F(1) / (F(1) + dsk_exp(-x)); }
template <class F> DSK_INLINE F dsk_silu(F x) { return x * dsk_sigmoid(x); }
DSK_INLINE float dsk_tanh(float x) {
  // Near 0 the quotient would cancel: an odd polynomial (Cephes tanhf).
  const float z = x * x;
  float p = -5.70498872745e-3f;
  p = dsk_fma(p, z, 2.06390887954e-2f);
  p = dsk_fma(p, z, -5.37397155531e-2f);
  p = dsk_fma(p, z, 1.33314422036e-1f);
  p = dsk_fma(p, z, -3.33332819422e-1f);
  const float small = dsk_fma(p * z, x, x);
  const float size = dsk_fabs(x), large = 1.0f - 2.0f / (dsk_exp(2.0f * size) + 1.0f);
  return size < 0.625f ? small : __builtin_copysignf(large, x);
}
DSK_INLINE double dsk_tanh(double x) { return __builtin_tanh(x); }
template <class F> DSK_INLINE F dsk_softplus(F x) {
  const F size = x < 0 ? -x : x;
  const F tail = dsk_exp(-size);
  // log1p: log(1 + t) * t / ((1 + t) - 1) keeps the digits that 1 + t loses.
  const F sum = F(1) + tail, kept = sum - F(1);
  const F log1p = kept == 0 ? tail : dsk_log(sum) * (tail / kept);
  return (x > 0 ? x : F(0)) + log1p;
}
DSK_INLINE float dsk_normal_cdf(float x) { return 0.5f * __builtin_erfcf(-x * 0.70710678f); }
DSK_INLINE double dsk_normal_cdf(double x) { return 0.5 * __builtin_erfc(-x * 0.70710678118654752); }
template <class F> DSK_INLINE F dsk_gelu(F x) { return x * dsk_normal_cdf(x); }
template <class F> DSK_INLINE F dsk_sign(F x) { return F(x > 0) - F(x < 0); }
// NaN where an operand is NaN.
template <class F> DSK_INLINE F dsk_max(F a, F b) { return a > b || a != a ? a : b; }
template <class F> DSK_INLINE F dsk_min(F a, F b) { return a < b || a != a ? a : b; }
template <class F> DSK_INLINE int32_t dsk_to_i32(F x) {
  return x != x ? 0 : x >= F(2147483647) ? INT32_MAX : x <= F(-2147483648.0) ? INT32_MIN : int32_t(x);
}

// Whether element i comes before element j: larger first, the lower index first among equals, NaN last.
template <class F> DSK_INLINE bool dsk_before(const F* v, int64_t i, int64_t j) {
  const bool nan_i = v[i] != v[i], nan_j = v[j] != v[j];
  if (nan_i || nan_j) return nan_i == nan_j ? i < j : nan_j;
  return v[i] == v[j] ? i < j : v[i] > v[j];
}

// The first k elements in that order, by insertion: k is small.
template <class F> static inline void dsk_top_k(const F* v, int64_t n, int64_t k, int32_t* out) {
  int64_t have = 0;
  for (int64_t i = 0; i < n; i++) {
    if (have == k && !dsk_before(v, i, out[k - 1])) continue;
    int64_t at = have < k ? have++ : k - 1;
    for (; at > 0 && dsk_before(v, i, out[at - 1]); at--) out[at] = out[at - 1];
    out[at] = int32_t(i);
  }
}
// Few elements without a branch: each counts those before it. Keys are whole numbers in the order of the floats.
DSK_INLINE void dsk_top_k(const float* v, int64_t n, int64_t k, int32_t* out) {
  constexpr int64_t most = 64;
  if (n > most) return dsk_top_k<float>(v, n, k, out);
  int32_t key[most], rank[most], sorted[most];
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    const int32_t bits = dsk_bits<int32_t>(v[i] + 0.0f);  // -0 is 0
    key[i] = v[i] != v[i] ? INT32_MIN : bits ^ (bits >> 31 & INT32_MAX);
    rank[i] = 0;
  }
  for (int32_t j = 0; j < n; j++)
#pragma omp simd
    for (int32_t i = 0; i < int32_t(n); i++) rank[i] += (key[j] > key[i]) | ((key[j] == key[i]) & (j < i));
  for (int64_t i = 0; i < n; i++) sorted[rank[i]] = int32_t(i);
  for (int64_t i = 0; i < k; i++) out[i] = sorted[i];
}

template <class F> DSK_INLINE int32_t dsk_rank(const F* v, int64_t n, int64_t i) {
  int32_t rank = 0;
  for (int64_t j = 0; j < n; j++) rank += j != i && dsk_before(v, j, i);
  return rank;
}

// Philox 4x32-10 (Salmon et al., SC 2011); see docs/tensor-ir.md.
static inline void dsk_philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    const uint64_t a = uint64_t(0xd2511f53u) * c[0], b = uint64_t(0xcd9e8d57u) * c[2];
    const uint32_t next[4] = {uint32_t(b >> 32) ^ c[1] ^ k0, uint32_t(b), uint32_t(a >> 32) ^ c[3] ^ k1, uint32_t(a)};
    __builtin_memcpy(c, next, sizeof next);
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
}
static inline float dsk_uniform(int64_t element, uint32_t stream, int32_t seed, int32_t step) {
  uint32_t c[4] = {uint32_t(element), uint32_t(uint64_t(element) >> 32), uint32_t(step), 0};
  dsk_philox(c, uint32_t(seed), stream);
  return float(c[0] >> 8) * 0x1p-24f;
}
static inline float dsk_normal(int64_t element, uint32_t stream, int32_t seed, int32_t step) {
  uint32_t c[4] = {uint32_t(element), uint32_t(uint64_t(element) >> 32), uint32_t(step), 0};
  dsk_philox(c, uint32_t(seed), stream);
  const double x = double(c[0] >> 8) * 0x1p-24, y = double(c[1] >> 8) * 0x1p-24;
  return float(__builtin_sqrt(-2 * __builtin_log(x + 0x1p-24)) * __builtin_cos(6.283185307179586 * y));
}

// What generated kernels share: small floats, elementary functions, orders, random numbers, sums of a warp and of a block. No
// header of the toolkit is needed, so that NVRTC compiles it where there is no toolkit.
#pragma once
#ifdef DSK_HARNESS
#include "harness.h"
#endif

#define DSK_INLINE static __device__ __forceinline__

// Numbers by their bits.
DSK_INLINE float bits_float(unsigned bits) { return __uint_as_float(bits); }
DSK_INLINE unsigned float_bits(float x) { return __float_as_uint(x); }
DSK_INLINE float infinity() { return bits_float(0x7f800000u); }
DSK_INLINE float not_a_number() { return bits_float(0x7fc00000u); }

// Small floats. Rounding is to nearest, ties to even; f8e4m3 saturates at 448.
struct bf16 {
  unsigned short bits;
  bf16() = default;
  explicit __device__ __forceinline__ bf16(float x) {
#ifdef __CUDA_ARCH__
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
    const unsigned b = float_bits(x);
    bits = x != x ? (unsigned short)(b >> 16 | 0x40u) : (unsigned short)((b + 0x7fffu + (b >> 16 & 1u)) >> 16);
#endif
  }
  __device__ __forceinline__ operator float() const { return bits_float((unsigned)bits << 16); }
};

// cvt.rn.bf16x2: two bf16, `low` in the lower half.
DSK_INLINE unsigned pack_bf16(float low, float high) {
#ifdef DSK_HARNESS
  return dsk::sim::pack_bf16(low, high);
#else
  unsigned packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#endif
}

struct f16 {
  unsigned short bits;
  f16() = default;
  explicit __device__ __forceinline__ f16(float x) {
#ifdef __CUDA_ARCH__
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
    const unsigned b = float_bits(x), sign = b >> 16 & 0x8000u, size = b & 0x7fffffffu;
    unsigned half;
    if (size > 0x7f800000u) half = 0x7fffu;
    else if (size >= 0x477ff000u) half = 0x7c00u;  // 65520 and above
    else if (size >= 0x38800000u) half = (size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13;
    else half = float_bits(bits_float(size) + 0.5f) - 0x3f000000u;  // subnormal: the sum rounds
    bits = (unsigned short)(sign | half);
#endif
  }
  __device__ __forceinline__ operator float() const {
#ifdef __CUDA_ARCH__
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
#else
    // Shifts exponent and fraction in place; the product moves the exponent's bias and makes subnormals normal.
    const float scaled = bits_float((bits & 0x7fffu) << 13) * bits_float(0x77800000u);
    const unsigned special = (bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
    return bits_float(float_bits(scaled) | special | (bits & 0x8000u) << 16);
#endif
  }
};

struct f8e4m3 {
  unsigned char bits;
  f8e4m3() = default;
  explicit __device__ __forceinline__ f8e4m3(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    unsigned short pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
    bits = (unsigned char)pair;
#else
    const unsigned b = float_bits(x), sign = b >> 24 & 0x80u, size = b & 0x7fffffffu;
    unsigned small;
    if (size > 0x7f800000u) small = 0x7fu;
    else if (size >= 0x43e00000u) small = 0x7eu;  // 448 and above
    else if (size >= 0x3c800000u) small = (size - 0x3c000000u + 0x7ffffu + (size >> 20 & 1u)) >> 20;
    else small = float_bits(bits_float(size) + 16384.0f) - 0x46800000u;  // subnormal, below 2^-6: the sum rounds
    bits = (unsigned char)(sign | small);
#endif
  }
  __device__ __forceinline__ operator float() const {
    const unsigned sign = (bits & 0x80u) << 24, size = bits & 0x7fu;
    if (size == 0x7fu) return not_a_number();
    return bits_float(float_bits(bits_float(size << 20) * bits_float(0x7b800000u)) | sign);
  }
};

// Whole numbers from -8 to 7, two in a byte, the first one in the lower half.
DSK_INLINE int int4_at(const unsigned char* pairs, long long i) {
  return (int)((unsigned)pairs[i >> 1] << (i & 1 ? 24 : 28)) >> 28;
}

// NaN where an operand is NaN.
DSK_INLINE float max_nan(float a, float b) { return a > b || a != a ? a : b; }
DSK_INLINE float min_nan(float a, float b) { return a < b || a != a ? a : b; }
DSK_INLINE double max_nan(double a, double b) { return a > b || a != a ? a : b; }
DSK_INLINE double min_nan(double a, double b) { return a < b || a != a ? a : b; }

// The whole number below, as near as there is one; 0 of NaN.
template <class F> DSK_INLINE int to_int(F x) {
  return x != x ? 0 : x >= F(2147483647) ? 2147483647 : x <= F(-2147483648.0) ? -2147483647 - 1 : (int)x;
}

// A whole number inside of limits.
DSK_INLINE int clamp(int x, int low, int high) { return min(max(x, low), high); }

// sin and cos of CUDA take registers for arguments beyond 10^5 that kernels have better uses for: quarters of a turn are taken
// off in f64 (Cody and Waite), the rest is a polynomial (Cephes sinf, cosf).
DSK_INLINE float within_quarter(float x, int* quadrant) {
  const double turns = rint((double)x * 0.63661977236758138);
  *quadrant = (int)(turns - 4.0 * floor(0.25 * turns));
  return (float)fma(turns, -6.123233995736766e-17, fma(turns, -1.5707963267948966, (double)x));
}
DSK_INLINE float sin_of_quarter(float r) {
  const float z = r * r;
  return fmaf(fmaf(fmaf(-1.9515295891e-4f, z, 8.3321608736e-3f), z, -1.6666654611e-1f) * z, r, r);
}
DSK_INLINE float cos_of_quarter(float r) {
  const float z = r * r;
  const float p = fmaf(fmaf(2.443315711809948e-5f, z, -1.388731625493765e-3f), z, 4.166664568298827e-2f);
  return fmaf(p, z * z, fmaf(-0.5f, z, 1.0f));
}
DSK_INLINE float exact_sin(float x) {
  int quadrant;
  const float r = within_quarter(x, &quadrant);
  const float size = quadrant & 1 ? cos_of_quarter(r) : sin_of_quarter(r);
  return quadrant >= 2 ? -size : size;
}
DSK_INLINE float exact_cos(float x) {
  int quadrant;
  const float r = within_quarter(x, &quadrant);
  const float size = quadrant & 1 ? sin_of_quarter(r) : cos_of_quarter(r);
  return quadrant == 1 || quadrant == 2 ? -size : size;
}

template <class T> DSK_INLINE T square(T x) { return x * x; }
template <class T> DSK_INLINE T sign(T x) { return T(x > 0) - T(x < 0); }
DSK_INLINE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
DSK_INLINE double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }
template <class F> DSK_INLINE F silu(F x) { return x * sigmoid(x); }
DSK_INLINE float softplus(float x) { return max_nan(x, 0.0f) + log1pf(expf(-fabsf(x))); }
DSK_INLINE double softplus(double x) { return max_nan(x, 0.0) + log1p(exp(-fabs(x))); }
DSK_INLINE float normal_cdf(float x) { return 0.5f * erfcf(-0.70710678f * x); }
DSK_INLINE double normal_cdf(double x) { return 0.5 * erfc(-0.70710678118654752 * x); }
template <class F> DSK_INLINE F gelu(F x) { return x * normal_cdf(x); }

// Whether element i with value x comes before element j with value y: larger first, the lower index first among equals, NaN last.
template <class T> DSK_INLINE bool comes_before(T x, int i, T y, int j) {
  if (x != x || y != y) return (x != x) == (y != y) ? i < j : y != y;
  return x == y ? i < j : x > y;
}

// Philox 4x32-10 (Salmon et al., SC 2011).
struct Words {
  unsigned x, y, z, w;
};
DSK_INLINE Words philox(long long element, unsigned stream, int seed, int step) {
  Words c = {(unsigned)element, (unsigned)((unsigned long long)element >> 32), (unsigned)step, 0u};
  unsigned k0 = (unsigned)seed, k1 = stream;
  for (int round = 0; round < 10; round++) {
    const unsigned long long a = 0xd2511f53ull * c.x, b = 0xcd9e8d57ull * c.z;
    c = {(unsigned)(b >> 32) ^ c.y ^ k0, (unsigned)b, (unsigned)(a >> 32) ^ c.w ^ k1, (unsigned)a};
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return c;
}
DSK_INLINE float random_uniform(long long element, unsigned stream, int seed, int step) {
  return (float)(philox(element, stream, seed, step).x >> 8) * 0x1p-24f;
}
DSK_INLINE float random_normal(long long element, unsigned stream, int seed, int step) {
  const Words c = philox(element, stream, seed, step);
  const double x = (double)(c.x >> 8) * 0x1p-24, y = (double)(c.y >> 8) * 0x1p-24;
  return (float)(sqrt(-2.0 * log(x + 0x1p-24)) * cos(6.283185307179586 * y));
}

// Adds the products of each of a thread's rows and columns to its sums.
template <class F, int ROWS, int COLUMNS> DSK_INLINE void add_products(F (&sums)[ROWS][COLUMNS], const F* rows, const F* columns) {
  F a[ROWS], b[COLUMNS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) a[r] = rows[r];
#pragma unroll
  for (int c = 0; c < COLUMNS; c++) b[c] = columns[c];
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) sums[r][c] += a[r] * b[c];
  }
}

// Reductions: what two values become.
struct Sum {
  template <class T> static __device__ __forceinline__ T of(T a, T b) { return a + b; }
};
struct Max {
  static __device__ __forceinline__ float of(float a, float b) { return max_nan(a, b); }
  static __device__ __forceinline__ double of(double a, double b) { return max_nan(a, b); }
  static __device__ __forceinline__ int of(int a, int b) { return a > b ? a : b; }
};
struct Min {
  static __device__ __forceinline__ float of(float a, float b) { return min_nan(a, b); }
  static __device__ __forceinline__ double of(double a, double b) { return min_nan(a, b); }
  static __device__ __forceinline__ int of(int a, int b) { return a < b ? a : b; }
};

// The reduction of the values of LANES neighboring threads, a power of two up to 32: each gets the same bits. All threads of a
// warp call it.
template <class Reduction, int LANES, class T> DSK_INLINE T over_lanes(T x) {
  for (int distance = LANES / 2; distance > 0; distance /= 2) x = Reduction::of(x, __shfl_xor_sync(0xffffffffu, x, distance));
  return x;
}

// The reduction of the values of a block of THREADS, warps in their order. All of its threads call it.
template <class Reduction, int THREADS, class T> DSK_INLINE T over_block(T x) {
  __shared__ T warps[THREADS / 32];
  x = over_lanes<Reduction, 32>(x);
  __syncthreads();  // whoever still reads what the call before left
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  T all = warps[0];
  for (int warp = 1; warp < THREADS / 32; warp++) all = Reduction::of(all, warps[warp]);
  return all;
}

// The same of N values at once.
template <class Reduction, int THREADS, class T, int N> DSK_INLINE void each_over_block(T (&x)[N]) {
  __shared__ T warps[THREADS / 32][N];
#pragma unroll
  for (int i = 0; i < N; i++) x[i] = over_lanes<Reduction, 32>(x[i]);
  __syncthreads();  // whoever still reads what the call before left
  if (threadIdx.x % 32 == 0) {
#pragma unroll
    for (int i = 0; i < N; i++) warps[threadIdx.x / 32][i] = x[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; i++) {
    x[i] = warps[0][i];
    for (int warp = 1; warp < THREADS / 32; warp++) x[i] = Reduction::of(x[i], warps[warp][i]);
  }
}

// Values of neighbors in memory, as a thread computes with them.
template <class F, int N> struct Vector {
  F x[N];
  __device__ __forceinline__ F& operator[](int i) { return x[i]; }
  __device__ __forceinline__ const F& operator[](int i) const { return x[i]; }
};

// What elements are computed in.
template <class T> struct Computed { typedef T type; };
template <> struct Computed<bf16> { typedef float type; };
template <> struct Computed<f16> { typedef float type; };
template <> struct Computed<f8e4m3> { typedef float type; };
template <> struct Computed<signed char> { typedef int type; };
template <> struct Computed<unsigned char> { typedef bool type; };

// Words that one instruction moves.
template <int N> struct alignas(4 * N) Words_of {
  unsigned x[N];
};

// Element i of those that words hold, and words of elements.
template <class T> DSK_INLINE typename Computed<T>::type element_of(const unsigned* words, int i) {
  if constexpr (sizeof(T) == 8) {
    const unsigned long long bits = (unsigned long long)words[2 * i + 1] << 32 | words[2 * i];
    return *(const T*)&bits;
  } else if constexpr (sizeof(T) == 4) {
    return *(const T*)&words[i];
  } else if constexpr (sizeof(T) == 2) {
    T element;
    element.bits = (unsigned short)(words[i / 2] >> 16 * (i % 2));
    return float(element);
  } else {
    const unsigned char bits = (unsigned char)(words[i / 4] >> 8 * (i % 4));
    return (typename Computed<T>::type)*(const T*)&bits;
  }
}
template <class T, class F, int N> DSK_INLINE void words_of(unsigned* words, const Vector<F, N>& values) {
  constexpr int PER = 4 / (int)sizeof(T);  // elements of a word
  if constexpr (sizeof(T) >= 4) {
#pragma unroll
    for (int i = 0; i < N; i++) {
      const T value = T(values[i]);
#pragma unroll
      for (int k = 0; k < (int)sizeof(T) / 4; k++) words[i * ((int)sizeof(T) / 4) + k] = ((const unsigned*)&value)[k];
    }
  } else {
#pragma unroll
    for (int i = 0; i < N / PER; i++) {
      unsigned word = 0u;
#pragma unroll
      for (int k = 0; k < PER; k++) {
        const T value = T(values[i * PER + k]);
        if constexpr (sizeof(T) == 2) word |= (unsigned)value.bits << 16 * k;
        else word |= (unsigned)*(const unsigned char*)&value << 8 * k;
      }
      words[i] = word;
    }
  }
}

// N elements from the one at `at` on, whose address is a multiple of what they take, or of 16 bytes.
template <int N, class T> DSK_INLINE Vector<typename Computed<T>::type, N> vector_at(const T* array, long long at) {
  constexpr int WORDS = N * (int)sizeof(T) / 4, MOVED = WORDS < 4 ? WORDS : 4;
  unsigned words[WORDS];
#pragma unroll
  for (int i = 0; i < WORDS; i += MOVED) {
    const Words_of<MOVED> moved = *(const Words_of<MOVED>*)((const unsigned*)(array + at) + i);
#pragma unroll
    for (int k = 0; k < MOVED; k++) words[i + k] = moved.x[k];
  }
  Vector<typename Computed<T>::type, N> values;
#pragma unroll
  for (int i = 0; i < N; i++) values[i] = element_of<T>(words, i);
  return values;
}

// Stores elements to where `vector_at` finds them.
template <int N, class T, class F> DSK_INLINE void store_vector(T* array, long long at, const Vector<F, N>& values) {
  constexpr int WORDS = N * (int)sizeof(T) / 4, MOVED = WORDS < 4 ? WORDS : 4;
  unsigned words[WORDS];
  words_of<T>(words, values);
#pragma unroll
  for (int i = 0; i < WORDS; i += MOVED) {
    Words_of<MOVED> moved;
#pragma unroll
    for (int k = 0; k < MOVED; k++) moved.x[k] = words[i + k];
    *(Words_of<MOVED>*)((unsigned*)(array + at) + i) = moved;
  }
}

// Lists that a kernel goes over in one launch, the last parameter of its entry point: the first block of each and the end of all blocks,
// how many elements each has, and where the arguments lie that it has for itself.
template <int ARGS, int MOST> struct Lists {
  int first[MOST + 1];
  int elements[MOST];
  void* args[ARGS][MOST];

  // The list that a block belongs to.
  __device__ __forceinline__ int of(int block) const {
    int low = 0, high = MOST;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (first[middle] <= block) low = middle;
      else high = middle;
    }
    return low;
  }
  __device__ __forceinline__ int blocks(int list) const { return first[list + 1] - first[list]; }
  template <class T> __device__ __forceinline__ T* arg(int which, int list) const { return static_cast<T*>(args[which][list]); }
};

// Zeros to `count` elements of an array that begins at a multiple of 16 bytes, by the threads of a launch, each with its number.
template <class T> DSK_INLINE void zero_all(T* to, long long count, long long thread, long long threads) {
  constexpr int N = 16 / sizeof(T);
  for (long long i = thread; i < count / N; i += threads) ((Words_of<4>*)to)[i] = {{0u, 0u, 0u, 0u}};
  for (long long i = count / N * N + thread; i < count; i += threads) to[i] = T();
}

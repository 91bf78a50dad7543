// What gemm.cc, gemm-few.cc and gemm-codes.cc share: small floats in vectors, offsets of terms.
#pragma once
#include "gemm.h"
#include "squares.h"
#include <type_traits>
#ifdef __AVX__
#include <immintrin.h>
#endif

typedef Vector<dsk_tile_lanes>::Floats Tile;

// Floats of their bits in the lower half of each lane.
template <int n> DSK_INLINE typename Vector<n>::Floats from_bits(bf16, typename Vector<n>::Bits x) {
  return (typename Vector<n>::Floats)(x << 16);
}
template <int n> DSK_INLINE typename Vector<n>::Floats from_bits(f16, typename Vector<n>::Bits x) {
  typedef typename Vector<n>::Bits Bits;
  const auto scaled = (typename Vector<n>::Floats)((x & 0x7fff) << 13) * 0x1p112f;  // as dsk_get does it
  const Bits special = (Bits)((x & 0x7c00) == 0x7c00) & 0x7f800000u;
  return (typename Vector<n>::Floats)((Bits)scaled | special | (x & 0x8000) << 16);
}

template <int n> DSK_INLINE typename Vector<n>::Floats get(const float* from) { return load<typename Vector<n>::Floats>(from); }
template <int n, class T> DSK_INLINE typename Vector<n>::Floats get(const T* from) {
#ifdef __F16C__
  if constexpr (std::is_same_v<T, f16> && n == 8) return (Row)_mm256_cvtph_ps(load<__m128i>(from));
#endif
#ifdef __AVX512F__
  if constexpr (std::is_same_v<T, bf16> && n == 16)
    return (Tile)_mm512_slli_epi32(_mm512_cvtepu16_epi32(load<__m256i>(from)), 16);
  if constexpr (std::is_same_v<T, f16> && n == 16) return (Tile)_mm512_maskz_cvtph_ps(0xffff, load<__m256i>(from));
#endif
  return from_bits<n>(T{}, __builtin_convertvector(load<typename Vector<n>::Halves>(from), typename Vector<n>::Bits));
}

// A square has the bytes of `side` floats of each row: so many terms. Half floats are turned in pairs.
template <class T> constexpr int pairs = 4 / int(sizeof(T));
template <class T> constexpr int square_terms = side * pairs<T>;

// Term `part` of the pair that a lane has.
template <class V> DSK_INLINE V part_of(float, V pair, int) { return pair; }
template <class V> DSK_INLINE V part_of(bf16, V pair, int part) {
  const auto bits = (typename Vector<sizeof(V) / 4>::Bits)pair;
  return (V)(part == 0 ? bits << 16 : bits & 0xffff0000u);
}
template <class V> DSK_INLINE V part_of(f16, V pair, int part) {
  const auto bits = (typename Vector<sizeof(V) / 4>::Bits)pair;
  return from_bits<sizeof(V) / 4>(f16{}, part == 0 ? bits & 0xffff : bits >> 16);
}

// The distance of columns that are equally far from each other, or 0.
static inline int64_t distance_of(const int64_t* at, int64_t count) {
  const int64_t distance = count < 2 ? 0 : at[1] - at[0];
  // Without a way out, so that it is done in vectors: short products look at thousands of offsets.
  int64_t others = 0;
  for (int64_t i = 1; i < count; i++) others |= at[i] - at[i - 1] - distance;
  return others == 0 ? distance : 0;
}
static inline bool neighbors(const int64_t* at, int64_t size) {
  return size < 2 || (at[1] - at[0] == 1 && distance_of(at, size) == 1);
}

// How many offsets from `from` on are neighbors.
static inline int64_t run_length(const int64_t* at, int64_t from, int64_t size) {
  int64_t end = from + 1;
  while (end < size && at[end] == at[end - 1] + 1) end++;
  return end - from;
}

// Whether all columns lie in runs that are worth a stream.
static inline bool all_in_runs(const int64_t* at, int64_t count) {
  for (int64_t i = 0, run; i < count; i += run)
    if ((run = run_length(at, i, count)) < dsk_tile_lanes && i + run < count) return false;
  return true;
}

// Offsets of the terms of a block, and whether all of them are neighbors.
struct Terms {
  const int64_t* at;
  int64_t count;
  bool line;

  Terms(const int64_t* at, int64_t count) : at(at), count(count), line(neighbors(at, count)) {}
  int64_t end_of_run(int64_t from) const { return line ? count : from + run_length(at, from, count); }
};

// Results of columns of one panel of B: packed rows of A (dsk_pack) times a packed panel with at most a tile's columns.
void dsk_tiles(float* c, int64_t stride, bool first, const dsk_left& a, int64_t rows, const float* right, int64_t columns,
               int64_t depth, dsk_fetch& fetch);

// Streams B past few rows of A (a[k * rows + i]); as dsk_multiply otherwise. Returns false where the columns of B lie in no order
// that is worth it: nothing was done then.
bool dsk_stream(float* c, int64_t stride, bool first, const float* a, int rows, const float* base, const int64_t* outer,
                int64_t columns, const Terms& k);
bool dsk_stream(float* c, int64_t stride, bool first, const float* a, int rows, const bf16* base, const int64_t* outer,
                int64_t columns, const Terms& k);

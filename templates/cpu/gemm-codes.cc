// Products with weights that are codes with scales (dsk_codes): decoded in registers next to the additions where A has few rows,
// while blocks are packed where it has more. Code times scale is exact in f32 (16 bits at most), so both give the bits that the
// floats would give which codes stand for.
#include "gemm-parts.h"
#include <utility>

namespace {

template <int n> struct Int8 { typedef int8_t Vector __attribute__((vector_size(n))); };

// Bytes from the first code to code `at`, and codes of a cache line.
template <class T> DSK_INLINE const char* place(const T* codes, int64_t at) {
  if constexpr (std::is_same_v<T, i4>) return (const char*)codes + (at >> 1);
  else return (const char*)(codes + at);
}
template <class T> constexpr int of_line = std::is_same_v<T, i4> ? 128 : 64;

DSK_INLINE float code(const int8_t* codes, int64_t at) { return float(codes[at]); }
DSK_INLINE float code(const i4* codes, int64_t at) { return float(dsk_get(codes, at)); }

// n neighboring codes; the first one of i4 is the first of its byte.
template <int n> DSK_INLINE typename Vector<n>::Floats decoded(const int8_t* codes, int64_t at) {
  typedef typename Vector<n>::Ints Ints;
  // Compilers widen bytes by shuffles.
#ifdef __AVX512F__
  if constexpr (n == 16)
    return __builtin_convertvector((Ints)_mm512_maskz_cvtepi8_epi32(0xffff, load<__m128i>(codes + at)), Tile);
  else
#endif
#ifdef __AVX2__
  if constexpr (n == 8)
    return __builtin_convertvector((Ints)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)(codes + at))), Row);
  else
#endif
  return __builtin_convertvector(__builtin_convertvector(load<typename Int8<n>::Vector>(codes + at), Ints), typename Vector<n>::Floats);
}
template <int n> DSK_INLINE typename Vector<n>::Floats decoded(const i4* codes, int64_t at) {
#ifdef __AVX512F__
  if constexpr (n == 16) {
    // The lowest four bits of a lane choose one of sixteen floats.
    const __m512i half = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i shift = _mm512_set_epi32(28, 24, 20, 16, 12, 8, 4, 0, 28, 24, 20, 16, 12, 8, 4, 0);
    const __m512 values = _mm512_set_ps(-1, -2, -3, -4, -5, -6, -7, -8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i pairs = _mm512_castsi128_si512(_mm_loadl_epi64((const __m128i*)place(codes, at)));
    const __m512i each = _mm512_maskz_permutexvar_epi32(0xffff, half, pairs);
    return (Tile)_mm512_maskz_permutexvar_ps(0xffff, _mm512_maskz_srlv_epi32(0xffff, each, shift), values);
  } else
#endif
  {
    uint32_t pairs = 0;
    __builtin_memcpy(&pairs, place(codes, at), n / 2);
    typename Vector<n>::Bits each;
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) each[i] = pairs << (28 - 4 * i % 32);
    return __builtin_convertvector((typename Vector<n>::Ints)each >> 28, typename Vector<n>::Floats);
  }
}

// Which scales belong to which codes.
struct Scales {
  const bf16* scales;
  const int64_t *outer, *k;

  // How far the scales of term j go.
  int64_t end_of_run(int64_t j, int64_t count) const {
    const int64_t from = k[j];
    do j++;
    while (j < count && k[j] == from);
    return j;
  }
  // Those of columns from `column` on.
  Scales from(int64_t column) const { return {scales, outer + column, k}; }
  float at(int64_t i, int64_t j) const { return dsk_get(scales[outer[i] + k[j]]); }
  // Those of `count` columns for term j.
  void fill(float* to, int64_t count, bool line, int64_t j) const {
    const bf16* const from = scales + k[j];
    int64_t i = 0;
    if (line)
      for (; i + dsk_tile_lanes <= count; i += dsk_tile_lanes) store(to + i, get<dsk_tile_lanes>(from + outer[0] + i));
    for (; i < count; i++) to[i] = dsk_get(from[outer[i]]);
  }
  inline __attribute__((always_inline)) Row row(int64_t i, int64_t j) const {
    Row factors;
    for (int l = 0; l < side; l++) factors[l] = at(i + l, j);
    return factors;
  }
};

// Few rows, columns of B next to each other: as add_rows of gemm-few.cc. All terms have the same scales.
template <int rows, int at_once, class T>
DSK_INLINE void add_rows(float* c, int64_t stride, const float* a, const T* codes, int64_t from, const int64_t* k,
                         const int64_t* next, const float* factors, int64_t columns) {
  int64_t right[at_once], ahead[at_once];
  float left[at_once][rows];
  for (int u = 0; u < at_once; u++) {
    right[u] = from + k[u];
    ahead[u] = from + next[u];
    for (int i = 0; i < rows; i++) left[u][i] = a[u * rows + i];
  }
  int64_t j = 0;
  for (; j + dsk_tile_lanes <= columns; j += dsk_tile_lanes) {
    if (j % of_line<T> == 0)
      for (int u = 0; u < at_once; u++) __builtin_prefetch(place(codes, ahead[u] + j), 0, 2);
    const Tile factor = load<Tile>(factors + j);
    Tile sum[rows];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) sum[i] = load<Tile>(c + i * stride + j);
#pragma GCC unroll 8
    for (int u = 0; u < at_once; u++) {
      const Tile x = decoded<dsk_tile_lanes>(codes, right[u] + j) * factor;
#pragma GCC unroll 8
      for (int i = 0; i < rows; i++) sum[i] += left[u][i] * x;
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) store(c + i * stride + j, sum[i]);
  }
  for (; j < columns; j++)
    for (int u = 0; u < at_once; u++) {
      const float x = code(codes, right[u] + j) * factors[j];
      for (int i = 0; i < rows; i++) c[i * stride + j] += left[u][i] * x;
    }
}

template <int rows, class T>
void stream_rows(float* c, int64_t stride, const float* a, const T* codes, int64_t from, const Terms& k, const Scales& scales,
                 float* factors, int64_t columns) {
  constexpr int at_once = 8;
  const bool line = neighbors(scales.outer, columns);
  for (int64_t j = 0, end; j < k.count; j = end) {
    end = scales.end_of_run(j, k.count);
    scales.fill(factors, columns, line, j);
    for (; j + at_once <= end; j += at_once) {
      const int64_t next = dsk_min(j + at_once, k.count - at_once);
      add_rows<rows, at_once>(c, stride, a + j * rows, codes, from, k.at + j, k.at + next, factors, columns);
    }
    for (; j < end; j++)
      add_rows<rows, 1>(c, stride, a + j * rows, codes, from, k.at + j, k.at + j, factors, columns);
  }
}

// A square has the bytes of `side` floats of each column; a word of it is one float's.
template <class T> constexpr int of_word = std::is_same_v<T, i4> ? 8 : 4;
template <class T> constexpr int of_square = side * of_word<T>;

// Code `part` of the words that the lanes of a turned square have.
template <class T> DSK_INLINE Row code_of(Row square, int part) {
  constexpr int bits = 32 / of_word<T>;
  const auto words = (Vector<side>::Bits)square << (32 - bits - bits * part);
  return __builtin_convertvector((Vector<side>::Ints)words >> (32 - bits), Row);
}

// The square of columns that are `distance` apart, turned: lane l has the words of column l.
template <class T> DSK_INLINE void load_square(Row (&square)[side], const T* codes, int64_t at, int64_t distance, int64_t ahead) {
#pragma GCC unroll 8
  for (int l = 0; l < side; l++, at += distance) {
    // One address after the other: all of them at once would not fit into registers.
    __asm__("" : "+r"(at));
    square[l] = load<Row>(place(codes, at));
    __builtin_prefetch(place(codes, at + ahead), 0, 2);
  }
  turn(square);
}

// Few rows, terms next to each other, columns at equal distances: as add_columns of gemm-few.cc. Sums of a square are one chain
// of additions: several squares keep the units busy.
template <int rows, int squares, class T>
DSK_INLINE void add_columns(float* c, int64_t stride, const float* a, const T* codes, int64_t from, int64_t distance,
                            const Terms& k, const Scales& scales, int64_t column) {
  constexpr int word = of_word<T>;
  const int64_t step = place(codes, distance) - place(codes, 0);
  Row sum[squares][rows], factor[squares] = {};
#pragma GCC unroll 8
  for (int s = 0; s < squares; s++)
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) sum[s][i] = load<Row>(c + i * stride + s * side);
  int64_t now = -1;
  const auto scale = [&](int64_t j) {
    if (scales.k[j] == now) return;
    now = scales.k[j];
    for (int s = 0; s < squares; s++) factor[s] = scales.row(column + s * side, j);
  };
  const auto add = [&](const Row (&square)[squares][side], int64_t j) __attribute__((always_inline)) {
    for (int w = 0; w < side; w++) {
      const int64_t term = j + w * word;
      const bool alike = scales.k[term] == scales.k[term + word - 1];
      scale(term);
#pragma GCC unroll 8
      for (int u = 0; u < word; u++) {
        if (!alike) scale(term + u);
#pragma GCC unroll 8
        for (int s = 0; s < squares; s++) {
          const Row x = code_of<T>(square[s][w], u) * factor[s];
#pragma GCC unroll 8
          for (int i = 0; i < rows; i++) sum[s][i] += a[(term + u) * rows + i] * x;
        }
      }
    }
  };
  constexpr int half = of_square<T>;
  for (int64_t j = 0; j < k.count;) {
    const int64_t end = k.end_of_run(j);
    for (; j + 2 * half <= end; j += 2 * half) {
      // Both squares of a cache line at once: columns often are at distances at which they put each other out of the cache.
      Row square[2][squares][side];
#pragma GCC unroll 8
      for (int s = 0; s < squares; s++) {
        const char* at = place(codes, from + s * side * distance + k.at[j]);
#pragma GCC unroll 8
        for (int l = 0; l < side; l++, at += step) {
          // One address after the other: all of them at once would not fit into registers.
          __asm__("" : "+r"(at));
          square[0][s][l] = load<Row>(at);
          square[1][s][l] = load<Row>(at + sizeof(Row));
          __builtin_prefetch(at + squares * side * step, 0, 2);
        }
        turn(square[0][s]);
        turn(square[1][s]);
      }
      add(square[0], j);
      add(square[1], j + half);
    }
    for (; j + half <= end; j += half) {
      Row square[squares][side];
#pragma GCC unroll 8
      for (int s = 0; s < squares; s++)
        load_square(square[s], codes, from + s * side * distance + k.at[j], distance, squares * side * distance);
      add(square, j);
    }
    for (; j < end; j++) {
      scale(j);
      for (int s = 0; s < squares; s++) {
        Row x;
        for (int l = 0; l < side; l++) x[l] = code(codes, from + (s * side + l) * distance + k.at[j]);
        x *= factor[s];
        for (int i = 0; i < rows; i++) sum[s][i] += a[j * rows + i] * x;
      }
    }
  }
#pragma GCC unroll 8
  for (int s = 0; s < squares; s++)
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) store(c + i * stride + s * side, sum[s][i]);
}

template <int rows, class T>
void stream_columns(float* c, int64_t stride, const float* a, const T* codes, int64_t from, int64_t distance, int64_t columns,
                    const Terms& k, const Scales& scales) {
  constexpr int squares = rows <= 2 ? 4 : rows <= 4 ? 2 : 1;
  int64_t j = 0;
  for (; j + squares * side <= columns; j += squares * side)
    add_columns<rows, squares>(c + j, stride, a, codes, from + j * distance, distance, k, scales, j);
  for (; j + side <= columns; j += side)
    add_columns<rows, 1>(c + j, stride, a, codes, from + j * distance, distance, k, scales, j);
  for (; j < columns; j++)
    for (int i = 0; i < rows; i++) {
      float sum = c[i * stride + j];
      for (int64_t l = 0; l < k.count; l++) sum += a[l * rows + i] * (code(codes, from + j * distance + k.at[l]) * scales.at(j, l));
      c[i * stride + j] = sum;
    }
}

// How columns lie: in runs of neighbors, at equal distances with neighboring terms, or any other way. Vectors of i4 begin with a
// whole byte.
enum class Layout { rows, columns, any };

template <class T> Layout layout_of(int64_t first, const int64_t* outer, int64_t columns, const Terms& k) {
  const auto whole = [](int64_t at) { return !std::is_same_v<T, i4> || at % 2 == 0; };
  const int64_t distance = distance_of(outer, columns);
  if (!whole(first)) return Layout::any;
  if (distance > 1) return k.line && whole(k.at[0]) && whole(outer[0]) && whole(distance) ? Layout::columns : Layout::any;
  if (!all_in_runs(outer, columns)) return Layout::any;
  bool fits = true;
  for (int64_t i = 0; i < columns; i += run_length(outer, i, columns)) fits = fits && whole(outer[i]);
  for (int64_t j = 0; j < k.count; j++) fits = fits && whole(k.at[j]);
  return fits ? Layout::rows : Layout::any;
}

template <int rows, class T>
void stream(Layout layout, float* c, int64_t stride, bool first, const float* a, const dsk_codes<T>& b, const int64_t* outer,
            int64_t columns, const Terms& k) {
  const Scales scales{b.scales, b.scale_outer, b.scale_k};
  if (first)
    for (int i = 0; i < rows; i++)
      for (int64_t j = 0; j < columns; j++) c[i * stride + j] = 0;
  if (layout == Layout::columns)
    return stream_columns<rows>(c, stride, a, b.codes, b.first + outer[0], outer[1] - outer[0], columns, k, scales);
  for (int64_t j = 0, run; j < columns; j += run) {
    run = run_length(outer, j, columns);
    stream_rows<rows>(c + j, stride, a, b.codes, b.first + outer[j], k, scales.from(j), b.factors, run);
  }
}

template <class T, int... i>
void stream_rows_of(Layout layout, int rows, float* c, int64_t stride, bool first, const float* a, const dsk_codes<T>& b,
                    const int64_t* outer, int64_t columns, const Terms& k, std::integer_sequence<int, i...>) {
  static constexpr decltype(&stream<1, T>) all[] = {stream<i + 1, T>...};
  all[rows - 1](layout, c, stride, first, a, b, outer, columns, k);
}

// Packing, as in gemm.cc: to[k * width + i], panel after panel.

// All columns, which lie in runs, row by row.
template <class T> void pack_rows(float* to, const dsk_codes<T>& b, const int64_t* outer, int64_t columns, const Terms& k) {
  constexpr int width = dsk_tile_columns, lanes = dsk_tile_lanes;
  const Scales scales{b.scales, b.scale_outer, b.scale_k};
  const bool line = neighbors(scales.outer, columns);
  const auto at = [&](int64_t i, int64_t j) { return to + i / width * width * k.count + j * width + i % width; };
  for (int64_t j = 0, end; j < k.count; j = end) {
    end = scales.end_of_run(j, k.count);
    scales.fill(b.factors, columns, line, j);
    for (int64_t i = 0, run; i < columns; i += run) {
      run = run_length(outer, i, columns);
      // A vector of a run that begins elsewhere could be in two panels.
      const int64_t vectors = i % lanes == 0 ? run / lanes * lanes : 0;
      for (int64_t term = j; term < end; term++) {
        const int64_t row = b.first + outer[i] + k.at[term];
        for (int64_t l = 0; l < vectors; l += lanes)
          store(at(i + l, term), decoded<lanes>(b.codes, row + l) * load<Tile>(b.factors + i + l));
        for (int64_t l = vectors; l < run; l++) *at(i + l, term) = code(b.codes, row + l) * b.factors[i + l];
      }
    }
  }
}

// One panel, of `count` columns from `column` on.
template <class T>
void pack_panel(float* to, const dsk_codes<T>& b, const int64_t* outer, int64_t column, int64_t count, const Terms& k, Layout layout) {
  constexpr int width = dsk_tile_columns, word = of_word<T>;
  const Scales scales{b.scales, b.scale_outer, b.scale_k};
  int64_t i = 0;
  if (layout == Layout::columns)
    for (; i + side <= count; i += side) {
      const int64_t from = b.first + outer[column + i], distance = outer[1] - outer[0];
      int64_t j = 0;
      for (; j + of_square<T> <= k.count; j += of_square<T>) {
        Row square[side];
        load_square(square, b.codes, from + k.at[j], distance, side * distance);
        for (int w = 0; w < side; w++) {
          const int64_t term = j + w * word;
          const bool alike = scales.k[term] == scales.k[term + word - 1];
          Row factor = scales.row(column + i, term);
          for (int u = 0; u < word; u++) {
            if (!alike) factor = scales.row(column + i, term + u);
            store(to + (term + u) * width + i, code_of<T>(square[w], u) * factor);
          }
        }
      }
      for (; j < k.count; j++)
        for (int l = 0; l < side; l++)
          to[j * width + i + l] = code(b.codes, from + l * distance + k.at[j]) * scales.at(column + i + l, j);
    }
  for (; i < count; i++)
    for (int64_t j = 0; j < k.count; j++)
      to[j * width + i] = code(b.codes, b.first + outer[column + i] + k.at[j]) * scales.at(column + i, j);
}

template <class T>
void multiply(float* c, int64_t stride, bool first, const dsk_left& a, int64_t rows, const dsk_codes<T>& b,
              const int64_t* outer, int64_t columns, const Terms& k, const dsk_panels& panels, dsk_fetch& fetch) {
  float* const panel = panels.data;
  panels.forget();
  const Layout layout = layout_of<T>(b.first, outer, columns, k);
  if (rows <= dsk_few_rows && layout != Layout::any)
    return stream_rows_of(layout, int(rows), c, stride, first, a.data, b, outer, columns, k,
                          std::make_integer_sequence<int, dsk_few_rows>());
  const bool whole = rows > dsk_few_rows && layout == Layout::rows;
  if (whole) pack_rows(panel, b, outer, columns, k);
  for (int64_t j = 0; j < columns; j += dsk_tile_columns) {
    const int64_t count = dsk_min(dsk_tile_columns, columns - j);
    if (!whole) pack_panel(panel, b, outer, j, count, k, layout);
    dsk_tiles(c + j, stride, first, a, rows, whole ? panel + j * k.count : panel, count, k.count, fetch);
  }
}

}  // namespace

void dsk_multiply(float* c, int64_t stride, bool first, const dsk_left& a, int64_t rows, const dsk_codes<int8_t>& b,
                  const int64_t* outer, int64_t columns, const int64_t* k, int64_t depth, const dsk_panels& panels,
                  dsk_fetch& fetch) {
  multiply(c, stride, first, a, rows, b, outer, columns, {k, depth}, panels, fetch);
}
void dsk_multiply(float* c, int64_t stride, bool first, const dsk_left& a, int64_t rows, const dsk_codes<i4>& b,
                  const int64_t* outer, int64_t columns, const int64_t* k, int64_t depth, const dsk_panels& panels,
                  dsk_fetch& fetch) {
  multiply(c, stride, first, a, rows, b, outer, columns, {k, depth}, panels, fetch);
}

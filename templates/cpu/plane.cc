// Products that lead into a plane and out of it (plane.h): tiles of results in registers.
#include "plane.h"
#include "squares.h"

namespace {

// Vectors of the compiler, as wide as the registers; vectors of sums that registers have room for.
#if defined(__AVX512F__)
constexpr int64_t lanes = 16, sums = 24;
#elif defined(__AVX__)
constexpr int64_t lanes = 8, sums = 12;
#elif defined(__aarch64__)
constexpr int64_t lanes = 4, sums = 24;
#else
constexpr int64_t lanes = 4, sums = 8;
#endif
constexpr int64_t tile = DSK_TILE;
typedef float Lanes __attribute__((vector_size(lanes * 4)));
// Half of a strip: what is computed where there are no more rows.
constexpr int64_t few_rows = 8, few_lanes = lanes < few_rows ? lanes : few_rows;
typedef float FewLanes __attribute__((vector_size(few_lanes * 4)));
// Floats of a line of the cache; columns that are fetched ahead, where rows are too few to use them again.
constexpr int64_t line = 16, ahead = 12;

// Calls f<count>() for what is left of a loop over tiles.
template <int64_t most, class F> DSK_INLINE void rest(int64_t count, F f) {
  if constexpr (most > 0) {
    if (count == most) return f.template operator()<most>();
    rest<most - 1>(count, f);
  }
}

// Results of so many columns and vectors of rows of a strip: the sums stay in registers while i runs. Of the columns `next`, a
// line is fetched at a time.
template <int64_t columns, class V, int64_t vectors, bool fetches>
DSK_INLINE void enter_tile(float* plane, bool adds, const float* left, int64_t k, const float* const* right,
                           const float* const* next) {
  constexpr int64_t width = sizeof(V) / sizeof(float);
  V sum[columns][vectors];
#pragma GCC unroll 16
  for (int64_t c = 0; c < columns; c++)
#pragma GCC unroll 4
    for (int64_t v = 0; v < vectors; v++) sum[c][v] = adds ? load<V>(plane + c * DSK_STRIP + v * width) : V{};
  const auto step = [&](int64_t i) __attribute__((always_inline)) {
    V rows[vectors];
#pragma GCC unroll 4
    for (int64_t v = 0; v < vectors; v++) rows[v] = load<V>(left + i * DSK_STRIP + v * width);
#pragma GCC unroll 16
    for (int64_t c = 0; c < columns; c++)
#pragma GCC unroll 4
      for (int64_t v = 0; v < vectors; v++) sum[c][v] += right[c][i] * rows[v];
  };
  int64_t i = 0;
  if constexpr (fetches) {
    for (; i + line <= k; i += line)
#pragma GCC unroll 16
      for (int64_t u = 0; u < line; u++) {
        if (u < columns) __builtin_prefetch(next[u] + i);
        step(i + u);
      }
  }
#pragma GCC unroll 2
  for (; i < k; i++) step(i);
#pragma GCC unroll 16
  for (int64_t c = 0; c < columns; c++)
#pragma GCC unroll 4
    for (int64_t v = 0; v < vectors; v++) store(plane + c * DSK_STRIP + v * width, sum[c][v]);
}

// Whether a strip has one of so many columns.
DSK_INLINE bool sees(const dsk_plane_block& block, int64_t strip, int64_t column, int64_t columns) {
  return block.strip_from[strip] < column + columns && column < block.strip_to[strip];
}

// The same columns for all strips, while they are in the nearest cache.
template <int64_t columns>
DSK_INLINE void enter_strips(const dsk_plane_block& block, float* plane, int64_t stride, int64_t column, bool adds,
                             const float* left, int64_t k, const float* base, const int64_t* at, int64_t behind) {
  const float* right[columns];
  for (int64_t c = 0; c < columns; c++) {
    right[c] = base + at[c];
    asm("" : "+r"(right[c]));  // as pointers in registers: vectors of addresses are taken apart again
  }
  if (block.rows <= few_rows) {
    const float* next[columns];
    for (int64_t c = 0; c < columns; c++) next[c] = base + at[ahead + c < behind ? ahead + c : behind - 1];
    return enter_tile<columns, FewLanes, few_rows / few_lanes, true>(plane, adds, left, k, right, next);
  }
  // The columns after the next ones are there by then.
  for (int64_t c = 0; c < columns; c++) {
    const float* next = base + at[2 * tile + c < behind ? 2 * tile + c : behind - 1];
    for (int64_t i = 0; i < k; i += line) __builtin_prefetch(next + i);
  }
  for (int64_t s = 0; s < block.strips; s++)
    if (sees(block, s, column, columns))
      enter_tile<columns, Lanes, DSK_STRIP / lanes, false>(plane + s * stride, adds, left + s * k * DSK_STRIP, k, right, nullptr);
}

// So many rows of a strip and vectors of results, for columns of one piece.
template <int64_t rows, int64_t vectors, bool fetches>
DSK_INLINE void leave_rows_tile(float* out, int64_t n, const float* plane, int64_t columns, const float* base,
                                const int64_t* at) {
  Lanes sum[rows][vectors];
#pragma GCC unroll 16
  for (int64_t r = 0; r < rows; r++)
#pragma GCC unroll 8
    for (int64_t v = 0; v < vectors; v++) sum[r][v] = load<Lanes>(out + r * n + v * lanes);
#pragma GCC unroll 4
  for (int64_t c = 0; c < columns; c++) {
    const float* right = base + at[c];
    if constexpr (fetches) {
      const float* next = base + at[c + ahead < columns ? c + ahead : columns - 1];
#pragma GCC unroll 8
      for (int64_t v = 0; v < vectors * lanes; v += line) __builtin_prefetch(next + v);
    }
    Lanes x[vectors];
#pragma GCC unroll 8
    for (int64_t v = 0; v < vectors; v++) x[v] = load<Lanes>(right + v * lanes);
#pragma GCC unroll 16
    for (int64_t r = 0; r < rows; r++)
#pragma GCC unroll 8
      for (int64_t v = 0; v < vectors; v++) sum[r][v] += plane[c * DSK_STRIP + r] * x[v];
  }
#pragma GCC unroll 16
  for (int64_t r = 0; r < rows; r++)
#pragma GCC unroll 8
    for (int64_t v = 0; v < vectors; v++) store(out + r * n + v * lanes, sum[r][v]);
}

// Vectors of a tile of so many rows: few rows have long tiles, so that they go over the columns once.
constexpr int64_t vectors_of(int64_t rows) {
  int64_t vectors = 1;
  while (vectors < 8 && 2 * vectors * rows <= sums) vectors *= 2;
  return vectors;
}

// Results from j on in tiles of so many vectors, then in shorter ones.
template <int64_t rows, int64_t vectors>
DSK_INLINE void leave_rows_from(int64_t j, float* out, int64_t n, const float* plane, int64_t columns, const float* base,
                                const int64_t* at) {
  for (; j + vectors * lanes <= n; j += vectors * lanes)
    leave_rows_tile<rows, vectors, rows <= few_rows / 2>(out + j, n, plane, columns, base + j, at);
  if constexpr (vectors > 1) leave_rows_from<rows, vectors / 2>(j, out, n, plane, columns, base, at);
  else
    for (; j < n; j++)
      for (int64_t r = 0; r < rows; r++) {
        float sum = out[r * n + j];
        for (int64_t c = 0; c < columns; c++) sum += plane[c * DSK_STRIP + r] * base[at[c] + j];
        out[r * n + j] = sum;
      }
}

// So many columns and vectors of results; rows of all strips are summed before they are stored.
template <int64_t columns, int64_t vectors>
DSK_INLINE void leave_columns_tile(float* const* out, const float* plane, int64_t stride, int64_t rows, const float* x,
                                   const int64_t* x_at) {
  Lanes sum[columns][vectors];
#pragma GCC unroll 16
  for (int64_t c = 0; c < columns; c++)
#pragma GCC unroll 4
    for (int64_t v = 0; v < vectors; v++) sum[c][v] = load<Lanes>(out[c] + v * lanes);
  for (; rows > 0; rows -= DSK_STRIP, plane += stride, x_at += DSK_STRIP) {
    const int64_t own = rows < DSK_STRIP ? rows : DSK_STRIP;
#pragma GCC unroll 2
    for (int64_t r = 0; r < own; r++) {
      Lanes right[vectors];
#pragma GCC unroll 4
      for (int64_t v = 0; v < vectors; v++) right[v] = load<Lanes>(x + x_at[r] + v * lanes);
#pragma GCC unroll 16
      for (int64_t c = 0; c < columns; c++)
#pragma GCC unroll 4
        for (int64_t v = 0; v < vectors; v++) sum[c][v] += plane[c * DSK_STRIP + r] * right[v];
    }
  }
#pragma GCC unroll 16
  for (int64_t c = 0; c < columns; c++)
#pragma GCC unroll 4
    for (int64_t v = 0; v < vectors; v++) store(out[c] + v * lanes, sum[c][v]);
}

template <int64_t columns, int64_t vectors>
DSK_INLINE void leave_columns_from(int64_t j, float* base, const int64_t* at, int64_t n, const float* plane, int64_t stride,
                                   int64_t rows, const float* x, const int64_t* x_at) {
  for (; j + vectors * lanes <= n; j += vectors * lanes) {
    float* out[columns];
    for (int64_t c = 0; c < columns; c++) {
      out[c] = base + at[c] + j;
      asm("" : "+r"(out[c]));
    }
    leave_columns_tile<columns, vectors>(out, plane, stride, rows, x + j, x_at);
  }
  if constexpr (vectors > 1) leave_columns_from<columns, vectors / 2>(j, base, at, n, plane, stride, rows, x, x_at);
  else
    for (; j < n; j++)
      for (int64_t c = 0; c < columns; c++) {
        float sum = base[at[c] + j];
        for (int64_t r = 0; r < rows; r++)
          sum += plane[r / DSK_STRIP * stride + c * DSK_STRIP + r % DSK_STRIP] * x[x_at[r] + j];
        base[at[c] + j] = sum;
      }
}

}  // namespace

int64_t dsk_piece_end(const dsk_plane_block& block, int64_t column) {
  int64_t end = block.to;
  if (!block.pieces) return end;
  for (int64_t r = 0; r < block.rows; r++) {
    const int64_t own = column - block.from_of[r];
    const int64_t next = block.from_of[r] + (own < 0 ? 1 : own / DSK_PIECE + 1) * DSK_PIECE;
    if (next < block.to_of[r] && next < end) end = next;
  }
  return end;
}

void dsk_clear(const dsk_plane_block& block, float* plane, int64_t stride) {
  for (int64_t r = 0; r < block.strips * DSK_STRIP; r++) {
    float* row = plane + r / DSK_STRIP * stride + r % DSK_STRIP;
    const int64_t from = block.from_of[r] - block.from, to = block.to_of[r] - block.from;
    const int64_t first = block.strip_from[r / DSK_STRIP] - block.from, end = block.strip_to[r / DSK_STRIP] - block.from;
    for (int64_t c = first; c < from && c < end; c++) row[c * DSK_STRIP] = 0;
    for (int64_t c = to > first ? to : first; c < end; c++) row[c * DSK_STRIP] = 0;
  }
}

void dsk_pack(const dsk_plane_block& block, float* left, int64_t k, const float* base, const int64_t* at) {
  for (int64_t s = 0; s < block.strips; s++, at += DSK_STRIP, left += k * DSK_STRIP) {
    int64_t i = 0;
    for (; i + side <= k; i += side)
      for (int64_t r = 0; r < DSK_STRIP; r += side) {
        Row row[side];
        for (int64_t u = 0; u < side; u++) row[u] = load<Row>(base + at[r + u] + i);
        turn(row);
        for (int64_t u = 0; u < side; u++) store(left + (i + u) * DSK_STRIP + r, row[u]);
      }
    for (; i < k; i++)
      for (int64_t r = 0; r < DSK_STRIP; r++) left[i * DSK_STRIP + r] = base[at[r] + i];
  }
}

void dsk_enter(const dsk_plane_block& block, float* plane, int64_t stride, int64_t first, int64_t columns, bool adds,
               const float* left, int64_t k, const float* base, const int64_t* at) {
  const auto part = [&]<int64_t count>(int64_t c) {
    enter_strips<count>(block, plane + c * DSK_STRIP, stride, first + c, adds, left, k, base, at + c, columns - c);
  };
  int64_t c = 0;
  for (; c + tile <= columns; c += tile) part.template operator()<tile>(c);
  rest<tile - 1>(columns - c, [&]<int64_t count>() { part.template operator()<count>(c); });
}

void dsk_leave_rows_begin(const dsk_plane_block& block, float* out, int64_t n) {
  __builtin_memset(out, 0, sizeof(float) * (block.rows + DSK_ROWS) * n);
}

void dsk_leave_rows(const dsk_plane_block& block, float* out, int64_t n, const float* plane, int64_t stride, int64_t first,
                    int64_t columns, const float* base, const int64_t* at) {
  float* const piece = out + DSK_ROWS * n;
  for (int64_t c = 0; c < columns;) {
    const int64_t piece_end = dsk_piece_end(block, first + c) - first;
    const int64_t end = piece_end < columns ? piece_end : columns;
    for (int64_t s = 0; s < block.strips; s++) {
      const int64_t rows = block.rows - s * DSK_STRIP < DSK_STRIP ? block.rows - s * DSK_STRIP : DSK_STRIP;
      const int64_t own_first = block.strip_from[s] - first, own_end = block.strip_to[s] - first;
      const int64_t from = own_first > c ? own_first : c, to = own_end < end ? own_end : end;
      if (from >= to) continue;
      const auto part = [&]<int64_t count>(int64_t r) {
        leave_rows_from<count, vectors_of(count)>(0, piece + (s * DSK_STRIP + r) * n, n,
                                                  plane + s * stride + from * DSK_STRIP + r, to - from, base, at + from);
      };
      int64_t r = 0;
      for (; r + tile <= rows; r += tile) part.template operator()<tile>(r);
      rest<tile - 1>(rows - r, [&]<int64_t count>() { part.template operator()<count>(r); });
    }
    c = end;
    if (!block.pieces || first + c >= block.to) continue;
    for (int64_t r = 0; r < block.rows; r++) {
      const int64_t own = first + c - block.from_of[r];
      if (own <= 0 || own % DSK_PIECE != 0) continue;
      for (int64_t j = 0; j < n; j++) {
        out[r * n + j] += piece[r * n + j];
        piece[r * n + j] = 0;
      }
    }
  }
}

void dsk_leave_rows_end(const dsk_plane_block& block, float* out, int64_t n) {
  const float* piece = out + DSK_ROWS * n;
  for (int64_t i = 0; i < block.rows * n; i++) out[i] += piece[i];
}

void dsk_leave_columns(const dsk_plane_block& block, const float* plane, int64_t stride, int64_t first, int64_t columns,
                       const float* x, const int64_t* x_at, int64_t n, float* base, const int64_t* at) {
  const auto part = [&]<int64_t count>(int64_t c) {
    int64_t from = 0, to = block.strips;
    while (from < to && !sees(block, from, first + c, count)) from++;
    while (from < to && !sees(block, to - 1, first + c, count)) to--;
    const int64_t rows = (to * DSK_STRIP < block.rows ? to * DSK_STRIP : block.rows) - from * DSK_STRIP;
    leave_columns_from<count, vectors_of(tile)>(0, base, at + c, n, plane + from * stride + c * DSK_STRIP, stride, rows, x,
                                                x_at + from * DSK_STRIP);
  };
  int64_t c = 0;
  for (; c + tile <= columns; c += tile) part.template operator()<tile>(c);
  rest<tile - 1>(columns - c, [&]<int64_t count>() { part.template operator()<count>(c); });
}

// Blocks of rows against the columns that they see: what generated kernels between tokens and positions call. plane.cc has the
// products, compiled once for all kernels.
//
// A plane has a value for each row of the block and each column. Rows are grouped in strips of sixteen, which lie next to each
// other in memory: strip, column, row. So vectors run along rows, whatever happens in a row needs no sum across a vector, and
// the columns' side of products (keys, values) is read where it is.
//
// Results of a row have the same bits whatever else is in the block. Every element of a product is one sum in the order of its
// terms. Sums over columns are cut into pieces that start at the row's own first column: each is one sum in order, and pieces
// are added in order.
#pragma once
#include "dsk.h"

constexpr int64_t DSK_STRIP = 16;               // rows
constexpr int64_t DSK_ROWS = 2 * DSK_STRIP;     // the most of a block
constexpr int64_t DSK_PIECE = 512;              // columns that are summed at once
constexpr int64_t DSK_COLUMNS = 288;            // columns whose addresses are prepared at once, a multiple of all tiles
#if defined(__AVX512F__)
constexpr int64_t DSK_TILE = 8;                 // columns or rows whose sums are in registers at once
#elif defined(__AVX__) || defined(__aarch64__)
constexpr int64_t DSK_TILE = 6;
#else
constexpr int64_t DSK_TILE = 2;
#endif

struct dsk_plane_block {
  int64_t row, rows, strips;  // the first of them among all rows
  int64_t from, to;           // columns that one of the rows sees
  bool pieces;                // whether sums of a row have more than one
  // The columns of each row. What is behind the last row repeats it: vectors are always full.
  int32_t from_of[DSK_ROWS], to_of[DSK_ROWS];
  // Those that rows of a strip see, in whole tiles: nothing is computed in the others of the block.
  int64_t strip_from[DSK_ROWS / DSK_STRIP], strip_to[DSK_ROWS / DSK_STRIP];

  // Which row of all is row r of the block.
  int64_t index(int64_t r) const { return row + (r < rows ? r : rows - 1); }
};

// Neighboring rows whose columns together are hardly more than those of one of them. A token has `inner` rows, whose columns
// are from(token) to to(token) - 1.
template <class From, class To>
static inline dsk_plane_block dsk_next_block(int64_t row, int64_t limit, int64_t inner, From from, To to) {
  dsk_plane_block block;
  block.row = row;
  block.from = from(row / inner);
  block.to = to(row / inner);
  if (block.to <= block.from) block.from = block.to = 0;
  int64_t longest = block.to - block.from, end = (row / inner + 1) * inner;
  while (end < limit && end - row < DSK_ROWS) {
    const int64_t f = from(end / inner), t = to(end / inner);
    const int64_t low = f < block.from ? f : block.from, high = t > block.to ? t : block.to;
    const int64_t own = t - f > longest ? t - f : longest;
    if (t <= f || high - low > own + 64) break;
    block.from = low;
    block.to = high;
    longest = own;
    end += inner;
  }
  if (end > limit) end = limit;
  block.rows = end - row < DSK_ROWS ? end - row : DSK_ROWS;
  block.strips = (block.rows + DSK_STRIP - 1) / DSK_STRIP;
  block.pieces = longest > DSK_PIECE;
  for (int64_t r = 0; r < block.strips * DSK_STRIP; r++) {
    const int64_t token = block.index(r) / inner;
    block.from_of[r] = int32_t(from(token));
    block.to_of[r] = int32_t(to(token));
  }
  for (int64_t s = 0; s < block.strips; s++) {
    int64_t low = block.to, high = block.from;
    for (int64_t r = s * DSK_STRIP; r < (s + 1) * DSK_STRIP; r++) {
      if (block.to_of[r] <= block.from_of[r]) continue;
      low = block.from_of[r] < low ? block.from_of[r] : low;
      high = block.to_of[r] > high ? block.to_of[r] : high;
    }
    const int64_t end = block.from + (high - block.from + DSK_TILE - 1) / DSK_TILE * DSK_TILE;
    block.strip_from[s] = block.from + (low - block.from) / DSK_TILE * DSK_TILE;
    block.strip_to[s] = end < block.to ? end : block.to;
  }
  return block;
}

// How many rows a work item has, of tokens that have `inner`: whole tokens, a few blocks of them; a part of one where there are so
// few that threads would have nothing to do. Those parts read the same columns, at about the same time.
static inline int64_t dsk_rows_of_item(int64_t rows, int64_t inner) {
  const int64_t few = rows <= 2 * DSK_ROWS ? DSK_STRIP / 2 : inner < DSK_ROWS ? DSK_STRIP : DSK_ROWS;
  const int64_t wanted = rows < 512 ? few : 2 * DSK_ROWS;
  return wanted < inner ? wanted : wanted / inner * inner;
}

// Tokens in runs, neighbors among which see no column in common: sequences, or several of them. Sums over the tokens of a run are
// complete, and runs are independent. Each of them has the columns from column[i] to column[i + 1] - 1.
struct dsk_plane_runs {
  enum { most = 64 };
  int64_t count = 1, token[most + 1], column[most + 1];

  template <class From, class To> dsk_plane_runs(int64_t tokens, int64_t columns, From from, To to) {
    const int64_t least = (tokens + most - 1) / most;
    token[0] = column[0] = 0;
    for (int64_t t = 0, seen = 0; t < tokens; t++) {
      const int64_t f = from(t), e = to(t);
      if (e <= f) continue;
      while (count > 1 && f < column[count - 1]) count--;
      if (f >= seen && t - token[count - 1] >= least) {
        token[count] = t;
        column[count++] = seen;
      }
      seen = e > seen ? e : seen;
    }
    token[count] = tokens;
    column[count] = columns;
  }
};

// The next column behind `column` at which the sum of some row begins a new piece; the end of the block when there is none.
int64_t dsk_piece_end(const dsk_plane_block& block, int64_t column);
// What rows of a strip have so far of a sum or an extreme: vectors, which stay in registers from column to column.
template <class T> struct dsk_strip {
#if defined(__AVX512F__)
  enum { bytes = 64 };
#elif defined(__AVX__)
  enum { bytes = 32 };
#else
  enum { bytes = 16 };
#endif
  typedef T Part __attribute__((vector_size(bytes)));
  static constexpr int64_t lanes = bytes / sizeof(T), parts = DSK_STRIP / lanes;
  Part part[parts];

  DSK_INLINE Part of(const T* from, int64_t i) {
    Part own;
    __builtin_memcpy(&own, from + i * lanes, bytes);
    return own;
  }
  void start(T value) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < parts; i++) part[i] = Part{} + value;
  }
  // Of one column. An extreme is NaN where one of its terms is.
  void add(const T* term) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < parts; i++) part[i] += of(term, i);
  }
  void max(const T* term) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < parts; i++) part[i] = (part[i] > of(term, i)) | (part[i] != part[i]) ? part[i] : of(term, i);
  }
  void min(const T* term) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < parts; i++) part[i] = (part[i] < of(term, i)) | (part[i] != part[i]) ? part[i] : of(term, i);
  }
  T operator[](int64_t row) const { return part[row / lanes][row % lanes]; }
  void put(int64_t row, T value) { part[row / lanes][row % lanes] = value; }
};
// Adds the sums of those rows whose piece ends at `column` to what they have so far, and starts them anew.
template <class T>
static inline void dsk_end_piece(const dsk_plane_block& block, int64_t strip, int64_t column, T* so_far, dsk_strip<T>& sum) {
  for (int64_t r = 0; r < DSK_STRIP; r++) {
    const int64_t own = column - block.from_of[strip * DSK_STRIP + r];
    if (own <= 0 || own % DSK_PIECE != 0) continue;
    so_far[r] += sum[r];
    sum.put(r, T(0));
  }
}

// Zero in the columns that the strip has and a row has not.
void dsk_clear(const dsk_plane_block& block, float* plane, int64_t stride);

// Products. `stride` lies between strips of a plane, `plane` is its first of `columns` columns, `first` the number of it. Row r of the block, or column c
// of the loop, has its elements on the other side at base[at[r]] or base[at[c]] and behind.
//
// Brings elements of rows next to each other, in strips: i, row. Rows that only fill a strip have addresses, too.
void dsk_pack(const dsk_plane_block& block, float* left, int64_t k, const float* base, const int64_t* at);
// plane[r][c] = sum over i of left[r][i] * (base + at[c])[i], on top of what is there when it `adds`.
void dsk_enter(const dsk_plane_block& block, float* plane, int64_t stride, int64_t first, int64_t columns, bool adds,
               const float* left, int64_t k, const float* base, const int64_t* at);
// out[r][j] = sum over c of plane[r][c] * (base + at[c])[j], in three steps. `out` has twice the rows: pieces behind sums.
void dsk_leave_rows_begin(const dsk_plane_block& block, float* out, int64_t n);
void dsk_leave_rows(const dsk_plane_block& block, float* out, int64_t n, const float* plane, int64_t stride, int64_t first,
                    int64_t columns, const float* base, const int64_t* at);
void dsk_leave_rows_end(const dsk_plane_block& block, float* out, int64_t n);
// (base + at[c])[j] += sum over r of plane[r][c] * (x + x_at[r])[j].
void dsk_leave_columns(const dsk_plane_block& block, const float* plane, int64_t stride, int64_t first, int64_t columns,
                       const float* x, const int64_t* x_at, int64_t n, float* base, const int64_t* at);

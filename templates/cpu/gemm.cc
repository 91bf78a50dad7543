// Products of blocks (gemm.h): packing, the tile in registers.
#include "gemm-parts.h"
#include <utility>

namespace {

// Panels: to[k * width + i] is element i, and the next panel follows. Elements that are missing in the last panel stay what they
// are: they only meet results that nobody reads.

// Elements that are neighbors, in whole vectors: what is behind a line is written afterwards, or nobody reads it. Eight rows at
// once, of which the next pieces are asked for, are what memory serves fastest.
template <int vectors, class T>
void pack_neighbors(float* to, int width, const T* base, int64_t count, const Terms& k) {
  constexpr int at_once = 8, line = vectors * dsk_tile_lanes;
  for (int64_t j0 = 0; j0 < k.count; j0 += at_once) {
    const int64_t end = dsk_min(j0 + at_once, k.count);
    float* panel = to;
    for (int64_t i = 0; i < count; i += width, panel += width * k.count)
      for (int64_t j = j0; j < end; j++) {
        const T* const from = base + k.at[j] + i;
        const T* const next = base + k.at[dsk_min(j + at_once, k.count - 1)] + i;
        for (int v = 0; v < line * int(sizeof(T)); v += 64) __builtin_prefetch((const char*)next + v, 0, 2);
        if (i + line <= count && (line == width || j + 1 < k.count)) {
#pragma GCC unroll 8
          for (int v = 0; v < line; v += dsk_tile_lanes) store(panel + j * width + v, get<dsk_tile_lanes>(from + v));
        } else {
          for (int v = 0; v < dsk_min(width, count - i); v++) panel[j * width + v] = dsk_get(from[v]);
        }
      }
  }
}

// `rows` elements, at most `side`, that lie anywhere, but with neighboring terms. Vectors write `side` elements: what is
// behind the elements has to be written afterwards, or be room.
template <class T>
DSK_INLINE void pack_squares(float* to, int width, const T* base, const int64_t* at, int rows, const int64_t* next, int more,
                             const Terms& k) {
  const T *from[side], *ahead[side];
  for (int i = 0; i < side; i++) {
    from[i] = base + at[i < rows ? i : 0];
    ahead[i] = i < more ? base + next[i] : from[i];
  }
  constexpr int line = 64 / int(sizeof(T));
  for (int64_t j = 0; j < k.count;) {
    const int64_t end = k.end_of_run(j);
    for (; j + square_terms<T> <= end; j += square_terms<T>) {
      if (j % line < square_terms<T>)
        for (int i = 0; i < side; i++) __builtin_prefetch(ahead[i] + k.at[j], 0, 2);
      Row square[side];
      for (int i = 0; i < side; i++) square[i] = load<Row>(from[i] + k.at[j]);
      turn(square);
      for (int i = 0; i < square_terms<T>; i++)
        store(to + (j + i) * width, part_of(T{}, square[i / pairs<T>], i % pairs<T>));
    }
    for (; j < end; j++)
      for (int i = 0; i < rows; i++) to[j * width + i] = dsk_get(from[i][k.at[j]]);
  }
}

// A panel of at[0] to at[count - 1]; `more` offsets of later panels follow, and what they need is fetched on the way.
template <class T>
void pack_panel(float* to, int width, const T* base, const int64_t* at, int count, int64_t more, const Terms& k) {
  // The last rows first: those before them write over what their vectors leave behind them.
  for (int i = (count - 1) / side * side; i >= 0; i -= side) {
    const int64_t rest = count + more - (i + width);
    pack_squares(to + i, width, base, at + i, int(dsk_min(side, count - i)), at + i + width, int(dsk_min(side, rest)), k);
  }
}

template <int most_width, class T>
void pack(float* to, int width, const T* base, const int64_t* at, int64_t size, int64_t more, const Terms& k) {
  if (size > 1 && neighbors(at, size))
    return pack_neighbors<dsk_ceil(most_width, dsk_tile_lanes)>(to, width, base + at[0], size, k);
  for (int64_t i = 0; i < size; i += width) {
    const int count = int(dsk_min(width, size - i));
    pack_panel(to + i * k.count, width, base, at + i, count, size + more - i - count, k);
  }
}

// Rows one after the other, their terms next to each other, so many floats apart.
template <class T>
void copy_rows(float* to, int64_t distance, const T* base, const int64_t* at, int64_t rows, const Terms& k) {
  constexpr int64_t ahead = 4, line = 64 / int64_t(sizeof(T));
  for (int64_t i = 0; i < rows; i++, to += distance) {
    const T* const from = base + at[i] + k.at[0];
    const T* const next = base + at[dsk_min(i + ahead, rows - 1)] + k.at[0];
    for (int64_t j = 0; j < k.count; j += line) __builtin_prefetch(next + j, 0, 2);
    int64_t j = 0;
    for (; j + dsk_tile_lanes <= k.count; j += dsk_tile_lanes) store(to + j, get<dsk_tile_lanes>(from + j));
    for (; j < k.count; j++) to[j] = dsk_get(from[j]);
  }
}

// Rows of a panel of A, when `rows` are cut into equal panels.
int panel_rows(int64_t rows) { return rows <= dsk_few_rows ? int(rows) : int(dsk_piece(rows, dsk_tile_rows, 1)); }

// Where elements of the rows of a tile, or of its columns, are for one k after the other: next to each other, every `distance` or
// at offsets of their own.
struct Packed {
  const float* data;
  int64_t distance;

  const float* of(int64_t k) const { return data + k * distance; }
  void fetch(int64_t, int) const {}
};
struct There {
  const float* data;
  const int64_t* at;
  int64_t last;

  const float* of(int64_t k) const { return data + at[k]; }
  // What a later term has, from its first to its last float: nobody else asks for it ahead where terms lie anywhere.
  void fetch(int64_t k, int floats) const {
    constexpr int64_t ahead = 16, line = 16;
    const float* const later = data + at[dsk_min(k + ahead, last)];
#pragma GCC unroll 4
    for (int i = 0; i < floats; i += line) __builtin_prefetch(later + i);
    if (floats % line > 1) __builtin_prefetch(later + floats - 1);
  }
};
// Rows of a tile, each with its terms next to each other, `distance` apart. Addresses of three rows have a register in common:
// processors add a distance once or twice, and there are not as many registers as rows.
template <int rows> struct Rows {
  const float* first[(rows + 2) / 3];
  int64_t distance;

  Rows(const float* data, int64_t distance) : distance(distance) {
#pragma GCC unroll 8
    for (int i = 0; i < (rows + 2) / 3; i++) {
      first[i] = data + 3 * i * distance;
      asm("" : "+r"(first[i]));  // or compilers find a register for each row
    }
  }
  struct Term {
    const Rows& all;
    int64_t k;

    float operator[](int i) const { return all.first[i / 3][i % 3 * all.distance + k]; }
  };
  Term of(int64_t k) const { return {*this, k}; }
  // A line of the rows behind these, which are next.
  void fetch(int64_t k, int) const { __builtin_prefetch(first[0] + (rows + k % 16) * distance + k / 16 * 16); }
};

// Whether terms are worth reading where they lie: so many floats from each other at most, or without an order. Equal distances
// that are longer meet in few places of the cache.
bool near(int64_t distance, const Terms& k) { return distance_of(k.at, k.count) <= distance; }

// A tile of results: rows x vectors accumulators, all in registers.
template <int rows, int vectors, class A, class B>
DSK_INLINE void sum_tile(float* c, int64_t stride, bool first, A left, B right_of, int64_t depth, dsk_fetch& lines) {
  // The lines of results are fetched while k runs.
  if (first)
#pragma GCC unroll 32
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
      for (int j = 0; j < vectors * dsk_tile_lanes; j += 16) __builtin_prefetch(c + i * stride + j, 1);
  Tile sum[rows][vectors];
#pragma GCC unroll 32
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; j++) sum[i][j] = first ? Tile{} : load<Tile>(c + i * stride + j * dsk_tile_lanes);
  dsk_fetch fetch = lines;
  for (int64_t k = 0; k < depth; k++) {
    fetch.next();
    left.fetch(k, rows);
    // Where terms of A lie anywhere, those of B do as well; else its columns are weights, which are near.
    if constexpr (std::is_same_v<A, There>) right_of.fetch(k, vectors * dsk_tile_lanes);
    const auto a = left.of(k);
    const float* b = right_of.of(k);
    Tile right[vectors];
#pragma GCC unroll 8
    for (int j = 0; j < vectors; j++) right[j] = load<Tile>(b + j * dsk_tile_lanes);
#pragma GCC unroll 32
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
      for (int j = 0; j < vectors; j++) sum[i][j] += a[i] * right[j];
  }
  lines = fetch;
#pragma GCC unroll 32
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; j++) store(c + i * stride + j * dsk_tile_lanes, sum[i][j]);
}

// Rows of A as dsk_left has them, from one of them on.
enum Form { panels, there, in_rows };
struct Left {
  const float* data;
  const int64_t* at;
  int64_t distance;
};

template <int rows, int vectors, Form form, class B>
void tile(float* c, int64_t stride, bool first, const Left& a, B right, int64_t depth, dsk_fetch& fetch) {
  if constexpr (form == panels) sum_tile<rows, vectors>(c, stride, first, Packed{a.data, a.distance}, right, depth, fetch);
  if constexpr (form == there) sum_tile<rows, vectors>(c, stride, first, There{a.data, a.at, depth - 1}, right, depth, fetch);
  if constexpr (form == in_rows) sum_tile<rows, vectors>(c, stride, first, Rows<rows>(a.data, a.distance), right, depth, fetch);
}

constexpr int most_vectors = dsk_tile_columns / dsk_tile_lanes;

// The tiles of 1 to dsk_tile_rows rows by 1 to most_vectors vectors.
template <Form form, class B, int... i> auto tile_of(int rows, int vectors, std::integer_sequence<int, i...>) {
  static constexpr decltype(&tile<1, 1, form, B>) all[] = {tile<i / most_vectors + 1, i % most_vectors + 1, form, B>...};
  return all[(rows - 1) * most_vectors + vectors - 1];
}

// All rows by columns that a tile has.
template <class B>
void multiply_columns(float* c, int64_t stride, bool first, const dsk_left& a, int64_t rows, B right, int count, int64_t depth,
                      dsk_fetch& fetch) {
  const int vectors = int(dsk_ceil(count, dsk_tile_lanes));
  const int width = panel_rows(rows);
  constexpr auto all = std::make_integer_sequence<int, dsk_tile_rows * most_vectors>();
  for (int64_t i = 0, height; i < rows; i += height) {
    // Few rows that are not streamed may be more than a tile has.
    const int64_t within = i % width;
    height = dsk_min(dsk_tile_rows, dsk_min(width - within, rows - i));
    float* const to = c + i * stride;
    if (a.at != nullptr) {
      tile_of<there, B>(int(height), vectors, all)(to, stride, first, {a.data + i, a.at, 0}, right, depth, fetch);
    } else if (a.distance > 0) {
      const Left left{a.data + i * a.distance, nullptr, a.distance};
      tile_of<in_rows, B>(int(height), vectors, all)(to, stride, first, left, right, depth, fetch);
    } else {
      const Left left{a.data + (i - within) * depth + within, nullptr, width};
      tile_of<panels, B>(int(height), vectors, all)(to, stride, first, left, right, depth, fetch);
    }
  }
}

template <class T>
void multiply(float* c, int64_t stride, bool first, const dsk_left& a, int64_t rows, const T* base, const int64_t* outer,
              int64_t columns, const Terms& k, const dsk_panels& panels, dsk_fetch& fetch) {
  if constexpr (!std::is_same_v<T, f16>)
    if (rows <= dsk_few_rows && dsk_stream(c, stride, first, a.data, int(rows), base, outer, columns, k)) return;
  // Neighbors that are near are read where they lie.
  if constexpr (std::is_same_v<T, float>) {
    if (rows > dsk_few_rows && columns % dsk_tile_lanes == 0 && neighbors(outer, columns) && near(512, k)) {
      for (int64_t j = 0; j < columns; j += dsk_tile_columns) {
        const int count = int(dsk_min(dsk_tile_columns, columns - j));
        multiply_columns(c + j, stride, first, a, rows, There{base + outer[j], k.at, k.count - 1}, count, k.count, fetch);
      }
      return;
    }
  }
  // All panels are kept for the next block; few rows have room for one.
  const bool whole = rows > dsk_few_rows;
  if (!whole) panels.forget();
  else if (panels.miss()) pack<dsk_tile_columns>(panels.data, dsk_tile_columns, base, outer, columns, 0, k);
  for (int64_t j = 0; j < columns; j += dsk_tile_columns) {
    const int count = int(dsk_min(dsk_tile_columns, columns - j));
    const float* const right = whole ? panels.data + j * k.count : panels.data;
    if (!whole) pack<dsk_tile_columns>(panels.data, dsk_tile_columns, base, outer + j, count, columns - j - count, k);
    multiply_columns(c + j, stride, first, a, rows, Packed{right, dsk_tile_columns}, count, k.count, fetch);
  }
}

template <class T>
dsk_left pack_left(float* panels, const T* base, const int64_t* outer, int64_t rows, const Terms& k) {
  // One row is packed as it is.
  if (rows == 1 && k.line && k.count > 0) {
    const T* const row = base + outer[0] + k.at[0];
    if constexpr (std::is_same_v<T, float>) return {row, nullptr, 0};
    for (int64_t j = 0; j < k.count; j++) panels[j] = dsk_get(row[j]);
    return {panels, nullptr, 0};
  }
  if (rows > dsk_few_rows && k.count > 0) {
    if constexpr (std::is_same_v<T, float>)
      if (neighbors(outer, rows) && near(256, k)) return {base + outer[0], k.at, 0};
    if (k.line) {
      // Rows that are a multiple of half a page apart would drive each other from the nearest cache.
      const int64_t distance = distance_of(outer, rows);
      if constexpr (std::is_same_v<T, float>)
        if (distance > 0 && distance % 512 != 0) return {base + outer[0] + k.at[0], nullptr, distance};
      const int64_t own = dsk_ceil(k.count, dsk_tile_lanes) * dsk_tile_lanes;
      copy_rows(panels, own, base, outer, rows, k);
      return {panels, nullptr, own};
    }
  }
  pack<dsk_max(dsk_tile_rows, dsk_few_rows)>(panels, panel_rows(rows), base, outer, rows, 0, k);
  return {panels, nullptr, 0};
}

}  // namespace

void dsk_tiles(float* c, int64_t stride, bool first, const dsk_left& a, int64_t rows, const float* right, int64_t columns,
               int64_t depth, dsk_fetch& fetch) {
  multiply_columns(c, stride, first, a, rows, Packed{right, dsk_tile_columns}, int(columns), depth, fetch);
}

dsk_left dsk_pack(float* panels, const float* base, const int64_t* outer, int64_t rows, const int64_t* k, int64_t depth) {
  return pack_left(panels, base, outer, rows, {k, depth});
}
dsk_left dsk_pack(float* panels, const bf16* base, const int64_t* outer, int64_t rows, const int64_t* k, int64_t depth) {
  return pack_left(panels, base, outer, rows, {k, depth});
}
dsk_left dsk_pack(float* panels, const f16* base, const int64_t* outer, int64_t rows, const int64_t* k, int64_t depth) {
  return pack_left(panels, base, outer, rows, {k, depth});
}
void dsk_multiply(float* c, int64_t stride, bool first, const dsk_left& a, int64_t rows, const float* base,
                  const int64_t* outer, int64_t columns, const int64_t* k, int64_t depth, const dsk_panels& panels,
                  dsk_fetch& fetch) {
  multiply(c, stride, first, a, rows, base, outer, columns, {k, depth}, panels, fetch);
}
void dsk_multiply(float* c, int64_t stride, bool first, const dsk_left& a, int64_t rows, const bf16* base,
                  const int64_t* outer, int64_t columns, const int64_t* k, int64_t depth, const dsk_panels& panels,
                  dsk_fetch& fetch) {
  multiply(c, stride, first, a, rows, base, outer, columns, {k, depth}, panels, fetch);
}
void dsk_multiply(float* c, int64_t stride, bool first, const dsk_left& a, int64_t rows, const f16* base,
                  const int64_t* outer, int64_t columns, const int64_t* k, int64_t depth, const dsk_panels& panels,
                  dsk_fetch& fetch) {
  multiply(c, stride, first, a, rows, base, outer, columns, {k, depth}, panels, fetch);
}

void dsk_sort_groups(const int32_t* group, int64_t count, int64_t groups, int64_t* start, int64_t* order) {
  const auto place = [&](int64_t i) { return uint32_t(group[i]) < uint64_t(groups) ? int64_t(group[i]) : groups; };
  for (int64_t g = 0; g <= groups + 1; g++) start[g] = 0;
  for (int64_t i = 0; i < count; i++) start[place(i) + 1]++;
  for (int64_t g = 0; g <= groups; g++) start[g + 1] += start[g];
  // Writing moves the start of each group to its end, which is the start of the next.
  for (int64_t i = 0; i < count; i++) order[start[place(i)]++] = i;
  for (int64_t g = groups + 1; g > 0; g--) start[g] = start[g - 1];
  start[0] = 0;
}

int64_t dsk_group_of_item(const int64_t* first_item, int64_t groups, int64_t item) {
  int64_t low = 0, high = groups;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (first_item[middle] <= item) low = middle;
    else high = middle;
  }
  return low;
}

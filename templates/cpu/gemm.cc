// Products of blocks (gemm.h): packing, the tile in registers, and the way of few rows.
#include "gemm.h"
#include <utility>

namespace {

// Vectors of the compiler: one source for all instruction sets. Products and sums of vectors become fused multiply-adds.
typedef float Tile __attribute__((vector_size(dsk_lanes * 4)));

// Packing turns small squares around in registers, 8 x 8 where vectors have room for it.
#ifdef __AVX__
constexpr int side = 8;
#else
constexpr int side = 4;
#endif
typedef float Row __attribute__((vector_size(side * 4)));
typedef int32_t Lanes __attribute__((vector_size(side * 4)));
typedef uint32_t Bits __attribute__((vector_size(side * 4)));
typedef uint16_t Halves __attribute__((vector_size(side * 2)));

template <class V> DSK_INLINE V load(const float* from) {
  V v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
template <class V> DSK_INLINE void store(float* to, V v) { __builtin_memcpy(to, &v, sizeof v); }

DSK_INLINE Row get_row(const float* from) { return load<Row>(from); }
DSK_INLINE Row get_row(const bf16* from) {
  Halves h;
  __builtin_memcpy(&h, from, sizeof h);
  return (Row)(__builtin_convertvector(h, Bits) << 16);
}
DSK_INLINE Row get_row(const f16* from) {
  Halves h;
  __builtin_memcpy(&h, from, sizeof h);
  const Bits x = __builtin_convertvector(h, Bits);  // as dsk_get does it
  const Row scaled = (Row)((x & 0x7fff) << 13) * 0x1p112f;
  const Bits special = (Bits)((x & 0x7c00) == 0x7c00) & 0x7f800000u;
  return (Row)((Bits)scaled | special | (x & 0x8000) << 16);
}

#ifdef __clang__
#define DSK_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define DSK_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Lanes{__VA_ARGS__})
#endif

// Row i of the result has element i of all rows.
DSK_INLINE void turn(Row (&r)[side]) {
#ifdef __AVX__
  Row s[8], t[8];
  for (int i = 0; i < 8; i += 2) {
    s[i] = DSK_SHUFFLE(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    s[i + 1] = DSK_SHUFFLE(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    t[i] = DSK_SHUFFLE(s[i], s[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    t[i + 1] = DSK_SHUFFLE(s[i], s[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    t[i + 2] = DSK_SHUFFLE(s[i + 1], s[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    t[i + 3] = DSK_SHUFFLE(s[i + 1], s[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = DSK_SHUFFLE(t[i], t[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[i + 4] = DSK_SHUFFLE(t[i], t[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
#else
  const Row a = DSK_SHUFFLE(r[0], r[1], 0, 4, 1, 5), b = DSK_SHUFFLE(r[0], r[1], 2, 6, 3, 7);
  const Row c = DSK_SHUFFLE(r[2], r[3], 0, 4, 1, 5), d = DSK_SHUFFLE(r[2], r[3], 2, 6, 3, 7);
  r[0] = DSK_SHUFFLE(a, c, 0, 1, 4, 5);
  r[1] = DSK_SHUFFLE(a, c, 2, 3, 6, 7);
  r[2] = DSK_SHUFFLE(b, d, 0, 1, 4, 5);
  r[3] = DSK_SHUFFLE(b, d, 2, 3, 6, 7);
#endif
}

// How many offsets from `from` on are neighbors.
int64_t run_length(const int64_t* at, int64_t from, int64_t size) {
  int64_t end = from + 1;
  while (end < size && at[end] == at[end - 1] + 1) end++;
  return end - from;
}
bool neighbors(const int64_t* at, int64_t size) { return run_length(at, 0, size) == size; }

// Packs at[0..count-1] as a panel: to[k * width + i], 0 for i >= count. Vectors write up to `side` floats past what they should:
// what is there is written afterwards, or is room.
template <class T>
void pack_panel(float* to, int width, const T* base, const int64_t* at, int count, const int64_t* k, int64_t depth) {
  if (count > 1 && neighbors(at, count)) {
    for (int64_t j = 0; j < depth; j++) {
      const T* from = base + at[0] + k[j];
      float* line = to + j * width;
      int i = 0;
      for (; i + side <= count; i += side) store(line + i, get_row(from + i));
      for (; i < count; i++) line[i] = dsk_get(from[i]);
      for (; i < width; i++) line[i] = 0;
    }
    return;
  }
  // The last rows first: the vectors of others write over what theirs leave behind them.
  for (int group = (width - 1) / side * side; group >= 0; group -= side) {
    const int rows = width - group < side ? width - group : side;
    const int valid = count - group < rows ? count - group : rows;
    for (int64_t j = 0; j < depth;) {
      const int64_t end = j + run_length(k, j, depth);
      for (; j + side <= end; j += side) {
        Row square[side];
        for (int i = 0; i < side; i++) square[i] = i < valid ? get_row(base + at[group + i] + k[j]) : Row{};
        turn(square);
        for (int i = 0; i < side; i++) store(to + (j + i) * width + group, square[i]);
      }
      for (; j < end; j++)
        for (int i = 0; i < rows; i++)
          to[j * width + group + i] = i < valid ? dsk_get(base[at[group + i] + k[j]]) : 0.0f;
    }
  }
}

// Rows of a panel of A, when `rows` are cut into equal panels.
int panel_rows(int64_t rows) { return rows <= dsk_few_rows ? int(rows) : int(dsk_piece(rows, dsk_tile_rows, 1)); }

template <class T>
void pack(float* panels, const T* base, const int64_t* outer, int64_t rows, const int64_t* k, int64_t depth) {
  const int width = panel_rows(rows);
  for (int64_t i = 0; i < rows; i += width)
    pack_panel(panels + i * depth, width, base, outer + i, int(dsk_min(width, rows - i)), k, depth);
}

// A tile of results: rows x vectors accumulators, all in registers.
template <int rows, int vectors>
void tile(float* c, int64_t stride, bool first, const float* a, int64_t width, const float* b, int64_t depth) {
  Tile sum[rows][vectors];
#pragma GCC unroll 32
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; j++) sum[i][j] = first ? Tile{} : load<Tile>(c + i * stride + j * dsk_lanes);
  for (int64_t k = 0; k < depth; k++) {
    Tile right[vectors];
#pragma GCC unroll 8
    for (int j = 0; j < vectors; j++) right[j] = load<Tile>(b + j * dsk_lanes);
#pragma GCC unroll 32
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
      for (int j = 0; j < vectors; j++) sum[i][j] += a[i] * right[j];
    a += width;
    b += vectors * dsk_lanes;
  }
#pragma GCC unroll 32
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; j++) store(c + i * stride + j * dsk_lanes, sum[i][j]);
}

typedef void (*TileFunction)(float*, int64_t, bool, const float*, int64_t, const float*, int64_t);
constexpr int most_vectors = dsk_tile_columns / dsk_lanes;

// The tiles of 1 to dsk_tile_rows rows by 1 to most_vectors vectors.
template <int... i> TileFunction tile_of(int rows, int vectors, std::integer_sequence<int, i...>) {
  static constexpr TileFunction all[] = {tile<i / most_vectors + 1, i % most_vectors + 1>...};
  return all[(rows - 1) * most_vectors + vectors - 1];
}

// Few rows, columns of B next to each other: several rows of B at once are added to the sums, which stay in the nearest cache.
template <int rows, int at_once, class T>
DSK_INLINE void add_rows(float* c, int64_t stride, const float* a, const T* base, const int64_t* k, int64_t columns) {
  float left[at_once][rows];
  const T* right[at_once];
  for (int u = 0; u < at_once; u++) {
    right[u] = base + k[u];
    for (int i = 0; i < rows; i++) left[u][i] = a[u * rows + i];
  }
  int64_t j = 0;
  for (; j + side <= columns; j += side) {
    Row sum[rows];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) sum[i] = load<Row>(c + i * stride + j);
#pragma GCC unroll 8
    for (int u = 0; u < at_once; u++) {
      const Row x = get_row(right[u] + j);
#pragma GCC unroll 4
      for (int i = 0; i < rows; i++) sum[i] += left[u][i] * x;
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) store(c + i * stride + j, sum[i]);
  }
  for (; j < columns; j++)
    for (int i = 0; i < rows; i++)
      for (int u = 0; u < at_once; u++) c[i * stride + j] += left[u][i] * dsk_get(right[u][j]);
}

template <int rows, class T>
void stream_rows(float* c, int64_t stride, const float* a, const T* base, const int64_t* k, int64_t columns, int64_t depth) {
  constexpr int at_once = rows <= 2 ? 8 : 4;
  int64_t j = 0;
  for (; j + at_once <= depth; j += at_once) add_rows<rows, at_once>(c, stride, a + j * rows, base, k + j, columns);
  for (; j < depth; j++) add_rows<rows, 1>(c, stride, a + j * rows, base, k + j, columns);
}

// Few rows, terms next to each other: squares of B are turned around in registers, so that the order of terms stays.
template <int rows, int squares, class T>
DSK_INLINE void add_columns(float* c, int64_t stride, const float* a, const T* base, const int64_t* outer, const int64_t* k,
                 int64_t depth) {
  Row sum[squares][rows];
#pragma GCC unroll 4
  for (int s = 0; s < squares; s++)
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) sum[s][i] = load<Row>(c + i * stride + s * side);
  for (int64_t j = 0; j < depth;) {
    const int64_t end = j + run_length(k, j, depth);
    for (; j + side <= end; j += side) {
#pragma GCC unroll 4
      for (int s = 0; s < squares; s++) {
        Row square[side];
#pragma GCC unroll 8
        for (int l = 0; l < side; l++) square[l] = get_row(base + outer[s * side + l] + k[j]);
        turn(square);
#pragma GCC unroll 8
        for (int u = 0; u < side; u++)
#pragma GCC unroll 4
          for (int i = 0; i < rows; i++) sum[s][i] += a[(j + u) * rows + i] * square[u];
      }
    }
    for (; j < end; j++)
      for (int s = 0; s < squares; s++) {
        Row x;
        for (int l = 0; l < side; l++) x[l] = dsk_get(base[outer[s * side + l] + k[j]]);
        for (int i = 0; i < rows; i++) sum[s][i] += a[j * rows + i] * x;
      }
  }
#pragma GCC unroll 4
  for (int s = 0; s < squares; s++)
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) store(c + i * stride + s * side, sum[s][i]);
}

template <int rows, class T>
void stream_columns(float* c, int64_t stride, const float* a, const T* base, const int64_t* outer, const int64_t* k,
                    int64_t columns, int64_t depth) {
  int64_t j = 0;
  for (; j + 2 * side <= columns; j += 2 * side) add_columns<rows, 2>(c + j, stride, a, base, outer + j, k, depth);
  for (; j + side <= columns; j += side) add_columns<rows, 1>(c + j, stride, a, base, outer + j, k, depth);
  for (; j < columns; j++)
    for (int i = 0; i < rows; i++) {
      float sum = c[i * stride + j];
      for (int64_t l = 0; l < depth; l++) sum += a[l * rows + i] * dsk_get(base[outer[j] + k[l]]);
      c[i * stride + j] = sum;
    }
}

template <int rows, class T>
void multiply_few(float* c, int64_t stride, bool first, const float* a, const T* base, const int64_t* outer,
                  int64_t columns, const int64_t* k, int64_t depth) {
  if (first)
    for (int i = 0; i < rows; i++)
      for (int64_t j = 0; j < columns; j++) c[i * stride + j] = 0;
  for (int64_t j = 0; j < columns;) {
    const int64_t run = run_length(outer, j, columns);
    // Columns apart from each other are taken together up to the next that have neighbors.
    int64_t end = j + run;
    if (run >= side) {
      stream_rows<rows>(c + j, stride, a, base + outer[j], k, run, depth);
    } else {
      while (end < columns && run_length(outer, end, dsk_min(columns, end + side)) < side) end++;
      stream_columns<rows>(c + j, stride, a, base, outer + j, k, end - j, depth);
    }
    j = end;
  }
}

template <class T>
void multiply(float* c, int64_t stride, bool first, const float* panels, int64_t rows, const T* base, const int64_t* outer,
              int64_t columns, const int64_t* k, int64_t depth, float* panel) {
  static_assert(dsk_few_rows == 4);
  switch (rows) {
    case 1: return multiply_few<1>(c, stride, first, panels, base, outer, columns, k, depth);
    case 2: return multiply_few<2>(c, stride, first, panels, base, outer, columns, k, depth);
    case 3: return multiply_few<3>(c, stride, first, panels, base, outer, columns, k, depth);
    case 4: return multiply_few<4>(c, stride, first, panels, base, outer, columns, k, depth);
  }
  const int width = panel_rows(rows);
  for (int64_t j = 0; j < columns; j += dsk_tile_columns) {
    const int count = int(dsk_min(dsk_tile_columns, columns - j));
    const int vectors = (count + dsk_lanes - 1) / dsk_lanes;
    pack_panel(panel, vectors * dsk_lanes, base, outer + j, count, k, depth);
    for (int64_t i = 0; i < rows; i += width) {
      const int height = int(dsk_min(width, rows - i));
      const auto function =
          tile_of(height, vectors, std::make_integer_sequence<int, dsk_tile_rows * most_vectors>());
      function(c + i * stride + j, stride, first, panels + i * depth, width, panel, depth);
    }
  }
}

}  // namespace

void dsk_pack(float* panels, const float* base, const int64_t* outer, int64_t rows, const int64_t* k, int64_t depth) {
  pack(panels, base, outer, rows, k, depth);
}
void dsk_pack(float* panels, const bf16* base, const int64_t* outer, int64_t rows, const int64_t* k, int64_t depth) {
  pack(panels, base, outer, rows, k, depth);
}
void dsk_pack(float* panels, const f16* base, const int64_t* outer, int64_t rows, const int64_t* k, int64_t depth) {
  pack(panels, base, outer, rows, k, depth);
}
void dsk_multiply(float* c, int64_t stride, bool first, const float* panels, int64_t rows, const float* base,
                  const int64_t* outer, int64_t columns, const int64_t* k, int64_t depth, float* panel) {
  multiply(c, stride, first, panels, rows, base, outer, columns, k, depth, panel);
}
void dsk_multiply(float* c, int64_t stride, bool first, const float* panels, int64_t rows, const bf16* base,
                  const int64_t* outer, int64_t columns, const int64_t* k, int64_t depth, float* panel) {
  multiply(c, stride, first, panels, rows, base, outer, columns, k, depth, panel);
}
void dsk_multiply(float* c, int64_t stride, bool first, const float* panels, int64_t rows, const f16* base,
                  const int64_t* outer, int64_t columns, const int64_t* k, int64_t depth, float* panel) {
  multiply(c, stride, first, panels, rows, base, outer, columns, k, depth, panel);
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

// Products of few rows: B is not packed, it goes through the registers once. The order of terms is that of the tiles.
#include "gemm-parts.h"
#include <utility>

namespace {

// Where memory is asked for while a term is added: some KiB later in a stretch of memory, else at a later term.
struct Ahead {
  int64_t elements = 0, terms = 0;

  int64_t of(const Terms& k, int64_t j) const { return k.at[dsk_min(j + terms, k.count - 1)] + elements; }
};

// Few rows, columns of B next to each other: some rows of B at once are added to the sums, which stay in the nearest cache.
template <int rows, int at_once, bool ask, class T>
DSK_INLINE void add_rows(float* c, int64_t stride, const float* a, const T* base, const Terms& k, int64_t from,
                         const Ahead& later, int64_t columns) {
  const T *right[at_once], *ahead[at_once];
  float left[at_once][rows];
  for (int u = 0; u < at_once; u++) {
    right[u] = base + k.at[from + u];
    ahead[u] = base + later.of(k, from + u);
    for (int i = 0; i < rows; i++) left[u][i] = a[(from + u) * rows + i];
  }
  constexpr int line = 64 / int(sizeof(T));
  int64_t j = 0;
  for (; j + dsk_tile_lanes <= columns; j += dsk_tile_lanes) {
    if (ask && j % line == 0)
      for (int u = 0; u < at_once; u++) __builtin_prefetch(ahead[u] + j, 0, 2);
    Tile sum[rows];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) sum[i] = load<Tile>(c + i * stride + j);
#pragma GCC unroll 8
    for (int u = 0; u < at_once; u++) {
      const Tile x = get<dsk_tile_lanes>(right[u] + j);
#pragma GCC unroll 8
      for (int i = 0; i < rows; i++) sum[i] += left[u][i] * x;
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) store(c + i * stride + j, sum[i]);
  }
  for (; j < columns; j++)
    for (int i = 0; i < rows; i++)
      for (int u = 0; u < at_once; u++) c[i * stride + j] += left[u][i] * dsk_get(right[u][j]);
}

template <int rows, int at_once, bool ask, class T>
void stream_rows(float* c, int64_t stride, const float* a, const T* base, const Terms& k, const Ahead& later, int64_t columns) {
  int64_t j = 0;
  for (; j + at_once <= k.count; j += at_once) add_rows<rows, at_once, ask>(c, stride, a, base, k, j, later, columns);
  for (; j < k.count; j++) add_rows<rows, 1, false>(c, stride, a, base, k, j, {}, columns);
}

// Where registers have room for all sums, nothing but B goes through the caches. It comes in pieces of one load: a vector, or two
// of half floats, the even columns and the odd ones, since widening them is one operation each.
template <class T> constexpr int piece = pairs<T> * dsk_tile_lanes;

template <int rows, int pieces, class T>
void add_in_registers(float* c, int64_t stride, const float* a, const T* base, const Terms& k, const Ahead& later) {
  constexpr int vectors = pieces * pairs<T>;
  // The column of a lane.
  const auto column = [](int v, int lane) { return v / pairs<T> * piece<T> + lane * pairs<T> + v % pairs<T>; };
  Tile sum[rows][vectors];
#pragma GCC unroll 2
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 32
    for (int v = 0; v < vectors; v++) {
      float own[dsk_tile_lanes];
      for (int l = 0; l < dsk_tile_lanes; l++) own[l] = c[i * stride + column(v, l)];
      sum[i][v] = load<Tile>(own);
    }
  for (int64_t j = 0; j < k.count; j++) {
    const T *const right = base + k.at[j], *const ahead = base + later.of(k, j);
#pragma GCC unroll 32
    for (int v = 0; v < vectors; v++) {
      if (v * dsk_tile_lanes * int(sizeof(T)) % 64 == 0) __builtin_prefetch(ahead + v * dsk_tile_lanes, 0, 2);
      const Tile x = part_of(T{}, load<Tile>(right + v / pairs<T> * piece<T>), v % pairs<T>);
#pragma GCC unroll 8
      for (int i = 0; i < rows; i++) sum[i][v] += a[j * rows + i] * x;
    }
  }
#pragma GCC unroll 2
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 32
    for (int v = 0; v < vectors; v += pairs<T>)
      for (int l = 0; l < dsk_tile_lanes; l++)
        for (int p = 0; p < pairs<T>; p++) c[i * stride + column(v + p, l)] = sum[i][v + p][l];
}

template <int rows, class T, int... i>
void add_in_registers(int pieces, float* c, int64_t stride, const float* a, const T* base, const Terms& k, const Ahead& later,
                      std::integer_sequence<int, i...>) {
  static constexpr decltype(&add_in_registers<rows, 1, T>) all[] = {add_in_registers<rows, i + 1, T>...};
  all[pieces - 1](c, stride, a, base, k, later);
}

// One or two rows of A wait for memory, which is fastest when it is read in its order; more have much to compute, and eight rows of
// B at once save most of the traffic of sums. How far ahead memory is asked for was measured.
template <int rows, class T>
void stream_rows(float* c, int64_t stride, const float* a, const T* base, const Terms& k, int64_t columns) {
  constexpr int in_tile = dsk_tile_rows * dsk_tile_columns / dsk_tile_lanes;
  constexpr int at_once = rows <= int(sizeof(T)) / 2 ? 1 : 8, most_pieces = rows <= 2 ? in_tile / rows / pairs<T> : 0;
  const int64_t bytes = columns * int64_t(sizeof(T)), terms = at_once * dsk_max(1, 8192 / (at_once * bytes));
  const bool stretch = k.count > 1 && k.at[1] - k.at[0] == columns;
  if constexpr (most_pieces > 0)
    if ((stretch || sizeof(T) < 4) && columns % piece<T> == 0 && columns / piece<T> <= most_pieces) {
      const Ahead later = stretch ? Ahead{.elements = 2048 / sizeof(T)} : Ahead{.terms = terms};
      constexpr auto all = std::make_integer_sequence<int, most_pieces>();
      return add_in_registers<rows>(int(columns / piece<T>), c, stride, a, base, k, later, all);
    }
  if constexpr (at_once == 1 && sizeof(T) == 4)
    if (stretch) {
      // Two rows take so long that the processor sees by itself where it goes on.
      const Ahead later{.elements = 2048 / sizeof(T)};
      return stream_rows<rows, at_once, rows == 1>(c, stride, a, base, k, later, columns);
    }
  stream_rows<rows, at_once, true>(c, stride, a, base, k, {.terms = terms}, columns);
}

// Few rows, terms next to each other, columns at equal distances: squares of B are turned around in registers, so that terms are
// added in their order. The sums of a square are one chain of additions: two squares keep the units busy.
template <int rows, int squares, class T>
DSK_INLINE void add_columns(float* c, int64_t stride, const float* a, const T* base, int64_t distance, const Terms& k) {
  Row sum[squares][rows];
#pragma GCC unroll 8
  for (int s = 0; s < squares; s++)
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) sum[s][i] = load<Row>(c + i * stride + s * side);
  constexpr int line = 2 * square_terms<T>;
  for (int64_t j = 0; j < k.count;) {
    const int64_t end = k.end_of_run(j);
    for (; j + line <= end; j += line) {
      const T* from = base + k.at[j];
      Row square[squares][2][side];
#pragma GCC unroll 8
      for (int s = 0; s < squares; s++) {
        // Both squares of a cache line at once: columns often are at distances at which they put each other out of the cache.
#pragma GCC unroll 8
        for (int l = 0; l < side; l++, from += distance) {
          // One address after the other: all of them at once would not fit into registers.
          __asm__("" : "+r"(from));
          square[s][0][l] = load<Row>(from);
          square[s][1][l] = load<Row>(from + square_terms<T>);
          __builtin_prefetch(from + squares * side * distance, 0, 2);
        }
        turn(square[s][0]);
        turn(square[s][1]);
      }
#pragma GCC unroll 2
      for (int h = 0; h < 2; h++)
#pragma GCC unroll 16
        for (int u = 0; u < square_terms<T>; u++)
#pragma GCC unroll 8
          for (int s = 0; s < squares; s++) {
            const Row x = part_of(T{}, square[s][h][u / pairs<T>], u % pairs<T>);
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++) sum[s][i] += a[(j + h * square_terms<T> + u) * rows + i] * x;
          }
    }
    for (; j < end; j++)
      for (int s = 0; s < squares; s++) {
        Row x;
        for (int l = 0; l < side; l++) x[l] = dsk_get(base[(s * side + l) * distance + k.at[j]]);
        for (int i = 0; i < rows; i++) sum[s][i] += a[j * rows + i] * x;
      }
  }
#pragma GCC unroll 8
  for (int s = 0; s < squares; s++)
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) store(c + i * stride + s * side, sum[s][i]);
}

template <int rows, class T>
void stream_columns(float* c, int64_t stride, const float* a, const T* base, int64_t distance, int64_t columns,
                    const Terms& k) {
  constexpr int squares = sizeof(T) < 4 && rows <= 4 ? 2 : 1;
  int64_t j = 0;
  for (; j + squares * side <= columns; j += squares * side)
    add_columns<rows, squares>(c + j, stride, a, base + j * distance, distance, k);
  for (; j + side <= columns; j += side) add_columns<rows, 1>(c + j, stride, a, base + j * distance, distance, k);
  for (; j < columns; j++)
    for (int i = 0; i < rows; i++) {
      float sum = c[i * stride + j];
      for (int64_t l = 0; l < k.count; l++) sum += a[l * rows + i] * dsk_get(base[j * distance + k.at[l]]);
      c[i * stride + j] = sum;
    }
}

template <int rows, class T>
bool stream(float* c, int64_t stride, bool first, const float* a, const T* base, const int64_t* outer, int64_t columns,
            const Terms& k) {
  const int64_t distance = distance_of(outer, columns);
  if (distance <= 0 && !all_in_runs(outer, columns)) return false;
  if (first)
    for (int i = 0; i < rows; i++)
      for (int64_t j = 0; j < columns; j++) c[i * stride + j] = 0;
  if (distance > 1) {
    stream_columns<rows>(c, stride, a, base + outer[0], distance, columns, k);
    return true;
  }
  for (int64_t j = 0, run; j < columns; j += run) {
    run = distance == 1 ? columns : run_length(outer, j, columns);
    stream_rows<rows>(c + j, stride, a, base + outer[j], k, run);
  }
  return true;
}

template <class T, int... i>
bool stream_rows_of(int rows, float* c, int64_t stride, bool first, const float* a, const T* base, const int64_t* outer,
                    int64_t columns, const Terms& k, std::integer_sequence<int, i...>) {
  static constexpr decltype(&stream<1, T>) all[] = {stream<i + 1, T>...};
  return all[rows - 1](c, stride, first, a, base, outer, columns, k);
}

}  // namespace

bool dsk_stream(float* c, int64_t stride, bool first, const float* a, int rows, const float* base, const int64_t* outer,
                int64_t columns, const Terms& k) {
  return stream_rows_of(rows, c, stride, first, a, base, outer, columns, k, std::make_integer_sequence<int, dsk_few_rows>());
}
bool dsk_stream(float* c, int64_t stride, bool first, const float* a, int rows, const bf16* base, const int64_t* outer,
                int64_t columns, const Terms& k) {
  return stream_rows_of(rows, c, stride, first, a, base, outer, columns, k, std::make_integer_sequence<int, dsk_few_rows>());
}

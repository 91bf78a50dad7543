// Products that lead into a block of rows of a plane, and out of it. Every element is one sum in one order, whatever else
// is in the block: results do not depend on how rows are grouped.
#pragma once
#include "dsk.h"

// Sixteen lanes: one register of AVX-512, two of AVX2, four of NEON or SSE.
typedef float dsk_lanes __attribute__((vector_size(64), aligned(4)));
constexpr int64_t DSK_LANES = 16;

DSK_INLINE int64_t dsk_padded(int64_t n) { return (n + DSK_LANES - 1) / DSK_LANES * DSK_LANES; }

template <int R>
static inline void dsk_enter_rows(float* plane, int64_t stride, int64_t columns, const float* a, int64_t k, const float* b, bool add) {
  for (int64_t c = 0; c < columns; c += DSK_LANES, b += k * DSK_LANES) {
    dsk_lanes sum[R] = {};
    for (int64_t i = 0; i < k; i++) {
      const dsk_lanes right = *(const dsk_lanes*)(b + i * DSK_LANES);
      for (int r = 0; r < R; r++) sum[r] += a[r * k + i] * right;
    }
    for (int r = 0; r < R; r++) {
      float* to = plane + r * stride + c;
      if (c + DSK_LANES <= columns) {
        *(dsk_lanes*)to = add ? *(dsk_lanes*)to + sum[r] : sum[r];
      } else {
        for (int64_t j = 0; j < columns - c; j++) to[j] = add ? to[j] + sum[r][j] : sum[r][j];
      }
    }
  }
}

// plane[r][c] (+)= sum over i of a[r][i] * b[i][c]; b in blocks of 16 columns, each [k][16].
static inline void dsk_enter(float* plane, int64_t stride, int64_t rows, int64_t columns, const float* a, int64_t k, const float* b, bool add) {
  int64_t r = 0;
  for (; r + 6 <= rows; r += 6) dsk_enter_rows<6>(plane + r * stride, stride, columns, a + r * k, k, b, add);
  for (; r + 2 <= rows; r += 2) dsk_enter_rows<2>(plane + r * stride, stride, columns, a + r * k, k, b, add);
  for (; r < rows; r++) dsk_enter_rows<1>(plane + r * stride, stride, columns, a + r * k, k, b, add);
}

template <int R>
static inline void dsk_leave_rows_of(float* out, int64_t n, int64_t columns, const float* plane, int64_t stride, const float* b) {
  for (int64_t j = 0; j < n; j += DSK_LANES) {
    dsk_lanes sum[R];
    for (int r = 0; r < R; r++) sum[r] = *(const dsk_lanes*)(out + r * n + j);
    for (int64_t c = 0; c < columns; c++) {
      const dsk_lanes right = *(const dsk_lanes*)(b + c * n + j);
      for (int r = 0; r < R; r++) sum[r] += plane[r * stride + c] * right;
    }
    for (int r = 0; r < R; r++) *(dsk_lanes*)(out + r * n + j) = sum[r];
  }
}

// out[r][j] += sum over c of plane[r][c] * b[c][j]; n is a multiple of 16.
static inline void dsk_leave_rows(float* out, int64_t n, int64_t rows, int64_t columns, const float* plane, int64_t stride, const float* b) {
  int64_t r = 0;
  for (; r + 6 <= rows; r += 6) dsk_leave_rows_of<6>(out + r * n, n, columns, plane + r * stride, stride, b);
  for (; r + 2 <= rows; r += 2) dsk_leave_rows_of<2>(out + r * n, n, columns, plane + r * stride, stride, b);
  for (; r < rows; r++) dsk_leave_rows_of<1>(out + r * n, n, columns, plane + r * stride, stride, b);
}

template <int C>
static inline void dsk_leave_columns_of(float* out, int64_t n, int64_t rows, const float* plane, int64_t stride, const float* x) {
  for (int64_t j = 0; j < n; j += DSK_LANES) {
    dsk_lanes sum[C] = {};
    for (int64_t r = 0; r < rows; r++) {
      const dsk_lanes right = *(const dsk_lanes*)(x + r * n + j);
      for (int c = 0; c < C; c++) sum[c] += plane[r * stride + c] * right;
    }
    for (int c = 0; c < C; c++) *(dsk_lanes*)(out + c * n + j) = sum[c];
  }
}

// out[c][j] = sum over r of plane[r][c] * x[r][j]; n is a multiple of 16.
static inline void dsk_leave_columns(float* out, int64_t n, int64_t rows, int64_t columns, const float* plane, int64_t stride, const float* x) {
  int64_t c = 0;
  for (; c + 6 <= columns; c += 6) dsk_leave_columns_of<6>(out + c * n, n, rows, plane + c, stride, x);
  for (; c < columns; c++) dsk_leave_columns_of<1>(out + c * n, n, rows, plane + c, stride, x);
}

// Neighboring tokens whose spans together are hardly longer than the longest of them: what one block computes.
struct dsk_block { int64_t end, from, to; };
template <class From, class To>
DSK_INLINE dsk_block dsk_next_block(int64_t token, int64_t limit, int64_t most, From from, To to) {
  dsk_block block = {token + 1, from(token), to(token)};
  if (block.to <= block.from) block.from = block.to = 0;
  int64_t longest = block.to - block.from;
  while (block.end < limit && block.end - token < most) {
    const int64_t f = from(block.end), t = to(block.end);
    const int64_t low = f < block.from ? f : block.from, high = t > block.to ? t : block.to;
    const int64_t own = t - f > longest ? t - f : longest;
    if (t <= f || high - low > own + 64) break;
    block = {block.end + 1, low, high};
    longest = own;
  }
  return block;
}

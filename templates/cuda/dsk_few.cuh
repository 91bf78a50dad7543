// Products of few rows: eight warps share the terms, each thread reads 8 or 16 bytes of the large operand at a time, which nobody
// reads again. Lane 4 * octet + quad of a warp has other columns and terms than all others; results of rows 2 * quad and 2 * quad + 1
// end in it, as mma.m16n8k16 leaves them where the large operand is its A.
#pragma once

#include "dsk_codes.cuh"
#include "dsk_mma.cuh"

DSK_INLINE void read_half(unsigned (&to)[1], const void* from) { to[0] = *static_cast<const unsigned short*>(from); }

// Words of a row that other blocks read, too.
DSK_INLINE void read_line(unsigned (&to)[4], const void* from) {
  const uint4 x = *static_cast<const uint4*>(from);
  to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
}

DSK_INLINE void read_line(unsigned (&to)[2], const void* from) {
  const uint2 x = *static_cast<const uint2*>(from);
  to[0] = x.x, to[1] = x.y;
}

// Four neighbors as floats.
DSK_INLINE void read_floats(float (&to)[4], const float* from) {
  unsigned words[4];
  read_words(words, from);
  for (int i = 0; i < 4; i++) to[i] = bits_float(words[i]);
}

DSK_INLINE void read_floats(float (&to)[4], const bf16* from) {
  unsigned words[2];
  read_words(words, from);
  for (int i = 0; i < 4; i++) to[i] = bits_float(i % 2 == 0 ? words[i / 2] << 16 : words[i / 2] & 0xffff0000u);
}

// Codes of eight, and of four bits.
DSK_INLINE void read_floats(float (&to)[4], const signed char* from) {
  const unsigned word = *reinterpret_cast<const unsigned*>(from);
  for (int i = 0; i < 4; i++) to[i] = (int)(word << (24 - 8 * i)) >> 24;
}

DSK_INLINE void read_floats(float (&to)[4], const unsigned char* from) {
  const unsigned word = *reinterpret_cast<const unsigned short*>(from);
  for (int i = 0; i < 4; i++) to[i] = (int)(word << (28 - 4 * i)) >> 28;
}

// Neighbors, AT_ONCE of which lie at a multiple of their number.
template <int AT_ONCE, int SCALES> DSK_INLINE void read_scales(float (&to)[SCALES], const bf16* from) {
#pragma unroll
  for (int i = 0; i < SCALES; i += AT_ONCE)
    if constexpr (AT_ONCE == 1) {
      to[i] = float(from[i]);
    } else {
      const Vector<float, AT_ONCE> some = vector_at<AT_ONCE>(from, i);
      for (int j = 0; j < AT_ONCE; j++) to[i + j] = some[j];
    }
}

// The first, or the second, of both words' numbers.
DSK_INLINE unsigned first_halves(unsigned a, unsigned b) { return (a & 0xffffu) | b << 16; }
DSK_INLINE unsigned second_halves(unsigned a, unsigned b) { return a >> 16 | (b & 0xffff0000u); }

// Columns are neighbors: `b` has 2 * WORDS columns from that of the octet on, of terms 4 * quad to 4 * quad + 3 of 16; `a` has the same
// terms of row `octet`.
template <int WORDS> DSK_INLINE void add_columns(float (&sums)[WORDS][4], const unsigned (&b)[4][WORDS], const unsigned (&a)[2]) {
#pragma unroll
  for (int j = 0; j < WORDS; j++) {
    const unsigned columns[4] = {first_halves(b[0][j], b[1][j]), second_halves(b[0][j], b[1][j]),
                                 first_halves(b[2][j], b[3][j]), second_halves(b[2][j], b[3][j])};
    mma_m16n8k16_bf16(sums[j], columns, a[0], a[1]);
  }
}

// Terms are neighbors: `b` has terms 8 * quad to 8 * quad + 7 of 32 for columns octet, octet + 8, ...; `a` those of row `octet`.
template <int PAIRS> DSK_INLINE void add_terms(float (&sums)[PAIRS][4], const unsigned (&b)[2 * PAIRS][4], const unsigned (&a)[4]) {
#pragma unroll
  for (int j = 0; j < PAIRS; j++)
#pragma unroll
    for (int half = 0; half < 4; half += 2) {
      const unsigned columns[4] = {b[2 * j][half], b[2 * j + 1][half], b[2 * j][half + 1], b[2 * j + 1][half + 1]};
      mma_m16n8k16_bf16(sums[j], columns, a[half], a[half + 1]);
    }
}

// Of terms 4 * quad to 4 * quad + 3: pairs of terms of each column as bf16. `b` has a line of columns for each term.
template <int BITS, int COLUMNS, int WORDS>
DSK_INLINE void codes_of_columns(unsigned (&pairs)[COLUMNS][2], const unsigned (&b)[4][WORDS]) {
#pragma unroll
  for (int half = 0; half < 2; half++)
#pragma unroll
    for (int i = 0; i < COLUMNS * BITS / 8; i++) {
      constexpr unsigned BIASED = BITS == 4 ? 0x88888888u : 0;
      const unsigned both = bytes_of(b[2 * half][i / 4] ^ BIASED, b[2 * half + 1][i / 4] ^ BIASED, i % 4);
      if constexpr (BITS == 8) pairs[i][half] = int8_pair(both);
      else pairs[2 * i][half] = int4_pair(both), pairs[2 * i + 1][half] = int4_pair(both >> 4);
    }
}

// Of terms 8 * quad to 8 * quad + 7: pairs of terms i and i + 4 of each column as bf16. `b` has a line of terms for each column.
template <int BITS, int COLUMNS, int WORDS>
DSK_INLINE void codes_of_terms(unsigned (&pairs)[COLUMNS][4], const unsigned (&b)[COLUMNS][WORDS]) {
#pragma unroll
  for (int c = 0; c < COLUMNS; c++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if constexpr (BITS == 8) pairs[c][i] = int8_pair(bytes_of(b[c][0], b[c][1], i));
      else pairs[c][i] = int4_pair((b[c][0] ^ 0x88888888u) >> 4 * i);
    }
}

// Terms of a row in the order of these pairs.
DSK_INLINE void pair_far(unsigned (&line)[4]) {
  const unsigned pairs[4] = {first_halves(line[0], line[2]), second_halves(line[0], line[2]), first_halves(line[1], line[3]),
                             second_halves(line[1], line[3])};
#pragma unroll
  for (int i = 0; i < 4; i++) line[i] = pairs[i];
}

DSK_INLINE void add_scaled(float (&sums)[4], const float (&products)[4], float first, float second) {
  for (int i = 0; i < 4; i++) sums[i] += products[i] * (i < 2 ? first : second);
}

// As add_columns; all terms of a column have one scale.
template <int COLUMNS>
DSK_INLINE void add_scaled_columns(float (&sums)[COLUMNS / 2][4], const unsigned (&b)[COLUMNS][2], const unsigned (&a)[2],
                                   const float (&scales)[COLUMNS]) {
#pragma unroll
  for (int c = 0; c < COLUMNS; c += 2) {
    const unsigned columns[4] = {b[c][0], b[c + 1][0], b[c][1], b[c + 1][1]};
    float products[4] = {};
    mma_m16n8k16_bf16(products, columns, a[0], a[1]);
    add_scaled(sums[c / 2], products, scales[c], scales[c + 1]);
  }
}

// As add_terms; all terms of a column have one scale, that of its group.
template <int COLUMNS, int GROUPS>
DSK_INLINE void add_scaled_terms(float (&sums)[COLUMNS / 2][4], const unsigned (&b)[COLUMNS][4], const unsigned (&a)[4],
                                 const float (&scales)[COLUMNS][GROUPS], int group) {
#pragma unroll
  for (int c = 0; c < COLUMNS; c += 2) {
    float products[4] = {};
#pragma unroll
    for (int half = 0; half < 4; half += 2) {
      const unsigned columns[4] = {b[c][half], b[c + 1][half], b[c][half + 1], b[c + 1][half + 1]};
      mma_m16n8k16_bf16(products, columns, a[half], a[half + 1]);
    }
    add_scaled(sums[c / 2], products, scales[c][group], scales[c + 1][group]);
  }
}

// Sums of four columns and eight rows over the quads, each of which keeps two rows.
DSK_INLINE void over_quads(float (&sums)[2][4], const float (&all)[4][8]) {
  const int quad = threadIdx.x % 4;
#pragma unroll
  for (int c = 0; c < 4; c++) {
    float half[4];
#pragma unroll
    for (int r = 0; r < 4; r++) {
      const float kept = quad < 2 ? all[c][r] : all[c][r + 4], given = quad < 2 ? all[c][r + 4] : all[c][r];
      half[r] = kept + __shfl_xor_sync(0xffffffffu, given, 2);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const float kept = quad % 2 == 0 ? half[r] : half[r + 2], given = quad % 2 == 0 ? half[r + 2] : half[r];
      sums[c / 2][c % 2 * 2 + r] = kept + __shfl_xor_sync(0xffffffffu, given, 1);
    }
  }
}

// Keeps the sums of two warps, four apart, together, for `sum_of_warps`; a barrier stands between both. All threads call it.
template <int GROUPS> DSK_INLINE void keep_sums(float (*slab)[GROUPS * 4][32], const float (&sums)[GROUPS][4]) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < GROUPS * 4; i++)
    if (warp >= 4) slab[warp - 4][i][lane] = sums[i / 4][i % 4];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < GROUPS * 4; i++)
    if (warp < 4) slab[warp][i][lane] += sums[i / 4][i % 4];
}

// Of a row and a column of an octet, warps in their order.
template <int VALUES> DSK_INLINE float sum_of_warps(const float (*slab)[VALUES][32], int row, int octet, int column) {
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < 4; i++) sum += slab[i][column * 2 + row % 2][octet * 4 + row / 2];
  return sum;
}

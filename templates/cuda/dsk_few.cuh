// Products of few rows: eight warps share the terms, each thread reads 8 or 16 bytes of the large operand at a time, which nobody
// reads again. Lane 4 * octet + quad of a warp has other columns and terms than all others; results of rows 2 * quad and 2 * quad + 1
// end in it, as mma.m16n8k16 leaves them where the large operand is its A.
#pragma once

#include "dsk_mma.cuh"

// Words of memory that nobody reads again soon: past the first-level cache.
DSK_INLINE void read_words(unsigned (&to)[4], const void* from) {
#ifdef DSK_HARNESS
  const uint4 x = *static_cast<const uint4*>(from);
  to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
#else
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
      : "l"(from));
#endif
}

DSK_INLINE void read_words(unsigned (&to)[2], const void* from) {
#ifdef DSK_HARNESS
  const uint2 x = *static_cast<const uint2*>(from);
  to[0] = x.x, to[1] = x.y;
#else
  asm("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "l"(from));
#endif
}

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

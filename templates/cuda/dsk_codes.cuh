// Weights that are stored as codes: how they are read, what they are as bf16, and tiles of them for tensor cores.
#pragma once

#include "dsk.cuh"

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

DSK_INLINE void read_words(unsigned (&to)[1], const void* from) { to[0] = *static_cast<const unsigned*>(from); }

// Both halves added as bf16, where the sums are bf16.
DSK_INLINE unsigned added_bf16(unsigned a, unsigned b) {
#ifdef DSK_HARNESS
  const auto high = [](float x) { return float_bits(x) >> 16; };
  return high(bits_float(a << 16) + bits_float(b << 16)) | high(bits_float(a & 0xffff0000u) + bits_float(b & 0xffff0000u)) << 16;
#else
  unsigned sum;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(0x3f803f80u), "r"(b));
  return sum;
#endif
}

// Whole numbers in the low eight, or four, bits of both halves, as bf16: 128 and the bits without the sign are a bf16 with these bits
// behind its first one, from which 128 goes, or 256 where the sign is set. Of four bits, 8 is added before, and goes together with 128.
DSK_INLINE unsigned int8_pair(unsigned x) {
  return added_bf16((x & 0x007f007fu) | 0x43004300u, (x & 0x00800080u) | 0xc300c300u);
}
DSK_INLINE unsigned int4_pair(unsigned x) { return added_bf16((x & 0x000f000fu) | 0x43004300u, 0xc308c308u); }

// A byte of each word, in the low bits of both halves.
DSK_INLINE unsigned bytes_of(unsigned first, unsigned second, int byte) { return __byte_perm(first, second, byte * 0x0101 + 0x0400); }

// Both halves multiplied as bf16: exact products, rounded once to the nearest, the even one of two.
DSK_INLINE unsigned multiplied_bf16(unsigned a, unsigned b) {
#ifdef DSK_HARNESS
  const auto rounded = [](unsigned x, unsigned y) {
    const bf16 z(bits_float(x) * bits_float(y));
    return float_bits(float(z)) >> 16;
  };
  return rounded(a << 16, b << 16) | rounded(a & 0xffff0000u, b & 0xffff0000u) << 16;
#else
  unsigned product;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(product) : "r"(a), "r"(b), "r"(0x80008000u));  // minus zero changes nothing
  return product;
#endif
}

// Codes 2 * j and 2 * j + 1 of eight that are neighbors, as bf16.
template <int BITS> DSK_INLINE unsigned code_pair(const unsigned (&codes)[BITS / 4], int j) {
  if constexpr (BITS == 8) {
    return int8_pair(__byte_perm(codes[j / 2], 0, j % 2 == 0 ? 0x4140 : 0x4342));
  } else {
    const unsigned biased = codes[0] ^ 0x88888888u;
    return int4_pair(bytes_of(biased, biased >> 4, j));
  }
}

// Codes of eight columns, in `count` of TERMS terms that are `pitch` bytes apart; those behind them are 0.
template <int TERMS, int WORDS>
DSK_INLINE void read_codes(unsigned (&codes)[TERMS][WORDS], const void* from, long long pitch, int count) {
#pragma unroll
  for (int i = 0; i < TERMS; i++) {
#pragma unroll
    for (int j = 0; j < WORDS; j++) codes[i][j] = 0;
    if (i < count) read_words(codes[i], static_cast<const unsigned char*>(from) + i * pitch);
  }
}

DSK_INLINE void prefetch(const void* at) {
#ifdef DSK_HARNESS
  (void)*static_cast<const volatile char*>(at);  // what is no memory shows
#else
  asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
#endif
}

// Brings what is read soon to the second-level cache: `bytes` of `rows` of ROWS rows, `pitch` bytes apart, 32 bytes for a thread of 128.
template <int ROWS, int LINES>
DSK_INLINE void prefetch_rows(const void* from, long long pitch, int thread, int rows, int bytes) {
#pragma unroll
  for (int first = 0; first < ROWS * LINES; first += 128) {
    const int row = (first + thread) / LINES, at = (first + thread) % LINES * 32;
    if (row < rows && at < bytes) prefetch(static_cast<const char*>(from) + row * pitch + at);
  }
}

// What eight columns are multiplied by, where `there`.
DSK_INLINE void read_factors(unsigned (&factors)[4], const bf16* from, bool there) {
  const uint4 line = there ? *reinterpret_cast<const uint4*>(from) : uint4{0, 0, 0, 0};
  factors[0] = line.x, factors[1] = line.y, factors[2] = line.z, factors[3] = line.w;
}

// Codes times what their columns are multiplied by, as bf16, to lines of 64 columns of each term: `chunk` is the place of these eight.
template <int BITS, int TERMS>
DSK_INLINE void write_codes(unsigned char* to, int first_term, int chunk, const unsigned (&codes)[TERMS][BITS / 4],
                            const unsigned (&factors)[4]) {
#pragma unroll
  for (int i = 0; i < TERMS; i++) {
    unsigned pairs[4];
#pragma unroll
    for (int j = 0; j < 4; j++) pairs[j] = multiplied_bf16(code_pair<BITS>(codes[i], j), factors[j]);
    const int term = first_term + i;
    *reinterpret_cast<uint4*>(to + term * 128 + (chunk ^ term % 8) * 16) = uint4{pairs[0], pairs[1], pairs[2], pairs[3]};
  }
}

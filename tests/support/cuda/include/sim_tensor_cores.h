// Matrices of a warp and of a warpgroup (PTX ISA, "Warp Level Matrix Instructions" and "Asynchronous Warpgroup Level Matrix
// Instructions"). Names are those of templates/cuda/dsk_mma.cuh and dsk_sm90.cuh; sums are in f32.
#pragma once
#include <cstdint>

#include "harness_numbers.h"

namespace dsk::sim {

// ldmatrix and stmatrix: `count` matrices of 8 x 8 16-bit numbers; lane i has the address of row i % 8 of matrix i / 8.
void load_matrices(unsigned* registers, const void* row, uint32_t count, bool transposed);
void store_matrices(void* row, const unsigned* registers, uint32_t count, bool transposed);

inline void ldmatrix_x4(unsigned (&r)[4], const void* row) { load_matrices(r, row, 4, false); }
inline void ldmatrix_x2(unsigned (&r)[2], const void* row) { load_matrices(r, row, 2, false); }
inline void ldmatrix_x4_transposed(unsigned (&r)[4], const void* row) { load_matrices(r, row, 4, true); }
inline void ldmatrix_x2_transposed(unsigned (&r)[2], const void* row) { load_matrices(r, row, 2, true); }
inline void stmatrix_x4(void* row, unsigned a, unsigned b, unsigned c, unsigned d) {
  const unsigned r[] = {a, b, c, d};
  store_matrices(row, r, 4, false);
}
inline void stmatrix_x2(void* row, unsigned a, unsigned b) {
  const unsigned r[] = {a, b};
  store_matrices(row, r, 2, false);
}
inline void stmatrix_x4_transposed(void* row, unsigned a, unsigned b, unsigned c, unsigned d) {
  const unsigned r[] = {a, b, c, d};
  store_matrices(row, r, 4, true);
}
inline void stmatrix_x2_transposed(void* row, unsigned a, unsigned b) {
  const unsigned r[] = {a, b};
  store_matrices(row, r, 2, true);
}

enum class Number : uint8_t { kBf16, kF16, kTf32, kE4m3 };

// mma.m16n8: d += a b; a has rows of 32 bytes (m16n8k16 of 16-bit numbers, k32 of bytes, k8 of tf32), b likewise, by columns.
void mma_m16n8(float* d, const unsigned* a, const unsigned* b, Number number);

inline void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const unsigned b[] = {b0, b1};
  mma_m16n8(d, a, b, Number::kBf16);
}
inline void mma_m16n8k16_f16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const unsigned b[] = {b0, b1};
  mma_m16n8(d, a, b, Number::kF16);
}
inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const unsigned b[] = {b0, b1};
  mma_m16n8(d, a, b, Number::kTf32);
}
inline void mma_m16n8k32_e4m3(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const unsigned b[] = {b0, b1};
  mma_m16n8(d, a, b, Number::kE4m3);
}

using Descriptor = unsigned long long;

// A product of a warpgroup: d (64 x n) = a (64 x 32 bytes) b (32 bytes x n) + d, or without + d when `accumulate` is 0. A is in
// shared memory, or where `a_registers` is not null in each lane's four registers. `mn_major`: rows of A, or columns of B, are
// neighbors in shared memory, not the terms of a sum.
struct WgmmaCall {
  uint32_t n;
  Number number;
  float* d;
  const unsigned* a_registers;
  Descriptor a;
  Descriptor b;
  bool a_mn_major;
  bool b_mn_major;
  bool accumulate;
};
void wgmma(const WgmmaCall& call);

template <int N, int A_MN_MAJOR, int B_MN_MAJOR>
void wgmma_bf16(float (&d)[N / 2], Descriptor a, Descriptor b, int accumulate) {
  wgmma({N, Number::kBf16, d, nullptr, a, b, A_MN_MAJOR != 0, B_MN_MAJOR != 0, accumulate != 0});
}
template <int N, int B_MN_MAJOR>
void wgmma_bf16(float (&d)[N / 2], const unsigned (&a)[4], Descriptor b, int accumulate) {
  wgmma({N, Number::kBf16, d, a, 0, b, false, B_MN_MAJOR != 0, accumulate != 0});
}
template <int N, int A_MN_MAJOR, int B_MN_MAJOR>
void wgmma_f16(float (&d)[N / 2], Descriptor a, Descriptor b, int accumulate) {
  wgmma({N, Number::kF16, d, nullptr, a, b, A_MN_MAJOR != 0, B_MN_MAJOR != 0, accumulate != 0});
}
template <int N, int B_MN_MAJOR>
void wgmma_f16(float (&d)[N / 2], const unsigned (&a)[4], Descriptor b, int accumulate) {
  wgmma({N, Number::kF16, d, a, 0, b, false, B_MN_MAJOR != 0, accumulate != 0});
}
template <int N>
void wgmma_e4m3(float (&d)[N / 2], Descriptor a, Descriptor b, int accumulate) {
  wgmma({N, Number::kE4m3, d, nullptr, a, b, false, false, accumulate != 0});
}
template <int N>
void wgmma_e4m3(float (&d)[N / 2], const unsigned (&a)[4], Descriptor b, int accumulate) {
  wgmma({N, Number::kE4m3, d, a, 0, b, false, false, accumulate != 0});
}

// As templates/cuda/dsk_sm90.cuh has it: 128-byte swizzle.
Descriptor wgmma_descriptor(const void* tile, int leading, int stride);

void wgmma_fence();
void wgmma_commit();
void wgmma_wait(uint32_t groups);
template <int pending>
void wgmma_wait() {
  wgmma_wait(pending);
}

}  // namespace dsk::sim

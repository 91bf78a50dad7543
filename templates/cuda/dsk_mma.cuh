// Tensor cores as sm_80 and sm_89 have them: copies past the registers, matrices from shared memory, products of a warp.
// Under DSK_HARNESS every function is the one of the same name in dsk::sim.
#pragma once

#include "dsk.cuh"

#ifndef DSK_HARNESS
// The address of shared memory as instructions take it.
DSK_INLINE unsigned mma_address(const void* at) { return static_cast<unsigned>(__cvta_generic_to_shared(at)); }
#endif

// cp.async: 16 bytes to shared memory, of which `bytes` (0 or 16) are read and the others are 0.
DSK_INLINE void cp_async_16(void* to, const void* from, int bytes) {
#ifdef DSK_HARNESS
  dsk::sim::cp_async_16(to, from, bytes);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(mma_address(to)), "l"(from), "r"(bytes) : "memory");
#endif
}

// Rows of 64 elements times `lines`, 128 threads: eight have a line of 128 bytes, which is swizzled. Those from `count` on are 0.
// `row` says where one begins, by its number and by the thread's own count.
template <int rows, int lines, class Row>
DSK_INLINE void gather_rows(unsigned char* to, int thread, int count, Row row) {
#pragma unroll
  for (int i = 0; i < rows / 16; i++) {
    const int own = i * 16 + thread / 8, chunk = thread % 8, place = own * 128 + (chunk ^ own % 8) * 16;
    const bf16* from = row(own, i) + chunk * 8;
#pragma unroll
    for (int j = 0; j < lines; j++) cp_async_16(to + j * rows * 128 + place, from + j * 64, own < count ? 16 : 0);
  }
}

// cp.async.commit_group: the copies of this thread since the last group are a group.
DSK_INLINE void cp_async_commit() {
#ifdef DSK_HARNESS
  dsk::sim::cp_async_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// cp.async.wait_group: all but the last `pending` groups of this thread have arrived.
template <int pending>
DSK_INLINE void cp_async_wait() {
#ifdef DSK_HARNESS
  dsk::sim::cp_async_wait<pending>();
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

// ldmatrix: four matrices of 8 x 8 16-bit numbers; lane i has the address of row i % 8 of matrix i / 8.
DSK_INLINE void ldmatrix_x4(unsigned (&r)[4], const void* row) {
#ifdef DSK_HARNESS
  dsk::sim::ldmatrix_x4(r, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(mma_address(row))
               : "memory");
#endif
}

DSK_INLINE void ldmatrix_x4_transposed(unsigned (&r)[4], const void* row) {
#ifdef DSK_HARNESS
  dsk::sim::ldmatrix_x4_transposed(r, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(mma_address(row))
               : "memory");
#endif
}

// mma.m16n8k16: d += a (16 x 16, rows) * b (16 x 8, columns), sums in f32.
DSK_INLINE void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#ifdef DSK_HARNESS
  dsk::sim::mma_m16n8k16_bf16(d, a, b0, b1);
#else
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// What Hopper adds to CUDA C++: a function for each PTX instruction that kernels use, named as its section of the PTX ISA.
// wgmma has as many registers as its tile: each kernel declares the shapes it uses. Under DSK_HARNESS every function is the
// one of the same name in dsk::sim, so that the text of a kernel is the same there.
#pragma once

#include "dsk.cuh"

// An mbarrier in shared memory: arrivals and bytes that it waits for, and a phase that is 0 and 1 in turn.
typedef unsigned long long Barrier;
typedef unsigned long long Descriptor;
typedef unsigned long long CachePolicy;

#ifdef DSK_HARNESS
#define DSK_PTX(call, ...) return dsk::sim::call
DSK_INLINE unsigned char* shared_memory() { return static_cast<unsigned char*>(dsk::sim::dynamic_shared()); }
#else
// The layout belongs to the driver (cuTensorMapEncodeTiled); kernels only pass its address on.
struct alignas(64) CUtensorMap {
  unsigned long long opaque[16];
};
#define DSK_PTX(call, ...) __VA_ARGS__
// Blocks of a cluster: headers of the toolkit say so, which NVRTC does without.
#ifndef __cluster_dims__
#define __cluster_dims__(...) __attribute__((cluster_dims(__VA_ARGS__)))
#endif
#endif

#ifndef DSK_HARNESS
// The memory of a block whose size the launch gives.
DSK_INLINE unsigned char* shared_memory() {
  extern __shared__ __align__(1024) unsigned char memory[];
  return memory;
}

// The address of shared memory as instructions take it.
DSK_INLINE unsigned shared_address(const void* at) { return static_cast<unsigned>(__cvta_generic_to_shared(at)); }
#endif

// mbarrier.init: `count` arrivals end a phase. One thread, once.
DSK_INLINE void mbarrier_init(Barrier* barrier, int count) {
  DSK_PTX(mbarrier_init(barrier, count),
          asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory"));
}

// fence.mbarrier_init: initialized barriers are seen by the copy engine and by other blocks of the cluster.
DSK_INLINE void mbarrier_init_fence() {
  DSK_PTX(mbarrier_init_fence(), asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"));
}

// mbarrier.arrive: one arrival.
DSK_INLINE void mbarrier_arrive(Barrier* barrier) {
  DSK_PTX(mbarrier_arrive(barrier),
          asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory"));
}

// mbarrier.arrive on the barrier at the same place in another block of the cluster (mapa).
DSK_INLINE void mbarrier_arrive_at(Barrier* barrier, int block) {
  DSK_PTX(mbarrier_arrive_at(barrier, block),
          asm volatile("{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
                       "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n}" ::"r"(shared_address(barrier)),
                       "r"(block)
                       : "memory"));
}

// mbarrier.arrive.expect_tx: one arrival, and so many bytes of copies that the phase waits for.
DSK_INLINE void mbarrier_expect(Barrier* barrier, int bytes) {
  DSK_PTX(mbarrier_expect(barrier, bytes),
          asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                       : "memory"));
}

// mbarrier.try_wait.parity until the phase with this parity is over.
DSK_INLINE void mbarrier_wait(Barrier* barrier, int parity) {
  DSK_PTX(mbarrier_wait(barrier, parity),
          asm volatile("{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                       "@done bra OVER;\nbra AGAIN;\nOVER:\n}" ::"r"(shared_address(barrier)),
                       "r"(parity)
                       : "memory"));
}

// cp.async.bulk.tensor: a box of a tensor to shared memory; its bytes count on the barrier. What lies outside is 0.
DSK_INLINE void tma_load_2d(void* to, const CUtensorMap* map, Barrier* barrier, int x, int y) {
  DSK_PTX(tma_load_2d(to, map, barrier, x, y),
          asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::
                           "r"(shared_address(to)),
                       "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y)
                       : "memory"));
}

DSK_INLINE void tma_load_3d(void* to, const CUtensorMap* map, Barrier* barrier, int x, int y, int z) {
  DSK_PTX(tma_load_3d(to, map, barrier, x, y, z),
          asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::
                           "r"(shared_address(to)),
                       "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
                       : "memory"));
}

// The same to the same place in every block of the cluster whose bit is set; each block's own barrier counts its bytes.
DSK_INLINE void tma_load_2d_multicast(void* to, const CUtensorMap* map, Barrier* barrier, unsigned short blocks, int x, int y) {
  DSK_PTX(tma_load_2d_multicast(to, map, barrier, blocks, x, y),
          asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
                       "{%4, %5}], [%2], %3;" ::"r"(shared_address(to)),
                       "l"(map), "r"(shared_address(barrier)), "h"(blocks), "r"(x), "r"(y)
                       : "memory"));
}

// The same with a hint how long the second-level cache should keep it.
DSK_INLINE void tma_load_2d_hint(void* to, const CUtensorMap* map, Barrier* barrier, CachePolicy policy, int x, int y) {
  DSK_PTX(tma_load_2d_hint(to, map, barrier, policy, x, y),
          asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%4, "
                       "%5}], [%2], %3;" ::"r"(shared_address(to)),
                       "l"(map), "r"(shared_address(barrier)), "l"(policy), "r"(x), "r"(y)
                       : "memory"));
}

DSK_INLINE void tma_load_3d_hint(void* to, const CUtensorMap* map, Barrier* barrier, CachePolicy policy, int x, int y, int z) {
  DSK_PTX(tma_load_3d_hint(to, map, barrier, policy, x, y, z),
          asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%4, "
                       "%5, %6}], [%2], %3;" ::"r"(shared_address(to)),
                       "l"(map), "r"(shared_address(barrier)), "l"(policy), "r"(x), "r"(y), "r"(z)
                       : "memory"));
}

// createpolicy: data that is read once, and data that others will read again.
DSK_INLINE CachePolicy evict_first() {
#ifdef DSK_HARNESS
  return dsk::sim::evict_first();
#else
  CachePolicy policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
#endif
}

DSK_INLINE CachePolicy evict_last() {
#ifdef DSK_HARNESS
  return dsk::sim::evict_last();
#else
  CachePolicy policy;
  asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
  return policy;
#endif
}

// cp.async.bulk.tensor: a box from shared memory to a tensor; what lies outside is not written.
DSK_INLINE void tma_store_2d(const CUtensorMap* map, const void* from, int x, int y) {
  DSK_PTX(tma_store_2d(map, from, x, y),
          asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
                       "r"(shared_address(from)), "r"(x), "r"(y)
                       : "memory"));
}

DSK_INLINE void tma_store_3d(const CUtensorMap* map, const void* from, int x, int y, int z) {
  DSK_PTX(tma_store_3d(map, from, x, y, z),
          asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
                       "r"(shared_address(from)), "r"(x), "r"(y), "r"(z)
                       : "memory"));
}

// cp.reduce.async.bulk.tensor: the box is added to the tensor.
DSK_INLINE void tma_add_2d(const CUtensorMap* map, const void* from, int x, int y) {
  DSK_PTX(tma_add_2d(map, from, x, y),
          asm volatile("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
                       "r"(shared_address(from)), "r"(x), "r"(y)
                       : "memory"));
}

DSK_INLINE void tma_add_3d(const CUtensorMap* map, const void* from, int x, int y, int z) {
  DSK_PTX(tma_add_3d(map, from, x, y, z),
          asm volatile("cp.reduce.async.bulk.tensor.3d.global.shared::cta.add.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
                       "r"(shared_address(from)), "r"(x), "r"(y), "r"(z)
                       : "memory"));
}

// prefetch.tensormap: the map will be needed soon.
DSK_INLINE void tma_prefetch(const CUtensorMap* map) {
  DSK_PTX(tma_prefetch(map), asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"));
}

// cp.async.bulk.commit_group: the stores of this thread since the last group are a group.
DSK_INLINE void tma_commit() { DSK_PTX(tma_commit(), asm volatile("cp.async.bulk.commit_group;" ::: "memory")); }

// cp.async.bulk.wait_group.read: all but the last `pending` groups have read their shared memory.
template <int pending>
DSK_INLINE void tma_wait_read() {
  DSK_PTX(tma_wait_read<pending>(), asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory"));
}

// The same, and their results are written.
template <int pending>
DSK_INLINE void tma_wait() {
  DSK_PTX(tma_wait<pending>(), asm volatile("cp.async.bulk.wait_group %0;" ::"n"(pending) : "memory"));
}

// fence.proxy.async: what threads wrote to shared memory is seen by copies and matrix products.
DSK_INLINE void fence_async() { DSK_PTX(fence_async(), asm volatile("fence.proxy.async.shared::cta;" ::: "memory")); }

// Eight sums as operands of wgmma, which reads and writes them.
#define DSK_SUMS_8(d, i)                                                                                          \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])

// wgmma.fence: registers of sums and of A are settled before the products that follow.
DSK_INLINE void wgmma_fence() { DSK_PTX(wgmma_fence(), asm volatile("wgmma.fence.sync.aligned;" ::: "memory")); }

// wgmma.commit_group: the products since the last group are a group.
DSK_INLINE void wgmma_commit() { DSK_PTX(wgmma_commit(), asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory")); }

// wgmma.wait_group: all but the last `pending` groups are done.
template <int pending>
DSK_INLINE void wgmma_wait() {
  DSK_PTX(wgmma_wait<pending>(), asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory"));
}

// Sums are read behind the wait, whatever the compiler knows of them.
template <int count>
DSK_INLINE void wgmma_settled(float (&sums)[count]) {
#ifndef DSK_HARNESS
#pragma unroll
  for (int i = 0; i < count; i++) asm volatile("" : "+f"(sums[i])::"memory");
#endif
}

// The same of sums in several arrays.
template <int arrays, int count>
DSK_INLINE void wgmma_settled(float (&sums)[arrays][count]) {
#ifndef DSK_HARNESS
#pragma unroll
  for (int i = 0; i < arrays; i++) wgmma_settled(sums[i]);
#endif
}

// The same of rows of A that products read from registers: others may be there behind the wait.
template <int products>
DSK_INLINE void wgmma_settled(unsigned (&a)[products][4]) {
#ifndef DSK_HARNESS
#pragma unroll
  for (int i = 0; i < products * 4; i++) asm volatile("" : "+r"(a[i / 4][i % 4])::"memory");
#endif
}

// wgmma, matrix descriptor: a tile with 128-byte swizzle. It starts at a multiple of 1024 bytes; terms from k on start
// k * 2 bytes (K-major) or k * 128 bytes (MN-major) behind it. K-major (terms are neighbors): `stride` bytes lie between groups
// of 8 rows, `leading` is not used. MN-major (rows are neighbors): `leading` bytes lie between groups of 64 rows, `stride`
// between groups of 8 terms.
DSK_INLINE Descriptor wgmma_descriptor(const void* tile, int leading, int stride) {
#ifdef DSK_HARNESS
  return dsk::sim::wgmma_descriptor(tile, leading, stride);
#else
  unsigned address = shared_address(tile);
  asm volatile("" : "+r"(address));  // made anew for each block: descriptors of all terms would fill registers from one to the next
  return static_cast<Descriptor>((address & 0x3ffff) >> 4) | static_cast<Descriptor>(leading >> 4) << 16 |
         static_cast<Descriptor>(stride >> 4) << 32 | 1ull << 62;
#endif
}

// The same number, of which the compiler knows nothing: what is made of it in a loop is made anew in each turn, and fills no registers.
DSK_INLINE int anew(int x) {
#ifndef DSK_HARNESS
  asm volatile("" : "+r"(x));
#endif
  return x;
}

// The descriptor of what lies `bytes` behind in the same tile.
DSK_INLINE Descriptor wgmma_behind(Descriptor tile, int bytes) {
  return tile + (bytes >> 4);
}

// setmaxnreg: registers of each thread of the warpgroup from here on.
template <int registers>
DSK_INLINE void registers_decrease() {
  DSK_PTX(registers_decrease<registers>(), asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers)));
}

template <int registers>
DSK_INLINE void registers_increase() {
  DSK_PTX(registers_increase<registers>(), asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers)));
}

// bar.sync: waits until `threads` threads have come to the barrier with this number (1 to 15).
DSK_INLINE void named_barrier_sync(int barrier, int threads) {
  DSK_PTX(named_barrier_sync(barrier, threads), asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory"));
}

// bar.arrive: comes to it and goes on.
DSK_INLINE void named_barrier_arrive(int barrier, int threads) {
  DSK_PTX(named_barrier_arrive(barrier, threads), asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory"));
}

// stmatrix: four matrices of 8 x 8 16-bit numbers; lane i has the address of row i % 8 of matrix i / 8.
DSK_INLINE void stmatrix_x4(void* row, unsigned a, unsigned b, unsigned c, unsigned d) {
  DSK_PTX(stmatrix_x4(row, a, b, c, d),
          asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)), "r"(a),
                       "r"(b), "r"(c), "r"(d)
                       : "memory"));
}

DSK_INLINE void stmatrix_x4_transposed(void* row, unsigned a, unsigned b, unsigned c, unsigned d) {
  DSK_PTX(stmatrix_x4_transposed(row, a, b, c, d),
          asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)), "r"(a),
                       "r"(b), "r"(c), "r"(d)
                       : "memory"));
}

// elect.sync: true in one thread of a warp whose threads are all here.
DSK_INLINE bool elect_one() {
#ifdef DSK_HARNESS
  return dsk::sim::elect_one();
#else
  unsigned chosen;
  asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(chosen));
  return chosen != 0;
#endif
}

// barrier.cluster: all threads of the cluster's blocks have come here, and see what was written before.
DSK_INLINE void cluster_sync() {
  DSK_PTX(cluster_sync(), asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory"));
}

// st.shared::cluster to the same place in another block of the cluster (mapa). That block must not have left the kernel.
DSK_INLINE void store_at(float4* to, int block, float4 x) {
#ifdef DSK_HARNESS
  *static_cast<float4*>(dsk::sim::map_shared(to, block)) = x;
#else
  asm volatile("{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
               "st.shared::cluster.v4.f32 [remote], {%2, %3, %4, %5};\n}" ::"r"(shared_address(to)),
               "r"(block), "f"(x.x), "f"(x.y), "f"(x.z), "f"(x.w)
               : "memory");
#endif
}

// %cluster_ctarank: which block of the cluster this one is.
DSK_INLINE int cluster_rank() {
#ifdef DSK_HARNESS
  return dsk::sim::cluster_rank();
#else
  int rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#endif
}

// cvt.rn.satfinite.e4m3x2: two 8-bit floats, `low` in the lower byte.
DSK_INLINE unsigned short pack_e4m3(float low, float high) {
#ifdef DSK_HARNESS
  return dsk::sim::pack_e4m3(low, high);
#else
  unsigned short packed;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(packed) : "f"(high), "f"(low));
  return packed;
#endif
}

// One of two bf16: 0 for that in the lower half, 1 for the other one.
DSK_INLINE float unpack_bf16(unsigned pair, int which) {
  return __uint_as_float(which == 0 ? pair << 16 : pair & 0xffff0000u);
}

// ex2.approx: 2 to the power of x, with 2 units in the last place.
DSK_INLINE float power_of_2(float x) {
#ifdef DSK_HARNESS
  return exp2f(x);
#else
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
#endif
}

// Hides scores, as products of a warpgroup have them, where `hides` says so for so many columns behind a thread's first one and for the
// row r of its two. A few are asked for at a time: what is loaded for them is under way together, and the registers suffice.
template <int count, class Hides>
DSK_INLINE void hide_where(float (&scores)[count], Hides hides) {
#pragma unroll
  for (int first = 0; first < count; first += 32) {
    unsigned hidden = 0;
#pragma unroll 2
    for (int i = 0; i < 32; i += 4)
#pragma unroll
      for (int j = 0; j < 4; j++) hidden |= (unsigned)hides((first + i) * 2 + j % 2, j / 2) << (i + j);
#pragma unroll
    for (int i = 0; i < 32; i++)
      if (hidden >> i & 1) scores[first + i] = -infinity();
  }
}

// Scores become the tanh of a factor times them, which is `scale` / (2 log2(e)). By powers of 2: tanh.approx has 11 bits, too few for
// what a cap of 50 makes of them.
template <int count>
DSK_INLINE void squash(float (&scores)[count], float scale) {
#pragma unroll
  for (int i = 0; i < count; i++) scores[i] = 1.0f - __fdividef(2.0f, 1.0f + power_of_2(scores[i] * scale));
}

// Scores of a row, as products of a warpgroup have them: sum i is of row i / 2 % 2 of the thread's two. They become powers of 2 of
// their distance to the largest one that the row has had so far; `rescale` is what sums over earlier scores are multiplied by. A
// row that has seen nothing has the largest score of minus infinity. `total` has a quarter of the sum: that of the thread's columns.
template <int count>
DSK_INLINE void exponentiate(float (&scores)[count], float (&peak)[2], float (&total)[2], float (&rescale)[2], float scale) {
  float largest[2] = {peak[0], peak[1]}, base[2];
#pragma unroll
  for (int i = 0; i < count; i++) largest[i / 2 % 2] = fmaxf(largest[i / 2 % 2], scores[i]);
#pragma unroll
  for (int r = 0; r < 2; r++) {
    largest[r] = fmaxf(largest[r], __shfl_xor_sync(0xffffffffu, largest[r], 1));
    largest[r] = fmaxf(largest[r], __shfl_xor_sync(0xffffffffu, largest[r], 2));
    base[r] = largest[r] == -infinity() ? 0.0f : largest[r] * scale;
    rescale[r] = power_of_2(peak[r] * scale - base[r]);
    total[r] *= rescale[r];
    peak[r] = largest[r];
  }
#pragma unroll
  for (int i = 0; i < count; i++) {
    scores[i] = power_of_2(scores[i] * scale - base[i / 2 % 2]);
    total[i / 2 % 2] += scores[i];
  }
}

// Sums of a product as A of another one, in registers: two neighbors in each, 16 terms in four.
template <int products>
DSK_INLINE void pack_rows(unsigned (&a)[products][4], const float (&sums)[products * 8]) {
#pragma unroll
  for (int i = 0; i < products * 4; i++) a[i / 4][i % 4] = pack_bf16(sums[i * 2], sums[i * 2 + 1]);
}

// The same in shared memory: a row in each swizzled line of 128 bytes, 16 terms in 32 of them; `warp` is that of the warpgroup.
template <int count>
DSK_INLINE void stage_rows(unsigned char* lines, const float (&sums)[count], int warp, int lane) {
  unsigned a[count / 8][4];
  pack_rows(a, sums);
#pragma unroll
  for (int i = 0; i < count / 8; i++) {
    const int row = warp * 16 + lane % 16, chunk = i * 2 + lane / 16;
    stmatrix_x4(lines + row * 128 + (chunk ^ row % 8) * 16, a[i][0], a[i][1], a[i][2], a[i][3]);
  }
}

// Sums of a thread's two rows times a factor of each. Mostly all of a warp's are 1: the largest scores stay what they are.
template <int arrays, int count>
DSK_INLINE void scale_rows(float (&sums)[arrays][count], float first, float second) {
  if (!__any_sync(0xffffffffu, first != 1.0f || second != 1.0f)) return;
#pragma unroll
  for (int i = 0; i < arrays * count; i++) sums[i / count][i % count] *= i / 2 % 2 == 0 ? first : second;
}

// Shares of the columns of each tile: the fewest that keep `good` percent of the multiprocessors busy that any number of them would.
// Lanes of a warp look at different numbers.
DSK_INLINE int shares_of(int tiles, int blocks, int processors, int most_shares, int least_blocks, int good) {
  const int most = max(1, min(most_shares / max(1, tiles), blocks / least_blocks)), lane = threadIdx.x % 32;
  const auto busy = [&](int n) { return tiles * n * 1000 / ((tiles * n + processors - 1) / processors * processors); };
  int best = 0, fewest = most;
  for (int n = lane + 1; n <= most; n += 32) best = max(best, busy(n));
  best = __reduce_max_sync(0xffffffffu, best);
  for (int n = lane + 1; n <= most; n += 32)
    if (busy(n) * 100 >= best * good) fewest = min(fewest, n);
  return __reduce_min_sync(0xffffffffu, fewest);
}

// A consumer's sums of its share of the columns; `to` is where the thread's first one belongs.
template <int count>
DSK_INLINE void keep_share(float* to, int width, const float (&sums)[count]) {
#pragma unroll
  for (int i = 0; i < count; i += 2)
    *reinterpret_cast<float2*>(to + i / 2 % 2 * 8 * width + i / 4 * 8) = float2{sums[i], sums[i + 1]};
}

template <int arrays, int count>
DSK_INLINE void keep_share(float* to, int width, const float (&sums)[arrays][count]) {
#pragma unroll
  for (int i = 0; i < arrays; i++) keep_share(to + i * count * 2, width, sums[i]);
}

// The largest score and the sum of exponentials of two rows, of which four threads have parts. All of them call it.
DSK_INLINE void keep_marks(float* to, const float (&peaks)[2], const float (&total)[2]) {
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const float whole = over_lanes<Sum, 4>(total[r]);
    if (threadIdx.x % 4 == 0) *reinterpret_cast<float2*>(to + r * 16) = float2{peaks[r], whole};
  }
}

// A share of columns: whole blocks of them.
template <class Span>
DSK_INLINE Span share_of(const Span& all, int share, int shares, int columns) {
  const int blocks = (all.end - all.first + columns - 1) / columns;
  const int first = blocks * share / shares, end = blocks * (share + 1) / shares;
  return {all.first + first * columns, min(all.end, all.first + end * columns)};
}

// No sums.
template <int arrays, int count>
DSK_INLINE void clear(float (&sums)[arrays][count]) {
#pragma unroll
  for (int i = 0; i < arrays * count; i++) sums[i / count][i % count] = 0.0f;
}

// Row r of a thread's two, times a factor and rounded, to memory: `to` is the place of the thread's first column.
template <int arrays, int count>
DSK_INLINE void store_row(bf16* to, const float (&sums)[arrays][count], int r, float factor) {
#pragma unroll
  for (int c = 0; c < arrays * count / 4; c++) {
    const int i = c * 4 % count + r * 2;
    reinterpret_cast<unsigned*>(to)[c * 4] = pack_bf16(sums[c * 4 / count][i] * factor, sums[c * 4 / count][i + 1] * factor);
  }
}

// Row r of a thread's two as rows of A in registers, from memory: of each 8 terms two neighbors, from the thread's first one on.
template <int products>
DSK_INLINE void load_row(unsigned (&a)[products][4], int r, const bf16* from) {
#pragma unroll
  for (int i = 0; i < products * 2; i++) a[i / 2][i % 2 * 2 + r] = reinterpret_cast<const unsigned*>(from)[i * 4];
}

// The smallest and largest of what columns of a block have, by all lanes of a warp.
template <int columns, class Value>
DSK_INLINE void find_range(int* range, int lane, Value value) {
  int least = 0x7fffffff, most = -0x7fffffff - 1;
#pragma unroll
  for (int i = lane; i < columns; i += 32) {
    const int x = value(i);
    least = min(least, x), most = max(most, x);
  }
  least = __reduce_min_sync(0xffffffffu, least), most = __reduce_max_sync(0xffffffffu, most);
  if (lane == 0) range[0] = least, range[1] = most;
}

// Four numbers of f32 as sums of three of bf16, each `size` elements behind the one before: what the first one cuts off, and what the
// second one does, are exact. Of infinity and NaN there is the first one only.
DSK_INLINE void write_thirds(bf16* to, const float* from, long long at, long long size) {
  const Vector<float, 4> x = vector_at<4>(from, at);
  Vector<float, 4> first, second, third;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const auto cut = [](float y) { return bits_float(float_bits(y) & 0xffff0000u); };
    const bool finite = x[i] - x[i] == 0.0f;
    first[i] = finite ? cut(x[i]) : x[i];
    const float rest = finite ? x[i] - first[i] : 0.0f;
    second[i] = cut(rest);
    third[i] = rest - second[i];
  }
  store_vector<4>(to, at, first);
  store_vector<4>(to, at + size, second);
  store_vector<4>(to, at + 2 * size, third);
}

// Copies that go on beside the threads (PTX ISA, "Data Movement and Conversion Instructions: Asynchronous copy"): cp.async, and the
// bulk copies of Hopper, tensors by TMA among them; and the mbarriers that wait for them. When data arrives is drawn from the seed:
// at once, some time later, or when it is waited for. Names are those of templates/cuda/dsk_sm90.cuh and dsk_mma.cuh.
#pragma once
#include <cstdint>

// As cuda.h has it: encoded by the stand-in's cuTensorMapEncodeTiled, read by TMA.
struct alignas(64) CUtensorMap {
  unsigned long long opaque[16];
};

namespace dsk::sim {

using SharedBarrier = unsigned long long;
using CachePolicy = unsigned long long;

void mbarrier_init(SharedBarrier* barrier, int count);
// Initializations are seen by the copy engine: it always sees them here.
inline void mbarrier_init_fence() {}
void mbarrier_invalidate(SharedBarrier* barrier);
void mbarrier_arrive(SharedBarrier* barrier);
void mbarrier_arrive_at(SharedBarrier* barrier, int block);
void mbarrier_expect(SharedBarrier* barrier, int bytes);
// Bytes that the phase waits for, without an arrival; and bytes that have come.
void mbarrier_expect_tx(SharedBarrier* barrier, int bytes);
void mbarrier_complete_tx(SharedBarrier* barrier, int bytes);
// Whether the phase of this parity is complete: true as well when the barrier has never been used and `parity` is 1.
bool mbarrier_try_wait(SharedBarrier* barrier, int parity);
void mbarrier_wait(SharedBarrier* barrier, int parity);

// `blocks`: to the same place of each block of the cluster whose bit is set, where the block's own barrier gets the bytes; 0: to the
// place that `to` is, and `barrier` gets them.
void tma_load(void* to, const CUtensorMap* map, SharedBarrier* barrier, const int* at, uint32_t rank, uint32_t blocks);
enum class Store : uint8_t { kCopy, kAdd };
void tma_store(const CUtensorMap* map, const void* from, const int* at, uint32_t rank, Store store);

inline void tma_load_2d(void* to, const CUtensorMap* map, SharedBarrier* barrier, int x, int y) {
  const int at[] = {x, y};
  tma_load(to, map, barrier, at, 2, 0);
}
inline void tma_load_3d(void* to, const CUtensorMap* map, SharedBarrier* barrier, int x, int y, int z) {
  const int at[] = {x, y, z};
  tma_load(to, map, barrier, at, 3, 0);
}
inline void tma_load_2d_multicast(void* to, const CUtensorMap* map, SharedBarrier* barrier, unsigned short blocks, int x, int y) {
  const int at[] = {x, y};
  tma_load(to, map, barrier, at, 2, blocks);
}
inline void tma_load_2d_hint(void* to, const CUtensorMap* map, SharedBarrier* barrier, CachePolicy, int x, int y) {
  tma_load_2d(to, map, barrier, x, y);
}
inline void tma_load_3d_hint(void* to, const CUtensorMap* map, SharedBarrier* barrier, CachePolicy, int x, int y, int z) {
  tma_load_3d(to, map, barrier, x, y, z);
}
inline CachePolicy evict_first() { return 1; }
inline CachePolicy evict_last() { return 2; }

inline void tma_store_2d(const CUtensorMap* map, const void* from, int x, int y) {
  const int at[] = {x, y};
  tma_store(map, from, at, 2, Store::kCopy);
}
inline void tma_store_3d(const CUtensorMap* map, const void* from, int x, int y, int z) {
  const int at[] = {x, y, z};
  tma_store(map, from, at, 3, Store::kCopy);
}
inline void tma_add_2d(const CUtensorMap* map, const void* from, int x, int y) {
  const int at[] = {x, y};
  tma_store(map, from, at, 2, Store::kAdd);
}
inline void tma_add_3d(const CUtensorMap* map, const void* from, int x, int y, int z) {
  const int at[] = {x, y, z};
  tma_store(map, from, at, 3, Store::kAdd);
}
void tma_prefetch(const CUtensorMap* map);

// Bytes without a shape (cp.async.bulk).
void bulk_load(void* to, const void* from, int bytes, SharedBarrier* barrier);
void bulk_store(void* to, const void* from, int bytes);

void tma_commit();
// At most so many of the thread's groups are left: with `read`, whose source was not read; else, that have not written.
void tma_wait(uint32_t groups, bool read);
template <int pending>
void tma_wait_read() {
  tma_wait(pending, true);
}
template <int pending>
void tma_wait() {
  tma_wait(pending, false);
}
void fence_async();

// `bytes` to shared memory (4, 8, or 16), of which the first `read` come from `from` and the others are 0.
void cp_async(void* to, const void* from, uint32_t bytes, uint32_t read);
inline void cp_async_16(void* to, const void* from, int read = 16) { cp_async(to, from, 16, static_cast<uint32_t>(read)); }
inline void cp_async_8(void* to, const void* from, int read = 8) { cp_async(to, from, 8, static_cast<uint32_t>(read)); }
inline void cp_async_4(void* to, const void* from, int read = 4) { cp_async(to, from, 4, static_cast<uint32_t>(read)); }
void cp_async_commit();
void cp_async_wait(uint32_t groups);
template <int pending>
void cp_async_wait() {
  cp_async_wait(pending);
}

}  // namespace dsk::sim

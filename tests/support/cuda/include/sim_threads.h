// What a kernel's thread can ask the machine for: its indices, to wait with others, to fail. No header of the C++ library, so that
// kernels compile fast.
#pragma once
#include <cstddef>
#include <cstdint>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace dsk::sim {

struct Warp;

constexpr unsigned kLanes = 32;
constexpr uint32_t kFullMask = 0xffffffff;

struct ThreadIndices {
  uint3 thread;
  uint3 block;
};
// Those of the thread that runs; it changes when others take their turn.
extern const ThreadIndices* indices;
extern dim3 block_dim;
extern dim3 grid_dim;

inline uint32_t lane() {
  return (indices->thread.x + block_dim.x * (indices->thread.y + block_dim.y * indices->thread.z)) % kLanes;
}

// Stops the launch with a sentence: "kernel NAME, block (x, y, z), thread (x, y, z): MESSAGE".
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// `record` of each lane of `mask` reaches `run`, which is called once all of them that have not left the kernel are there.
void collective(uint32_t mask, const char* name, void* record, void (*run)(Warp& warp, uint32_t lanes, void* const* records));

// Lanes of the running thread's warp that have not left.
uint32_t live_lanes();

// What all lanes of `mask` wrote is seen by all of them.
void sync_warp(uint32_t mask);
// Returns how many of the block's threads came with a predicate that is not 0.
int sync_threads(int predicate);
void named_barrier_sync(int barrier, int threads);
void named_barrier_arrive(int barrier, int threads);
void cluster_sync();
int cluster_rank();
// The place in another block's dynamic shared memory that `pointer` is in this block's.
void* map_shared(void* pointer, int block);

// A thread that looks at memory again and again: lets the others run.
void spin();
// Called by atomic operations: one in many lets the others run, so that locks are released some time.
void count_spin();

// One lane of the warp, always the same one; all lanes come.
bool elect_one();

// Registers of each thread of a warpgroup (setmaxnreg).
void registers_decrease(uint32_t registers);
void registers_increase(uint32_t registers);
template <int registers>
void registers_decrease() {
  static_assert(registers % 8 == 0 && registers >= 24 && registers <= 256, "setmaxnreg takes 24 to 256 in steps of 8");
  registers_decrease(registers);
}
template <int registers>
void registers_increase() {
  static_assert(registers % 8 == 0 && registers >= 24 && registers <= 256, "setmaxnreg takes 24 to 256 in steps of 8");
  registers_increase(registers);
}

// The running block's dynamic shared memory.
void* dynamic_shared();

// 32-bit addresses of shared memory, as a block of a Hopper GPU sees them: a KiB of the system, static arrays, dynamic memory. Those
// of the cluster's other blocks have the block's rank and 1 more in the upper byte.
uint32_t shared_address(const void* pointer);
void* shared_pointer(uint32_t address);
// The first address behind the block's shared memory.
uint32_t shared_end();
// Fails unless the bytes lie in shared memory of the cluster.
void check_shared(const void* pointer, size_t bytes, const char* what);

// Clock ticks: they grow, no more can be said.
long long clock();

}  // namespace dsk::sim

// The machine that kernels run on: one cluster of blocks at a time, each thread of them a fiber. Threads only give way where they
// wait for others, and all lanes of a warp run until they wait before another warp does: the order that a missing barrier does not
// survive. Which lane and which warp is next is drawn from the launch's seed.
//
// Nothing here is locked: a module instance belongs to one OS thread (sim_module.h).
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sim_fiber.h"
#include "sim_module.h"
#include "sim_threads.h"

namespace dsk::sim {

// Of all blocks of a cluster: four blocks of 1024 threads, or eight of 512.
constexpr unsigned kMaxWarps = 128;
constexpr unsigned kMaxCluster = 8;
// Shared memory of a Hopper block: 227 KiB, behind one KiB that the system keeps.
constexpr uint32_t kMaxSharedBytes = 232448;
constexpr uint32_t kSharedStart = 1024;
// Between the dynamic shared memory of a cluster's blocks.
constexpr size_t kDynamicStride = 256 << 10;

struct Block;
struct Warp;
struct WgmmaState;

// A set of warps.
class Warps {
 public:
  void add(uint32_t warp) { words_[warp / 64] |= uint64_t{1} << warp % 64; }
  void remove(uint32_t warp) { words_[warp / 64] &= ~(uint64_t{1} << warp % 64); }
  void clear() { words_[0] = words_[1] = 0; }
  bool empty() const { return (words_[0] | words_[1]) == 0; }
  // The first one from a place on, round the end; there must be one.
  uint32_t first(uint32_t from) const {
    const uint64_t behind = words_[from / 64] & ~uint64_t{0} << from % 64;
    if (behind != 0) return from / 64 * 64 + static_cast<uint32_t>(__builtin_ctzll(behind));
    const uint32_t other = 1 - from / 64;
    if (words_[other] != 0) return other * 64 + static_cast<uint32_t>(__builtin_ctzll(words_[other]));
    return from / 64 * 64 + static_cast<uint32_t>(__builtin_ctzll(words_[from / 64]));
  }

 private:
  static_assert(kMaxWarps == 128, "a bit for each warp");
  uint64_t words_[2] = {};
};

// Threads that wait for one thing.
struct Waiters {
  uint32_t lanes[kMaxWarps] = {};
  Warps warps;
};

// What a thread waits for; said when nobody can go on.
struct Wait {
  const char* what = nullptr;
  const void* object = nullptr;
  uint32_t detail = 0;
};

// A copy between global and shared memory that goes on beside the threads. It takes steps at times that the seed decides, at the
// latest when somebody waits for it.
struct AsyncCopy {
  virtual ~AsyncCopy() = default;
  // Does the next part of it; false when it is finished.
  virtual bool step() = 0;
  // Whether the block may be over before it is finished.
  virtual bool may_outlive_block() const = 0;
};

struct BulkStore;

// What one thread has asked for and not waited for.
struct PendingCopies {
  struct Copy {
    void* to;
    const void* from;
    uint32_t bytes;
    uint32_t zeros;
  };
  bool used = false;
  // cp.async: of no group yet, and the groups that were committed, oldest first.
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;
  // Bulk stores, likewise.
  std::vector<std::shared_ptr<BulkStore>> open_stores;
  std::vector<std::vector<std::shared_ptr<BulkStore>>> store_groups;
};

// A CUDA thread.
struct Fiber : ThreadIndices {
  Context context;
  Warp* warp = nullptr;
  uint32_t linear = 0;
  uint32_t lane = 0;
  // Atomic operations so far; many of them may be a lock that it waits for.
  uint32_t spins = 0;
  uint32_t registers = 0;
  Wait wait;
  PendingCopies copies;
};

// An operation that lanes of a warp execute together: each leaves a record, and the last one that comes runs it for all.
struct Collective {
  uint32_t mask = 0;
  uint32_t arrived = 0;
  const char* name = nullptr;
  void (*run)(Warp& warp, uint32_t lanes, void* const* records) = nullptr;
  void* records[kLanes];
};

struct Warp {
  Block* block = nullptr;
  // Of its cluster, and of its block.
  uint32_t number = 0;
  uint32_t in_block = 0;
  Fiber* fibers = nullptr;
  uint32_t live = 0;
  uint32_t ready = 0;
  // Where the search for the next lane begins.
  uint32_t rotation = 0;
  uint32_t open_collectives = 0;
  Collective collectives[kLanes];
  std::shared_ptr<WgmmaState> wgmma;
};

// A counting barrier: __syncthreads, a named one, or the cluster's.
struct Barrier {
  uint32_t arrived = 0;
  uint32_t expected = 0;
  // Threads that came with a predicate, so far and in the phase before.
  uint32_t predicates = 0;
  uint32_t result = 0;
  Waiters waiters;
};

struct Block {
  uint3 index = {};
  uint32_t rank = 0;
  uint32_t live = 0;
  char* dynamic_shared = nullptr;
  Barrier barriers[16];
  // Registers that nobody has (setmaxnreg), and who waits for some.
  uint32_t free_registers = 0;
  Waiters register_waiters;
  bool proxy_fence = false;
};

struct Mbarrier;

struct Machine {
  Fiber* current = nullptr;
  Warp* warps = nullptr;
  uint32_t warp_count = 0;
  // Warps with a lane that can go on.
  Warps ready_warps;
  uint32_t live = 0;
  uint64_t random_state = 1;
  // Counts what may let somebody go on; those who ask in vain give up when it stands still.
  uint64_t progress = 0;
  uint64_t seen_progress = 0;
  uint64_t idle_yields = 0;

  const Kernel* kernel = nullptr;
  const Launch* launch = nullptr;
  Block blocks[kMaxCluster];
  uint32_t block_count = 0;
  Barrier cluster_barrier;
  std::vector<std::shared_ptr<Mbarrier>> mbarriers;
  std::vector<std::shared_ptr<AsyncCopy>> copies;

  Context main;
  std::string failure;
};

extern Machine machine;

inline void run_as(Fiber& fiber) {
  machine.current = &fiber;
  indices = &fiber;
}

// Runs the launch's clusters that are left; see Module::run.
const char* run_launch(const Kernel& kernel, const Launch& launch);

// A number below `limit`, from the seed.
uint32_t draw(uint32_t limit);

// Blocks the running thread among `waiters` until `wake`.
void block_on(Waiters& waiters, const Wait& wait);
void wake(Waiters& waiters);
// Lets others run before the thread asks again.
void yield_for(const Wait& wait);

// Counts the running thread; true when it was the last one. `barrier_sync` waits until there was one.
bool barrier_arrive(Barrier& barrier, uint32_t expected, const Wait& wait);
void barrier_sync(Barrier& barrier, uint32_t expected, const Wait& wait);

}  // namespace dsk::sim

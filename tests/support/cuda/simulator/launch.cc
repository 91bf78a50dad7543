// Clusters of a launch, one after the other: their memory, their threads, and where they begin.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <exception>

#include "sim_bulk.h"
#include "sim_machine.h"
#include "sim_mbarrier.h"
#include "sim_report.h"
#include "sim_wgmma.h"

namespace dsk::sim {
namespace {

// What memory holds that nobody wrote: NaN in every float type.
constexpr int kPoison = 0xff;

// The address sanitizer keeps gaps between __shared__ arrays, and would see memset in them.
__attribute__((optimize("no-tree-loop-distribute-patterns"))) void poison_shared(const Kernel& kernel) {
  if (!has_address_sanitizer()) {
    std::memset(kernel.shared, kPoison, kernel.shared_bytes);
    return;
  }
  char* const end = kernel.shared + kernel.shared_bytes;
  for (char* byte = kernel.shared; byte != end; ++byte) *byte = static_cast<char>(kPoison);
}

// Made once for the module instance, for as many threads as a cluster has had.
struct Storage {
  Fiber* fibers = nullptr;
  char* stacks = nullptr;
  std::vector<Warp> warps;
  char* dynamic_shared = nullptr;
};
Storage storage;

// Memory of the system's that costs nothing until it is touched; kept as long as the process runs.
char* reserve(size_t bytes) {
  void* const found =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return found == MAP_FAILED ? nullptr : static_cast<char*>(found);
}

bool reserve_all() {
  if (storage.fibers != nullptr) return true;
  storage.stacks = reserve(kMaxWarps * kLanes * stack_bytes());
  storage.dynamic_shared = reserve(kMaxCluster * kDynamicStride);
  if (storage.stacks == nullptr || storage.dynamic_shared == nullptr) return false;
  storage.fibers = new Fiber[kMaxWarps * kLanes];
  storage.warps.resize(kMaxWarps);
  return true;
}

// Where every thread begins.
void enter() {
  begin_fiber();
  tsan_acquire(&machine.main);
  try {
    machine.kernel->invoke(machine.launch->params);
  } catch (const std::exception& error) {
    fail("an exception: %s", error.what());
  } catch (...) {
    fail("an exception");
  }
  if (machine.current->warp->wgmma) check_wgmma_finished();
  check_stores_finished();
  tsan_release(&machine.live);
  leave();
}

void set_up_block(uint32_t rank, uint3 index, uint32_t threads, uint32_t warps) {
  Block& block = machine.blocks[rank];
  block.index = index;
  block.rank = rank;
  block.live = threads;
  block.dynamic_shared = storage.dynamic_shared + rank * kDynamicStride;
  for (Barrier& barrier : block.barriers) barrier = {};
  block.proxy_fence = false;
  block.register_waiters = {};
  // The compiler gives a thread what the register file holds, in steps of 8.
  const uint32_t registers = std::min<uint32_t>(65536 / (warps * kLanes) / 8 * 8, 255);
  block.free_registers = 65536 - registers * threads;
  std::memset(block.dynamic_shared, kPoison, machine.launch->dynamic_shared_bytes);

  const dim3 dim = block_dim;
  for (uint32_t w = 0; w < warps; ++w) {
    const uint32_t number = rank * warps + w;
    Warp& warp = storage.warps[number];
    const uint32_t lanes = std::min(threads - w * kLanes, kLanes);
    warp.block = &block;
    warp.number = number;
    warp.in_block = w;
    warp.fibers = storage.fibers + number * kLanes;
    warp.live = warp.ready = lanes == kLanes ? kFullMask : (uint32_t{1} << lanes) - 1;
    warp.rotation = draw(kLanes);
    warp.open_collectives = 0;
    warp.wgmma.reset();
    machine.ready_warps.add(number);
    for (uint32_t lane = 0; lane < lanes; ++lane) {
      const uint32_t linear = w * kLanes + lane;
      Fiber& fiber = warp.fibers[lane];
      fiber.warp = &warp;
      fiber.thread = {linear % dim.x, linear / dim.x % dim.y, linear / (dim.x * dim.y)};
      fiber.block = index;
      fiber.linear = linear;
      fiber.lane = lane;
      fiber.spins = 0;
      fiber.registers = registers;
      fiber.wait = {};
      if (fiber.copies.used) fiber.copies = {};
      prepare(fiber.context, storage.stacks + (size_t{number} * kLanes + lane) * stack_bytes(), stack_bytes(), enter);
    }
  }
}

// A number that looks random, for each cluster another one (splitmix64).
uint64_t mix(uint64_t seed) {
  seed += 0x9e3779b97f4a7c15;
  seed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9;
  seed = (seed ^ seed >> 27) * 0x94d049bb133111eb;
  return seed ^ seed >> 31;
}

void run_cluster(uint64_t number) {
  const Launch& launch = *machine.launch;
  const uint32_t threads = launch.block[0] * launch.block[1] * launch.block[2];
  const uint32_t warps = (threads + kLanes - 1) / kLanes;
  machine.random_state = mix(launch.seed ^ mix(number)) | 1;
  machine.warps = storage.warps.data();
  machine.warp_count = warps * launch.cluster;
  machine.block_count = launch.cluster;
  machine.ready_warps.clear();
  machine.live = threads * launch.cluster;
  machine.cluster_barrier = {};
  machine.mbarriers.clear();
  machine.copies.clear();
  machine.idle_yields = 0;
  poison_shared(*machine.kernel);
  for (uint32_t rank = 0; rank < launch.cluster; ++rank) {
    const uint64_t linear = number * launch.cluster + rank;
    const uint3 index = {static_cast<uint32_t>(linear % launch.grid[0]),
                         static_cast<uint32_t>(linear / launch.grid[0] % launch.grid[1]),
                         static_cast<uint32_t>(linear / (uint64_t{launch.grid[0]} * launch.grid[1]))};
    set_up_block(rank, index, threads, warps);
  }
  Warp& first = storage.warps[draw(machine.warp_count)];
  run_as(first.fibers[first.rotation % static_cast<uint32_t>(__builtin_popcount(first.live))]);
  tsan_release(&machine.main);
  switch_context(machine.main, machine.current->context, false);
  tsan_acquire(&machine.live);
}

uint64_t clusters_of(const Launch& launch) {
  return uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2] / launch.cluster;
}

}  // namespace

const char* run_launch(const Kernel& kernel, const Launch& launch) {
  machine.failure.clear();
  machine.kernel = &kernel;
  machine.launch = &launch;
  block_dim = {launch.block[0], launch.block[1], launch.block[2]};
  grid_dim = {launch.grid[0], launch.grid[1], launch.grid[2]};
  if (!reserve_all()) return "there is no memory for the threads' stacks";
  if (launch.cluster > 1 && kernel.shared_bytes > 0) return "a kernel that runs in clusters has a static __shared__ array";
  adopt_thread(machine.main);
  const uint64_t all = clusters_of(launch);
  for (;;) {
    const uint64_t number = __atomic_fetch_add(launch.next, 1, __ATOMIC_RELAXED);
    if (number >= all) return nullptr;
    run_cluster(number);
    if (machine.failure.empty()) continue;
    __atomic_store_n(launch.next, all, __ATOMIC_RELAXED);
    machine.copies.clear();
    return machine.failure.c_str();
  }
}

}  // namespace dsk::sim

// What threads do with one another, beside copies and products: barriers, registers, waiting in a loop.
#include "sim_threads.h"

#include "sim_machine.h"
#include "sim_report.h"

namespace dsk::sim {
namespace {

// How many atomic operations a thread makes before the others have a turn.
constexpr uint32_t kAtomicsInTurn = 64;

Block& block() { return *machine.current->warp->block; }

uint32_t block_threads() { return block_dim.x * block_dim.y * block_dim.z; }

Barrier& named(int barrier, int threads) {
  if (barrier < 0 || barrier > 15) fail("named barrier %d: there are 0 to 15", barrier);
  if (threads <= 0 || threads % static_cast<int>(kLanes) != 0 || static_cast<uint32_t>(threads) > (block_threads() + 31) / 32 * 32) {
    fail("named barrier %d for %d threads: whole warps, and no more than the block has", barrier, threads);
  }
  return block().barriers[barrier];
}

}  // namespace

uint32_t live_lanes() { return machine.current->warp->live; }

void sync_warp(uint32_t mask) {
  collective(mask, "__syncwarp", nullptr, [](Warp&, uint32_t, void* const*) {});
}

int sync_threads(int predicate) {
  Barrier& barrier = block().barriers[0];
  if (predicate != 0) ++barrier.predicates;
  barrier_sync(barrier, block_threads(), {"__syncthreads", &barrier, 0});
  return static_cast<int>(barrier.result);
}

void named_barrier_sync(int barrier, int threads) {
  Barrier& found = named(barrier, threads);
  barrier_sync(found, static_cast<uint32_t>(threads), {"named barrier", &found, static_cast<uint32_t>(barrier)});
}

void named_barrier_arrive(int barrier, int threads) {
  Barrier& found = named(barrier, threads);
  barrier_arrive(found, static_cast<uint32_t>(threads), {"named barrier", &found, static_cast<uint32_t>(barrier)});
}

void cluster_sync() {
  Barrier& barrier = machine.cluster_barrier;
  barrier_sync(barrier, block_threads() * machine.block_count, {"cluster barrier", &barrier, 0});
}

int cluster_rank() { return static_cast<int>(block().rank); }

void* map_shared(void* pointer, int block_rank) {
  if (block_rank < 0 || static_cast<uint32_t>(block_rank) >= machine.block_count) {
    fail("block %d of a cluster that has %u", block_rank, machine.block_count);
  }
  check_shared(pointer, 1, "mapa");
  // A cluster of one block may have static arrays.
  if (machine.block_count == 1) return pointer;
  return machine.blocks[block_rank].dynamic_shared + (static_cast<char*>(pointer) - block().dynamic_shared);
}

void spin() { yield_for({"memory that another thread writes", nullptr, 0}); }

void count_spin() {
  if (++machine.current->spins % kAtomicsInTurn == 0) spin();
}

bool elect_one() {
  bool elected = false;
  collective(kFullMask, "elect.sync", &elected, [](Warp& warp, uint32_t lanes, void* const* records) {
    // The same lane each time, as PTX promises; which one is up to the hardware, and here to the seed.
    uint32_t chosen = warp.rotation;
    while ((lanes >> chosen & 1) == 0) chosen = (chosen + 1) % kLanes;
    *static_cast<bool*>(records[chosen]) = true;
  });
  return elected;
}

void registers_decrease(uint32_t registers) {
  Fiber& self = *machine.current;
  if (registers > self.registers) fail("setmaxnreg.dec to %u registers, a thread has %u", registers, self.registers);
  block().free_registers += self.registers - registers;
  self.registers = registers;
  wake(block().register_waiters);
}

void registers_increase(uint32_t registers) {
  Fiber& self = *machine.current;
  if (registers < self.registers) fail("setmaxnreg.inc to %u registers, a thread has %u", registers, self.registers);
  const uint32_t more = registers - self.registers;
  while (block().free_registers < more) block_on(block().register_waiters, {"setmaxnreg", nullptr, registers});
  block().free_registers -= more;
  self.registers = registers;
}

void* dynamic_shared() { return block().dynamic_shared; }

long long clock() {
  static long long ticks = 0;
  return ticks += 40;
}

}  // namespace dsk::sim

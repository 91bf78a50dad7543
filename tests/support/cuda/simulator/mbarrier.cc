#include "sim_mbarrier.h"

#include <cstdio>

#include "sim_report.h"

namespace dsk::sim {
namespace {

// The upper half of an initialized barrier's bytes; the lower half is its number.
constexpr uint64_t kMark = 0x4d424152;

Mbarrier& find(const SharedBarrier* barrier, const char* what) {
  check_shared(barrier, sizeof *barrier, what);
  const uint64_t value = *barrier;
  const uint64_t number = value & 0xffffffff;
  if (value >> 32 == kMark && number < machine.mbarriers.size()) {
    Mbarrier& found = *machine.mbarriers[number];
    if (found.address == barrier) return found;
  }
  fail("%s: the mbarrier at 0x%x was not initialized, or was written over", what, shared_address(barrier));
}

void complete_if_done(Mbarrier& barrier) {
  if (barrier.pending > 0 || barrier.bytes != 0) return;
  barrier.pending = barrier.expected;
  ++barrier.phase;
  wake(barrier.waiters);
}

void take_arrival(Mbarrier& barrier) {
  if (barrier.pending == 0) {
    fail("mbarrier at 0x%x: more than its %u arrivals in a phase", shared_address(barrier.address), barrier.expected);
  }
  tsan_release(&barrier);
  --barrier.pending;
  complete_if_done(barrier);
}

}  // namespace

void mbarrier_init(SharedBarrier* barrier, int count) {
  check_shared(barrier, sizeof *barrier, "mbarrier.init");
  if (reinterpret_cast<uintptr_t>(barrier) % 8 != 0) fail("mbarrier.init: the address is not a multiple of 8");
  if (count <= 0) fail("mbarrier.init: a count of %d", count);
  *barrier = kMark << 32 | machine.mbarriers.size();
  auto made = std::make_shared<Mbarrier>();
  made->address = barrier;
  made->expected = made->pending = static_cast<uint32_t>(count);
  machine.mbarriers.push_back(std::move(made));
}

void mbarrier_invalidate(SharedBarrier* barrier) {
  if (!find(barrier, "mbarrier.inval").waiters.warps.empty()) fail("mbarrier.inval: threads wait for it");
  *barrier = ~SharedBarrier{0};
}

void mbarrier_arrive(SharedBarrier* barrier) { take_arrival(find(barrier, "mbarrier.arrive")); }

void mbarrier_expect_tx(SharedBarrier* barrier, int bytes) {
  find(barrier, "mbarrier.expect_tx").bytes += bytes;
}

void mbarrier_expect(SharedBarrier* barrier, int bytes) {
  Mbarrier& found = find(barrier, "mbarrier.arrive.expect_tx");
  found.bytes += bytes;
  take_arrival(found);
}

void mbarrier_complete_tx(SharedBarrier* barrier, int bytes) {
  Mbarrier& found = find(barrier, "mbarrier complete_tx");
  found.bytes -= bytes;
  tsan_release(&found);
  complete_if_done(found);
}

void mbarrier_arrive_at(SharedBarrier* barrier, int block) {
  mbarrier_arrive(static_cast<SharedBarrier*>(map_shared(barrier, block)));
}

bool mbarrier_try_wait(SharedBarrier* barrier, int wanted) {
  const auto parity = static_cast<uint32_t>(wanted);
  if (parity > 1) fail("mbarrier.try_wait.parity: a parity of %u", parity);
  Mbarrier& found = find(barrier, "mbarrier.try_wait");
  // May say no for no reason, as the hardware's.
  if ((found.phase & 1) != parity && draw(8) != 0) {
    tsan_acquire(&found);
    return true;
  }
  yield_for({"mbarrier wait", barrier, parity});
  return false;
}

void mbarrier_wait(SharedBarrier* barrier, int wanted) {
  const auto parity = static_cast<uint32_t>(wanted);
  if (parity > 1) fail("mbarrier.try_wait.parity: a parity of %u", parity);
  Mbarrier& found = find(barrier, "mbarrier.try_wait");
  while ((found.phase & 1) == parity) block_on(found.waiters, {"mbarrier wait", barrier, parity});
  tsan_acquire(&found);
}

std::string describe_mbarrier(const SharedBarrier* barrier, uint32_t parity) {
  char text[160];
  const Mbarrier& found = find(barrier, "mbarrier");
  std::snprintf(text, sizeof text, "mbarrier at 0x%x, parity %u: its phase %llu lacks %u of %u arrivals and %lld bytes",
                shared_address(barrier), parity, static_cast<unsigned long long>(found.phase), found.pending, found.expected,
                static_cast<long long>(found.bytes));
  return text;
}

}  // namespace dsk::sim

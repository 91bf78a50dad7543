// What an mbarrier is here. Its eight bytes hold a number under which the machine keeps the counts, so that one that was never
// initialized, or written over, is noticed.
#pragma once
#include <string>

#include "sim_copies.h"
#include "sim_machine.h"

namespace dsk::sim {

struct Mbarrier {
  const SharedBarrier* address;
  uint32_t expected;
  uint32_t pending;
  // That are announced and have not come; below 0 when they came first.
  int64_t bytes = 0;
  // How many phases are complete.
  uint64_t phase = 0;
  Waiters waiters;
};

// "mbarrier at 0x400, parity 1: its phase 3 lacks 1 of 2 arrivals and 512 bytes"
std::string describe_mbarrier(const SharedBarrier* barrier, uint32_t parity);

}  // namespace dsk::sim

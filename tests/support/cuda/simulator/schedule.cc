// Who runs next: blocking, waking, giving way, and what a warp's lanes do together.
#include <cstdarg>
#include <cstdio>

#include "sim_machine.h"
#include "sim_report.h"

namespace dsk::sim {

Machine machine;
const ThreadIndices* indices = nullptr;
dim3 block_dim;
dim3 grid_dim;

uint32_t draw(uint32_t limit) {
  uint64_t x = machine.random_state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  machine.random_state = x;
  return static_cast<uint32_t>((x >> 32) * limit >> 32);
}

namespace {

// Yields without any progress, by each live thread, after which a kernel is taken to spin forever.
constexpr uint64_t kIdleYields = 64;

uint32_t rotated(uint32_t bits, uint32_t by) { return by == 0 ? bits : bits >> by | bits << (32 - by); }

// The first lane that can go on, beginning with the one that the block's seed chose for the warp.
Fiber& ready_lane(Warp& warp) {
  const uint32_t by = warp.rotation;
  return warp.fibers[(static_cast<uint32_t>(__builtin_ctz(rotated(warp.ready, by))) + by) % kLanes];
}

Warp& ready_warp() {
  return machine.warps[machine.ready_warps.first(draw(kMaxWarps))];
}

// One step of one copy under way.
void step_copy() {
  const uint32_t i = draw(static_cast<uint32_t>(machine.copies.size()));
  const std::shared_ptr<AsyncCopy> copy = machine.copies[i];
  if (!copy->step()) {
    machine.copies[i] = machine.copies.back();
    machine.copies.pop_back();
  }
  ++machine.progress;
}

// The cluster's end. Stores may come as late as that, but memory that a load is to fill is gone.
void finish_copies() {
  for (const auto& copy : machine.copies) {
    if (!copy->may_outlive_block()) fail("the last thread left, and a copy to shared memory that nobody waited for is under way");
    while (copy->step()) continue;
  }
  machine.copies.clear();
}

void go_to(Fiber& next) {
  Fiber& self = *machine.current;
  if (&self == &next) return;
  run_as(next);
  switch_context(self.context, next.context, false);
}

// Another thread's turn: one of this warp if there is one, else one of a warp that the seed chooses.
Fiber& choose(Warp& warp) {
  if (warp.ready != 0) return ready_lane(warp);
  if (!machine.copies.empty() && draw(4) == 0) step_copy();
  while (machine.ready_warps.empty()) {
    if (machine.copies.empty()) fail_deadlock();
    step_copy();
  }
  return ready_lane(ready_warp());
}

void set_ready(Warp& warp, uint32_t lanes) {
  warp.ready |= lanes;
  machine.ready_warps.add(warp.number);
}

void clear_ready(Warp& warp, uint32_t lanes) {
  warp.ready &= ~lanes;
  if (warp.ready == 0) machine.ready_warps.remove(warp.number);
}

void pause(const Wait& wait) {
  Fiber& self = *machine.current;
  self.wait = wait;
  clear_ready(*self.warp, uint32_t{1} << self.lane);
  go_to(choose(*self.warp));
  self.wait.what = nullptr;
}

void complete(Warp& warp, Collective& collective) {
  const uint32_t lanes = collective.arrived;
  warp.open_collectives &= ~(uint32_t{1} << (&collective - warp.collectives));
  collective.run(warp, lanes, collective.records);
  set_ready(warp, lanes);
  ++machine.progress;
}

// The collective of a set of lanes: the one that is open, or a new one.
Collective& find_collective(Warp& warp, uint32_t mask, const char* name) {
  for (uint32_t open = warp.open_collectives; open != 0; open &= open - 1) {
    Collective& found = warp.collectives[__builtin_ctz(open)];
    if (found.mask == mask) {
      if (found.name != name) fail("%s by a lane of a warp, others of which are in %s", name, found.name);
      return found;
    }
  }
  const int free = __builtin_ctz(~warp.open_collectives);
  warp.open_collectives |= uint32_t{1} << free;
  Collective& made = warp.collectives[free];
  made.mask = mask;
  made.arrived = 0;
  made.name = name;
  return made;
}

}  // namespace

void block_on(Waiters& waiters, const Wait& wait) {
  const Fiber& self = *machine.current;
  waiters.lanes[self.warp->number] |= uint32_t{1} << self.lane;
  waiters.warps.add(self.warp->number);
  pause(wait);
}

void wake(Waiters& waiters) {
  ++machine.progress;
  while (!waiters.warps.empty()) {
    const uint32_t i = waiters.warps.first(0);
    waiters.warps.remove(i);
    set_ready(machine.warps[i], waiters.lanes[i]);
    waiters.lanes[i] = 0;
  }
}

void yield_for(const Wait& wait) {
  Fiber& self = *machine.current;
  if (machine.progress != machine.seen_progress) {
    machine.seen_progress = machine.progress;
    machine.idle_yields = 0;
  }
  self.wait = wait;
  if (!machine.copies.empty()) {
    if (draw(2) == 0) step_copy();
  } else if (++machine.idle_yields > kIdleYields * machine.live) {
    fail_deadlock();
  }
  // Any other thread, of this warp or of another one: this one stays ready.
  Warp& warp = ready_warp();
  const uint32_t others = &warp == self.warp ? warp.ready & ~(uint32_t{1} << self.lane) : warp.ready;
  if (others != 0) {
    const uint32_t by = draw(kLanes);
    go_to(warp.fibers[(static_cast<uint32_t>(__builtin_ctz(rotated(others, by))) + by) % kLanes]);
  }
  self.wait.what = nullptr;
}

void collective(uint32_t mask, const char* name, void* record, void (*run)(Warp&, uint32_t, void* const*)) {
  Fiber& self = *machine.current;
  Warp& warp = *self.warp;
  const uint32_t lane = uint32_t{1} << self.lane;
  if ((mask & lane) == 0) fail("%s with lanes %08x, which lane %u is not among", name, mask, self.lane);
  tsan_release(&warp);
  Collective& found = find_collective(warp, mask, name);
  found.run = run;
  found.records[self.lane] = record;
  found.arrived |= lane;
  if (found.arrived == (mask & warp.live)) {
    complete(warp, found);
  } else {
    pause({name, &found, mask});
  }
  tsan_acquire(&warp);
}

bool barrier_arrive(Barrier& barrier, uint32_t expected, const Wait& wait) {
  if (barrier.arrived != 0 && barrier.expected != expected) {
    fail("%s %u for %u threads, while others wait there for %u", wait.what, wait.detail, expected, barrier.expected);
  }
  barrier.expected = expected;
  tsan_release(&barrier);
  if (++barrier.arrived < expected) return false;
  barrier.arrived = 0;
  barrier.result = barrier.predicates;
  barrier.predicates = 0;
  wake(barrier.waiters);
  return true;
}

void barrier_sync(Barrier& barrier, uint32_t expected, const Wait& wait) {
  if (!barrier_arrive(barrier, expected, wait)) block_on(barrier.waiters, wait);
  tsan_acquire(&barrier);
}

// A thread has come to its end: others of its warp may have waited for it alone.
void leave() {
  Fiber& self = *machine.current;
  Warp& warp = *self.warp;
  const uint32_t lane = uint32_t{1} << self.lane;
  warp.live &= ~lane;
  --warp.block->live;
  --machine.live;
  ++machine.progress;
  clear_ready(warp, lane);
  for (uint32_t open = warp.open_collectives; open != 0; open &= open - 1) {
    Collective& found = warp.collectives[__builtin_ctz(open)];
    if (found.arrived == (found.mask & warp.live)) complete(warp, found);
  }
  if (machine.live == 0) finish_copies();
  if (machine.live == 0) switch_context(self.context, machine.main, true);
  Fiber& next = choose(warp);
  run_as(next);
  switch_context(self.context, next.context, true);
  __builtin_unreachable();
}

void fail(const char* format, ...) {
  char text[2048];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const Fiber& self = *machine.current;
  machine.failure = place_of(self) + ": " + text;
  switch_context(machine.current->context, machine.main, true);
  __builtin_unreachable();
}

}  // namespace dsk::sim

// What the machine says when something is wrong, and what it tells the race detector.
#pragma once
#include <string>

#include "sim_machine.h"

namespace dsk::sim {

// "kernel NAME, block (x, y, z), thread (x, y, z)"
std::string place_of(const Fiber& fiber);

// Nobody can go on: says what each thread waits for.
[[noreturn]] void fail_deadlock();

// The end of a thread.
[[noreturn]] void leave();

// What a thread did before `tsan_release` is ordered before what another one does after `tsan_acquire` of the same object.
inline void tsan_release(void* object) {
  if (has_thread_sanitizer()) __tsan_release(object);
}
inline void tsan_acquire(void* object) {
  if (has_thread_sanitizer()) __tsan_acquire(object);
}

}  // namespace dsk::sim

// What the machine says when something is wrong, and what it tells the race detector.
#pragma once
#include <string>

#include "sim_machine.h"

#ifdef DSK_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace dsk::sim {

// "kernel NAME, block (x, y, z), thread (x, y, z)"
std::string place_of(const Fiber& fiber);

// Nobody can go on: says what each thread waits for.
[[noreturn]] void fail_deadlock();

// The end of a thread.
[[noreturn]] void leave();

inline void tsan_release([[maybe_unused]] void* object) {
#ifdef DSK_TSAN
  __tsan_release(object);
#endif
}

inline void tsan_acquire([[maybe_unused]] void* object) {
#ifdef DSK_TSAN
  __tsan_acquire(object);
#endif
}

}  // namespace dsk::sim

// Fibers: stacks that take turns on one OS thread. The switch is written by hand for x86-64 and arm64, since ucontext's makes two
// system calls. The sanitizers are told of every switch when one of them is in the process.
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" {
void __asan_init() __attribute__((weak));
void __tsan_init() __attribute__((weak));
void __tsan_acquire(void* object) __attribute__((weak));
void __tsan_release(void* object) __attribute__((weak));
}

namespace dsk::sim {

inline bool has_address_sanitizer() { return __asan_init != nullptr; }
inline bool has_thread_sanitizer() { return __tsan_init != nullptr; }

// Where a fiber goes on. The OS thread's own stack is one, too.
struct Context {
  void* stack_pointer = nullptr;
  // The stack's memory; null for the OS thread's.
  char* stack = nullptr;
  size_t stack_bytes = 0;
  // What the sanitizers keep of it.
  void* fake_stack = nullptr;
  void* tsan = nullptr;
};

// Bytes of a kernel thread's stack. Multiples of 4096 would put the tops of all stacks into the same lines of the cache.
inline size_t stack_bytes() { return (has_address_sanitizer() || has_thread_sanitizer() ? 512 << 10 : 128 << 10) + 320; }

// Makes `context` begin with `entry`, which never returns, on the given memory.
void prepare(Context& context, char* stack, size_t bytes, void (*entry)());

// Stops `from` and goes on with `to`. `leaving`: `from` will never go on.
void switch_context(Context& from, Context& to, bool leaving);

// The first thing a fiber does.
void begin_fiber();

// The OS thread's context, before the first switch.
void adopt_thread(Context& context);

}  // namespace dsk::sim

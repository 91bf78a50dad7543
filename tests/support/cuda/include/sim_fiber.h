// Fibers: stacks that take turns on one OS thread. The switch is written by hand for x86-64 and arm64, since ucontext's makes two
// system calls; the sanitizers are told of every switch.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define DSK_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define DSK_TSAN 1
#endif
// The machine's own state is shared by all fibers without a lock: the race detector is to look at kernels, not at it.
#ifdef DSK_TSAN
#define DSK_SIM __attribute__((no_sanitize_thread, noinline))
#else
#define DSK_SIM
#endif

namespace dsk::sim {

// Where a fiber goes on. The OS thread's own stack is one, too.
struct Context {
  void* stack_pointer = nullptr;
  // The stack's memory; null for the OS thread's.
  char* stack = nullptr;
  size_t stack_bytes = 0;
#ifdef DSK_ASAN
  void* fake_stack = nullptr;
#endif
#ifdef DSK_TSAN
  void* tsan = nullptr;
#endif
};

// Bytes of a kernel thread's stack. Multiples of 4096 would put the tops of all stacks into the same lines of the cache.
#if defined(DSK_ASAN) || defined(DSK_TSAN)
constexpr size_t kStackBytes = (512 << 10) + 320;
#else
constexpr size_t kStackBytes = (128 << 10) + 320;
#endif

// Makes `context` begin with `entry`, which never returns, on the given memory.
void prepare(Context& context, char* stack, size_t bytes, void (*entry)());

// Stops `from` and goes on with `to`. `leaving`: `from` will never go on.
void switch_context(Context& from, Context& to, bool leaving);

// The first thing a fiber does.
void begin_fiber();

// The OS thread's context, before the first switch.
void adopt_thread(Context& context);

}  // namespace dsk::sim

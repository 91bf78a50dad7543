#include "sim_fiber.h"

#include <cstring>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

extern "C" {
void __asan_unpoison_memory_region(const volatile void*, size_t) __attribute__((weak));
void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, size_t bytes) __attribute__((weak));
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom, size_t* bytes) __attribute__((weak));
void* __tsan_get_current_fiber() __attribute__((weak));
void* __tsan_create_fiber(unsigned flags) __attribute__((weak));
void __tsan_switch_to_fiber(void* fiber, unsigned flags) __attribute__((weak));
}

// Saves the registers that a call has to keep on the stack, leaves its address in *save, and goes on with the stack at load.
extern "C" void dsk_sim_switch(void** save, void* load) __attribute__((visibility("hidden")));

#if defined(__x86_64__)
asm(R"(
.text
.p2align 4
.globl dsk_sim_switch
.hidden dsk_sim_switch
.type dsk_sim_switch, @function
dsk_sim_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size dsk_sim_switch, .-dsk_sim_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.p2align 4
.globl dsk_sim_switch
.hidden dsk_sim_switch
.type dsk_sim_switch, %function
dsk_sim_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size dsk_sim_switch, .-dsk_sim_switch
)");
#endif

namespace dsk::sim {
namespace {

#if defined(__x86_64__)
// Six registers, the address that `ret` takes, and one word so that the entry finds the stack as after a call.
void* first_frame(char* top, void (*entry)()) {
  void** frame = reinterpret_cast<void**>(top) - 8;
  std::memset(frame, 0, 8 * sizeof *frame);
  frame[6] = reinterpret_cast<void*>(entry);
  return frame;
}
#elif defined(__aarch64__)
void* first_frame(char* top, void (*entry)()) {
  void** frame = reinterpret_cast<void**>(top - 160);
  std::memset(frame, 0, 160);
  frame[11] = reinterpret_cast<void*>(entry);  // x30, where `ret` goes
  return frame;
}
#endif

// Who switched last.
Context* came_from = nullptr;

}  // namespace

void prepare(Context& context, char* stack, size_t bytes, void (*entry)()) {
  context.stack = stack;
  context.stack_bytes = bytes;
  // An earlier kernel thread may have been left in the middle of its frames.
  if (has_address_sanitizer()) __asan_unpoison_memory_region(stack, bytes);
  context.fake_stack = nullptr;
  if (has_thread_sanitizer() && context.tsan == nullptr) context.tsan = __tsan_create_fiber(0);
#if defined(__x86_64__) || defined(__aarch64__)
  char* const top = stack + bytes / 16 * 16;
  context.stack_pointer = first_frame(top, entry);
#else
  auto* const made = context.stack_pointer ? static_cast<ucontext_t*>(context.stack_pointer) : new ucontext_t;
  getcontext(made);
  made->uc_stack.ss_sp = stack;
  made->uc_stack.ss_size = bytes;
  made->uc_link = nullptr;
  makecontext(made, entry, 0);
  context.stack_pointer = made;
#endif
}

void adopt_thread(Context& context) {
  if (has_thread_sanitizer()) context.tsan = __tsan_get_current_fiber();
#if !defined(__x86_64__) && !defined(__aarch64__)
  if (context.stack_pointer == nullptr) context.stack_pointer = new ucontext_t;
#endif
}

void begin_fiber() {
  if (!has_address_sanitizer()) return;
  const void* bottom;
  size_t bytes;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  // The OS thread's stack is known once somebody has left it.
  if (came_from->stack == nullptr) {
    came_from->stack = static_cast<char*>(const_cast<void*>(bottom));
    came_from->stack_bytes = bytes;
  }
}

void switch_context(Context& from, Context& to, bool leaving) {
  if (has_address_sanitizer()) {
    came_from = &from;
    __sanitizer_start_switch_fiber(leaving ? nullptr : &from.fake_stack, to.stack, to.stack_bytes);
  }
  // 1: no order between the fibers comes with the switch; barriers say what is ordered.
  if (has_thread_sanitizer()) __tsan_switch_to_fiber(to.tsan, 1);
#if defined(__x86_64__) || defined(__aarch64__)
  dsk_sim_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(static_cast<ucontext_t*>(from.stack_pointer), static_cast<ucontext_t*>(to.stack_pointer));
#endif
  if (has_address_sanitizer()) __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
}

}  // namespace dsk::sim

// Memory: atomic operations, fences, loads and stores with hints.
#pragma once
#include <string.h>

#include "harness_vectors.h"
#include "sim_threads.h"

namespace dsk::sim {

// The bits of a value, for compare and swap.
template <size_t bytes>
struct BitsOf;
template <>
struct BitsOf<2> {
  using Type = uint16_t;
};
template <>
struct BitsOf<4> {
  using Type = uint32_t;
};
template <>
struct BitsOf<8> {
  using Type = uint64_t;
};

// Replaces what is at `address` by `change` of it, and returns what was there. Blocks run on several OS threads.
template <class T, class Change>
T atomic_change(T* address, Change change) {
  using Bits = typename BitsOf<sizeof(T)>::Type;
  auto* const bits = reinterpret_cast<Bits*>(address);
  Bits old_bits = __atomic_load_n(bits, __ATOMIC_RELAXED);
  for (;;) {
    T old;
    memcpy(&old, &old_bits, sizeof old);
    const T changed = change(old);
    Bits new_bits;
    memcpy(&new_bits, &changed, sizeof changed);
    if (__atomic_compare_exchange_n(bits, &old_bits, new_bits, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return old;
  }
}

}  // namespace dsk::sim

#define DSK_ATOMIC(name, T, expression)                                            \
  inline T name(T* address, T value) {                                             \
    dsk::sim::count_spin();                                                        \
    return dsk::sim::atomic_change(address, [value](T old) -> T { return expression; }); \
  }
#define DSK_ATOMIC_INTEGERS(name, expression)   \
  DSK_ATOMIC(name, int, expression)             \
  DSK_ATOMIC(name, unsigned, expression)        \
  DSK_ATOMIC(name, unsigned long long, expression)
DSK_ATOMIC_INTEGERS(atomicAdd, old + value)
DSK_ATOMIC(atomicAdd, float, old + value)
DSK_ATOMIC(atomicAdd, double, old + value)
DSK_ATOMIC(atomicSub, int, old - value)
DSK_ATOMIC(atomicSub, unsigned, old - value)
DSK_ATOMIC_INTEGERS(atomicMin, old < value ? old : value)
DSK_ATOMIC_INTEGERS(atomicMax, old > value ? old : value)
DSK_ATOMIC_INTEGERS(atomicAnd, old & value)
DSK_ATOMIC_INTEGERS(atomicOr, old | value)
DSK_ATOMIC_INTEGERS(atomicXor, old ^ value)
DSK_ATOMIC_INTEGERS(atomicExch, (void(old), value))
DSK_ATOMIC(atomicExch, float, (void(old), value))
DSK_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
DSK_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)
#undef DSK_ATOMIC_INTEGERS
#undef DSK_ATOMIC
// Two numbers, each of which is added on its own.
inline float2 atomicAdd(float2* address, float2 value) {
  return {atomicAdd(&address->x, value.x), atomicAdd(&address->y, value.y)};
}
template <class T>
T atomicCAS(T* address, T expected, T value) {
  dsk::sim::count_spin();
  return dsk::sim::atomic_change(address, [=](T old) { return old == expected ? value : old; });
}

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

#define DSK_LOAD(name)          \
  template <class T>            \
  T name(const T* address) {    \
    return *address;            \
  }
DSK_LOAD(__ldg) DSK_LOAD(__ldca) DSK_LOAD(__ldcg) DSK_LOAD(__ldcs) DSK_LOAD(__ldcv) DSK_LOAD(__ldlu)
#undef DSK_LOAD
#define DSK_STORE(name)                  \
  template <class T>                     \
  void name(T* address, T value) {       \
    *address = value;                    \
  }
DSK_STORE(__stwb) DSK_STORE(__stcg) DSK_STORE(__stcs) DSK_STORE(__stwt)
#undef DSK_STORE

inline size_t __cvta_generic_to_shared(const void* pointer) { return dsk::sim::shared_address(pointer); }
inline void* __cvta_shared_to_generic(size_t address) { return dsk::sim::shared_pointer(static_cast<uint32_t>(address)); }

inline void __nanosleep(unsigned) { dsk::sim::spin(); }
inline long long clock64() { return dsk::sim::clock(); }
inline void __trap() { dsk::sim::fail("__trap"); }
#define __builtin_assume(condition) ((condition) ? (void)0 : dsk::sim::fail("__builtin_assume(%s)", #condition))

// <assert.h> would end the process.
#undef assert
#define assert(condition) ((condition) ? (void)0 : dsk::sim::fail("assert(%s), line %d", #condition, __LINE__))

// What the lanes of a warp do together (CUDA C++ Programming Guide, "Warp Shuffle", "Vote", "Match", and "Reduce Functions"), and
// barriers.
#pragma once
#include <string.h>

#include "sim_threads.h"

inline void __syncthreads() { dsk::sim::sync_threads(0); }
inline int __syncthreads_count(int predicate) { return dsk::sim::sync_threads(predicate); }
inline int __syncthreads_or(int predicate) { return dsk::sim::sync_threads(predicate) != 0; }
inline int __syncthreads_and(int predicate) { return dsk::sim::sync_threads(!predicate) == 0; }
inline void __syncwarp(unsigned mask = dsk::sim::kFullMask) { dsk::sim::sync_warp(mask); }

namespace dsk::sim {

template <class T>
struct Shuffle {
  T value;
  // The lane whose value this one gets.
  uint32_t from;
  T result;
};

// Each lane gets the value of the lane it asks for; of one that does not take part, what nobody wrote.
template <class T>
void run_shuffle(Warp&, uint32_t lanes, void* const* records) {
  for (uint32_t left = lanes; left != 0; left &= left - 1) {
    auto& mine = *static_cast<Shuffle<T>*>(records[__builtin_ctz(left)]);
    if (lanes >> mine.from & 1) {
      mine.result = static_cast<Shuffle<T>*>(records[mine.from])->value;
    } else {
      memset(&mine.result, 0xff, sizeof mine.result);
    }
  }
}

template <class T>
T shuffle(uint32_t mask, T value, uint32_t from) {
  Shuffle<T> record{value, from, value};
  collective(mask, "a shuffle", &record, run_shuffle<T>);
  return record.result;
}

// Folds the values of all lanes in the order of the lanes; each lane gets the result.
template <class T, class Fold>
T reduce(uint32_t mask, const char* name, T value, Fold) {
  T record = value;
  collective(mask, name, &record, [](Warp&, uint32_t lanes, void* const* records) {
    T all = *static_cast<T*>(records[__builtin_ctz(lanes)]);
    for (uint32_t left = lanes & (lanes - 1); left != 0; left &= left - 1) {
      all = Fold{}(all, *static_cast<T*>(records[__builtin_ctz(left)]));
    }
    for (uint32_t left = lanes; left != 0; left &= left - 1) *static_cast<T*>(records[__builtin_ctz(left)]) = all;
  });
  return record;
}

struct Vote {
  bool predicate;
  uint32_t result;
};

inline void run_ballot(Warp&, uint32_t lanes, void* const* records) {
  uint32_t votes = 0;
  for (uint32_t left = lanes; left != 0; left &= left - 1) {
    const int i = __builtin_ctz(left);
    if (static_cast<Vote*>(records[i])->predicate) votes |= uint32_t{1} << i;
  }
  for (uint32_t left = lanes; left != 0; left &= left - 1) static_cast<Vote*>(records[__builtin_ctz(left)])->result = votes;
}

inline uint32_t ballot(uint32_t mask, const char* name, bool predicate) {
  Vote record{predicate, 0};
  collective(mask, name, &record, run_ballot);
  return record.result;
}

template <class T>
uint32_t match(uint32_t mask, T value) {
  struct Match {
    T value;
    uint32_t result;
  };
  Match record{value, 0};
  collective(mask, "__match_any_sync", &record, [](Warp&, uint32_t lanes, void* const* records) {
    for (uint32_t left = lanes; left != 0; left &= left - 1) {
      auto& mine = *static_cast<Match*>(records[__builtin_ctz(left)]);
      for (uint32_t others = lanes; others != 0; others &= others - 1) {
        const int other = __builtin_ctz(others);
        if (static_cast<Match*>(records[other])->value == mine.value) mine.result |= uint32_t{1} << other;
      }
    }
  });
  return record.result;
}

}  // namespace dsk::sim

// `width` lanes, a power of two, are a warp of their own.
template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
  const unsigned first = dsk::sim::lane() & ~static_cast<unsigned>(width - 1);
  return dsk::sim::shuffle(mask, value, first + (static_cast<unsigned>(from) & static_cast<unsigned>(width - 1)));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const unsigned lane = dsk::sim::lane(), from = lane ^ static_cast<unsigned>(bits);
  // Lanes of a group behind this one's are not read.
  const unsigned end = (lane & ~static_cast<unsigned>(width - 1)) + static_cast<unsigned>(width);
  return dsk::sim::shuffle(mask, value, from < end ? from : lane);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const unsigned lane = dsk::sim::lane(), in_group = lane & static_cast<unsigned>(width - 1);
  return dsk::sim::shuffle(mask, value, in_group >= by ? lane - by : lane);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const unsigned lane = dsk::sim::lane(), in_group = lane & static_cast<unsigned>(width - 1);
  return dsk::sim::shuffle(mask, value, in_group + by < static_cast<unsigned>(width) ? lane + by : lane);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) { return dsk::sim::ballot(mask, "__ballot_sync", predicate != 0); }
inline int __any_sync(unsigned mask, int predicate) { return dsk::sim::ballot(mask, "__any_sync", predicate != 0) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return dsk::sim::ballot(mask, "__all_sync", predicate == 0) == 0; }
inline unsigned __activemask() { return dsk::sim::live_lanes(); }
template <class T>
unsigned __match_any_sync(unsigned mask, T value) {
  return dsk::sim::match(mask, value);
}

#define DSK_REDUCE(name, T, expression)                                              \
  inline T name(unsigned mask, T value) {                                            \
    struct Fold {                                                                    \
      T operator()(T x, T y) const { return expression; }                            \
    };                                                                               \
    return dsk::sim::reduce(mask, #name, value, Fold{});                             \
  }
DSK_REDUCE(__reduce_add_sync, unsigned, x + y)
DSK_REDUCE(__reduce_add_sync, int, static_cast<int>(static_cast<unsigned>(x) + static_cast<unsigned>(y)))
DSK_REDUCE(__reduce_min_sync, unsigned, x < y ? x : y)
DSK_REDUCE(__reduce_min_sync, int, x < y ? x : y)
DSK_REDUCE(__reduce_max_sync, unsigned, x > y ? x : y)
DSK_REDUCE(__reduce_max_sync, int, x > y ? x : y)
DSK_REDUCE(__reduce_and_sync, unsigned, x & y)
DSK_REDUCE(__reduce_or_sync, unsigned, x | y)
DSK_REDUCE(__reduce_xor_sync, unsigned, x ^ y)
#undef DSK_REDUCE

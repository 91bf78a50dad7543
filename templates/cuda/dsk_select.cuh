// The largest of many values: larger ones first, the lower index first among equals, NaN last.
#pragma once
#include "dsk.cuh"

// Larger values have larger keys, 0 and -0 the same one, NaN the least; no key is 0.
DSK_INLINE unsigned key_of(float x) {
  const unsigned bits = float_bits(x == 0.0f ? 0.0f : x);
  return x != x ? 1u : (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u;
}
DSK_INLINE unsigned long long key_and_index(float x, int i) {
  return (unsigned long long)key_of(x) << 32 | (0xffffffffu - (unsigned)i);
}
DSK_INLINE unsigned long long key_and_index(int x, int i) {
  return (1ull << 63) + ((long long)x << 32 | (long long)(0xffffffffu - (unsigned)i));
}
DSK_INLINE int index_in(unsigned long long key) { return (int)(0xffffffffu - (unsigned)key); }

// take(place, index) for the COUNT largest of N values, value(index) of each: by a warp, whose lanes have them in registers.
template <int N, int COUNT, class Value, class Take> DSK_INLINE void largest_of_warp(const Value& value, const Take& take) {
  static_assert(COUNT <= 32, "a lane has one of the largest");
  constexpr int OWN = (N + 31) / 32;
  const int lane = threadIdx.x % 32;
  unsigned keys[OWN];
#pragma unroll
  for (int o = 0; o < OWN; o++) keys[o] = o * 32 + lane < N ? key_of(value(o * 32 + lane)) : 0u;
  int mine = 0;
  for (int place = 0; place < COUNT; place++) {
    unsigned best = 0u, at = N;
#pragma unroll
    for (int o = 0; o < OWN; o++) {
      if (keys[o] <= best) continue;
      best = keys[o];
      at = o * 32 + lane;
    }
    const unsigned top = __reduce_max_sync(0xffffffffu, best);
    const unsigned winner = __reduce_min_sync(0xffffffffu, best == top ? at : (unsigned)N);
#pragma unroll
    for (int o = 0; o < OWN; o++)
      if (o * 32 + lane == winner) keys[o] = 0u;
    if (lane == place) mine = (int)winner;
  }
  if (lane < COUNT) take(lane, mine);
}

// The least key of the `wanted` largest of `count` values; 0 where there are no more. Digit by digit, by a block (radix select).
template <int THREADS, class T> DSK_INLINE unsigned long long least_of_largest(const T* values, int count, int wanted) {
  constexpr int BITS = 11, BINS = 1 << BITS, OWN = (BINS + THREADS - 1) / THREADS;
  __shared__ int bins[BINS];
  __shared__ int sums[THREADS];
  __shared__ int found[3];  // the digit, and how many values have it and all digits before
  const int lane = threadIdx.x;
  if (count <= wanted) return 0ull;
  unsigned long long prefix = 0ull;
  for (int high = 64;;) {
    const int low = high > BITS ? high - BITS : 0;
    for (int bin = lane; bin < BINS; bin += THREADS) bins[bin] = 0;
    __syncthreads();
#pragma unroll 8
    for (int i = lane; i < count; i += THREADS) {
      const unsigned long long key = key_and_index((typename Computed<T>::type)values[i], i);
      if (high == 64 || key >> high == prefix) atomicAdd(&bins[(int)(key >> low) & ((1 << (high - low)) - 1)], 1);
    }
    __syncthreads();
    const int first = lane * OWN, end = min(first + OWN, BINS);
    int own = 0;
    for (int bin = first; bin < end; bin++) own += bins[bin];
    sums[lane] = own;
    __syncthreads();
    int above = 0;
    for (int other = lane + 1; other < THREADS; other++) above += sums[other];
    if (above < wanted && above + own >= wanted) {
      int digit = end - 1;
      while (above + bins[digit] < wanted) above += bins[digit--];
      found[0] = digit;
      found[1] = wanted - above;
      found[2] = bins[digit];
    }
    __syncthreads();
    prefix = prefix << (high - low) | (unsigned long long)found[0];
    wanted = found[1];
    if (low == 0 || found[2] == wanted) return prefix << low;
    high = low;
  }
}

// The keys from `least` on in descending order, zeros behind them; SIZE is a power of two that is no less than their number.
template <int THREADS, int SIZE, class T>
DSK_INLINE void sort_largest(unsigned long long* sorted, const T* values, int count, unsigned long long least) {
  __shared__ int taken;
  const int lane = threadIdx.x;
  __syncthreads();  // whoever still reads what the call before left
  for (int i = lane; i < SIZE; i += THREADS) sorted[i] = 0ull;
  if (lane == 0) taken = 0;
  __syncthreads();
#pragma unroll 8
  for (int i = lane; i < count; i += THREADS) {
    const unsigned long long key = key_and_index((typename Computed<T>::type)values[i], i);
    if (key >= least) sorted[atomicAdd(&taken, 1)] = key;
  }
  // Bitonic: runs of `run` keys, every other one ascending, become one (Batcher, 1968).
  for (int run = 2; run <= SIZE; run *= 2) {
    for (int distance = run / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (int pair = lane; pair < SIZE / 2; pair += THREADS) {
        const int i = pair / distance * distance * 2 + pair % distance;
        const unsigned long long a = sorted[i], b = sorted[i + distance];
        if ((a < b) == ((i & run) == 0)) {
          sorted[i] = b;
          sorted[i + distance] = a;
        }
      }
    }
  }
  __syncthreads();
}

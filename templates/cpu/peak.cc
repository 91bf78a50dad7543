// What a machine can do at best: fused multiply-adds in registers, and reading memory. Compiled and run as kernels are, so
// that times compare.
#include "abi.h"

#if defined(__AVX512F__)
typedef float vec __attribute__((vector_size(64)));
#elif defined(__AVX__)
typedef float vec __attribute__((vector_size(32)));
#else
typedef float vec __attribute__((vector_size(16)));
#endif

static constexpr int64_t kLanes = sizeof(vec) / sizeof(float);
// Operations that do not wait for each other: more than latency times units of any processor, fewer than there are registers.
static constexpr int kChains = 12;

static vec all_of(float x) { return x - vec{}; }

static void store(float* out, const vec* sums, int count) {
  vec all = sums[0];
  for (int i = 1; i < count; ++i) all += sums[i];
  for (int64_t lane = 0; lane < kLanes; ++lane) out[lane] = all[lane];
}

static int64_t items(void* const*, const int64_t* extents) { return extents[0]; }
static int64_t no_scratch(const int64_t*) { return 0; }

// multiply_add(out: f32[items, 16], in: f32[2]) extents [items, operations of an item]
static void multiply_add(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char*) {
  const float* const in = (const float*)args[1];
  const vec x = all_of(in[0]), y = all_of(in[1]);
  for (int64_t item = begin; item < end; ++item) {
    vec sums[kChains];
    // Each starts from another number: the compiler computes equal chains once.
    for (int i = 0; i < kChains; ++i) sums[i] = all_of(in[0] + float(i));
    for (int64_t k = extents[1] / (2 * kChains * kLanes); k > 0; --k)
      for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * x + y;
    store((float*)args[0] + item * 16, sums, kChains);
  }
}

// read(out: f32[items, 16], data: f32[elements]) extents [items, elements, times that they are read]
static void read(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char*) {
  constexpr int kStep = 8;
  const int64_t part = extents[1] / extents[0];
  for (int64_t item = begin; item < end; ++item) {
    vec sums[kStep] = {};
    for (int64_t again = 0; again < extents[2]; ++again) {
      const vec* from = (const vec*)((const float*)args[1] + item * part);
      for (int64_t k = part / (kStep * kLanes); k > 0; --k, from += kStep)
        for (int i = 0; i < kStep; ++i) sums[i] += from[i];
    }
    store((float*)args[0] + item * 16, sums, kStep);
  }
}

extern "C" const dsk_kernel* dsk_kernels(int32_t abi, int32_t* count) {
  if (abi != DSK_ABI) return nullptr;
  static const dsk_kernel kernels[] = {
      {"multiply_add", 2, 2, items, no_scratch, multiply_add},
      {"read", 2, 3, items, no_scratch, read},
  };
  *count = 2;
  return kernels;
}

// Kernels that share a launch: the items of each stand behind those of the one before.
#pragma once
#include "dsk.h"

// A kernel, and which of the launch's buffers and extents it has.
struct dsk_part {
  const dsk_kernel* kernel;
  const int32_t *args, *extents;
};

// The shared memory of a launch begins with where the items of each part end; then comes that of the parts.
DSK_INLINE int64_t* dsk_part_ends(void* const* args, int buffers, int count, char*& rest) {
  rest = (char*)args[buffers];
  return dsk_take<int64_t>(rest, count);
}

// Calls `use` with a part's own arguments and extents, the last argument being its shared memory, which it steps over.
template <class Use>
DSK_INLINE void dsk_enter_part(const dsk_part& part, void* const* args, const int64_t* extents, char*& shared, Use use) {
  const dsk_kernel& kernel = *part.kernel;
  void** own = (void**)__builtin_alloca((uint64_t(kernel.args) + 1) * sizeof(void*));
  int64_t* sizes = (int64_t*)__builtin_alloca((uint64_t(kernel.extents) + 1) * sizeof(int64_t));
  for (int32_t i = 0; i < kernel.args; i++) own[i] = args[part.args[i]];
  for (int32_t i = 0; i < kernel.extents; i++) sizes[i] = extents[part.extents[i]];
  own[kernel.args] = shared;
  if (kernel.shared) shared += kernel.shared(sizes);
  use(own, sizes);
}

static inline int64_t dsk_items_of_parts(const dsk_part* parts, int count, void* const* args, int buffers, const int64_t* extents) {
  char* shared;
  int64_t* const ends = dsk_part_ends(args, buffers, count, shared);
  int64_t end = 0;
  for (int i = 0; i < count; i++) {
    dsk_enter_part(parts[i], args, extents, shared, [&](void** own, int64_t* sizes) {
      ends[i] = end += parts[i].kernel->items(own, sizes);
    });
  }
  return end;
}

static inline void dsk_run_parts(const dsk_part* parts, int count, void* const* args, int buffers, const int64_t* extents,
                                 int64_t begin, int64_t end, char* scratch) {
  char* shared;
  const int64_t* const ends = dsk_part_ends(args, buffers, count, shared);
  for (int i = 0; i < count; i++) {
    const int64_t first = i == 0 ? 0 : ends[i - 1];
    const int64_t from = (begin > first ? begin : first) - first, to = (end < ends[i] ? end : ends[i]) - first;
    dsk_enter_part(parts[i], args, extents, shared, [&](void** own, int64_t* sizes) {
      if (from >= to) return;
      // What another part has left there would say that this one has packed something (abi.h).
      if (parts[i].kernel->scratch(sizes) > 0) __builtin_memset(scratch, 0, 64);
      parts[i].kernel->run(own, sizes, from, to, scratch);
    });
  }
}

// The bytes that `of` gives for the parts: all together, or as many as one of them needs.
template <class Of>
static inline int64_t dsk_bytes_of_parts(const dsk_part* parts, int count, const int64_t* extents, bool all, Of of) {
  int64_t bytes = 0;
  for (int i = 0; i < count; i++) {
    const dsk_kernel& kernel = *parts[i].kernel;
    int64_t* sizes = (int64_t*)__builtin_alloca((uint64_t(kernel.extents) + 1) * sizeof(int64_t));
    for (int32_t e = 0; e < kernel.extents; e++) sizes[e] = extents[parts[i].extents[e]];
    const int64_t own = of(kernel, sizes);
    bytes = all ? bytes + own : bytes > own ? bytes : own;
  }
  return bytes;
}
static inline int64_t dsk_scratch_of_parts(const dsk_part* parts, int count, const int64_t* extents) {
  return dsk_bytes_of_parts(parts, count, extents, false, [](const dsk_kernel& kernel, const int64_t* sizes) { return kernel.scratch(sizes); });
}
static inline int64_t dsk_shared_of_parts(const dsk_part* parts, int count, const int64_t* extents) {
  return dsk_bytes<int64_t>(count) +
         dsk_bytes_of_parts(parts, count, extents, true, [](const dsk_kernel& kernel, const int64_t* sizes) {
           return kernel.shared ? kernel.shared(sizes) : 0;
         });
}

// What the runtime calls: the table of kernels of a generated library. Plain C, so that any compiler's library loads.
#pragma once
#include <stdint.h>

#define DSK_ABI 3

typedef struct dsk_kernel {
  const char* name;
  // How many buffers a launch gives, and how many extents: a program that does not fit is refused when it is loaded.
  int32_t args;
  int32_t extents;
  // Number of independent work items. Items may run on any thread, in any order: results do not depend on it. One item runs
  // on the calling thread, two or more are shared out, which costs up to a microsecond: an item should be worth a few.
  // May read the buffers (all earlier launches are done): how many rows an expert got decides how much there is to do.
  // args: one pointer per buffer of the launch; extents: one number per symbolic extent of the kernel. Temps, inputs, outputs,
  // and caches lie on 64 bytes; params and states of mapped files only on the size of their elements.
  int64_t (*items)(void* const* args, const int64_t* extents);
  // Bytes of scratch memory (64-byte aligned) that one thread needs. The first 64 are zero when a thread begins with a launch, the
  // others undefined; all of them stay what they are between the calls of `run` that the thread makes for this launch.
  int64_t (*scratch)(const int64_t* extents);
  // Computes the items from begin to end - 1.
  void (*run)(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch);
  // Bytes of memory (64-byte aligned) that `items` fills for all items: its address stands behind those of the buffers. Null where
  // there is none.
  int64_t (*shared)(const int64_t* extents);
} dsk_kernel;

#ifdef __cplusplus
extern "C" {
#endif
// The only symbol of the library: its kernels, or null when it was made for another version of this header.
__attribute__((visibility("default"))) const dsk_kernel* dsk_kernels(int32_t abi, int32_t* count);
#ifdef __cplusplus
}
#endif

// What the runtime calls: the table of kernels of a generated library. Plain C, so that any compiler's library loads.
#pragma once
#include <stdint.h>

#define DSK_ABI 1

typedef struct dsk_kernel {
  const char* name;
  // Number of independent work items. Items may run on any thread, in any order: results do not depend on it.
  // args: one pointer per buffer of the launch; extents: one number per symbolic extent of the kernel.
  int64_t (*items)(void* const* args, const int64_t* extents);
  // Bytes of scratch memory (64-byte aligned) that one thread needs; its content is undefined at the start of `run`.
  int64_t (*scratch)(const int64_t* extents);
  // Computes the items from begin to end - 1.
  void (*run)(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch);
} dsk_kernel;

#ifdef __cplusplus
extern "C" {
#endif
// The only symbol of the library.
const dsk_kernel* dsk_kernels(int32_t abi, int32_t* count);
#ifdef __cplusplus
}
#endif

// The CUDA driver API as far as sessions use it, with declarations of our own: nothing of CUDA is needed to build the addon. The
// names are those of the library's symbols; tests/runtime/device/cuda/api.test.ts compares all of this with NVIDIA's cuda.h.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dsk::cuda {

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct Context*;
using CUmodule = struct Module*;
using CUfunction = struct Function*;
using CUkernel = struct Kernel*;
using CUstream = struct Stream*;
using CUevent = struct Event*;
using CUgraph = struct Graph*;
using CUgraphNode = struct GraphNode*;
using CUgraphExec = struct GraphExec*;

// Enumerations are ints in calls.
constexpr CUresult CUDA_SUCCESS = 0;
constexpr CUresult CUDA_ERROR_OUT_OF_MEMORY = 2;
constexpr CUresult CUDA_ERROR_NO_DEVICE = 100;
constexpr CUresult CUDA_ERROR_NO_BINARY_FOR_GPU = 209;
constexpr CUresult CUDA_ERROR_ECC_UNCORRECTABLE = 214;
constexpr CUresult CUDA_ERROR_ILLEGAL_ADDRESS = 700;
constexpr CUresult CUDA_ERROR_LAUNCH_TIMEOUT = 702;
constexpr CUresult CUDA_ERROR_CONTEXT_IS_DESTROYED = 709;
constexpr CUresult CUDA_ERROR_ASSERT = 710;
constexpr CUresult CUDA_ERROR_HARDWARE_STACK_ERROR = 714;
constexpr CUresult CUDA_ERROR_ILLEGAL_INSTRUCTION = 715;
constexpr CUresult CUDA_ERROR_MISALIGNED_ADDRESS = 716;
constexpr CUresult CUDA_ERROR_INVALID_ADDRESS_SPACE = 717;
constexpr CUresult CUDA_ERROR_INVALID_PC = 718;
constexpr CUresult CUDA_ERROR_LAUNCH_FAILED = 719;
constexpr CUresult CUDA_ERROR_MPS_CLIENT_TERMINATED = 810;
constexpr CUresult CUDA_ERROR_UNKNOWN = 999;

constexpr int CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16;
constexpr int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75;
constexpr int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76;
constexpr int CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97;
constexpr int CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;
constexpr unsigned CU_STREAM_NON_BLOCKING = 1;
constexpr unsigned CU_EVENT_DEFAULT = 0;
constexpr unsigned CU_EVENT_DISABLE_TIMING = 2;

constexpr int CU_TENSOR_MAP_DATA_TYPE_UINT8 = 0;
constexpr int CU_TENSOR_MAP_DATA_TYPE_INT32 = 3;
constexpr int CU_TENSOR_MAP_DATA_TYPE_FLOAT16 = 6;
constexpr int CU_TENSOR_MAP_DATA_TYPE_FLOAT32 = 7;
constexpr int CU_TENSOR_MAP_DATA_TYPE_FLOAT64 = 8;
constexpr int CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9;
constexpr int CU_TENSOR_MAP_INTERLEAVE_NONE = 0;
constexpr int CU_TENSOR_MAP_SWIZZLE_NONE = 0;
constexpr int CU_TENSOR_MAP_SWIZZLE_32B = 1;
constexpr int CU_TENSOR_MAP_SWIZZLE_64B = 2;
constexpr int CU_TENSOR_MAP_SWIZZLE_128B = 3;
constexpr int CU_TENSOR_MAP_L2_PROMOTION_L2_256B = 3;
constexpr int CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0;

struct alignas(128) CUtensorMap {
  uint64_t opaque[16];
};

struct CUDA_KERNEL_NODE_PARAMS_v2 {
  CUfunction func;
  unsigned gridDimX, gridDimY, gridDimZ;
  unsigned blockDimX, blockDimY, blockDimZ;
  unsigned sharedMemBytes;
  void** kernelParams;
  void** extra;
  CUkernel kern;
  CUcontext ctx;
};

// Each function with its parameters.
#define DSK_CUDA_FUNCTIONS(X)                                                                                          \
  X(cuInit, (unsigned flags))                                                                                          \
  X(cuDriverGetVersion, (int* version))                                                                                \
  X(cuGetErrorName, (CUresult error, const char** name))                                                               \
  X(cuGetErrorString, (CUresult error, const char** text))                                                             \
  X(cuDeviceGetCount, (int* count))                                                                                    \
  X(cuDeviceGet, (CUdevice* device, int ordinal))                                                                      \
  X(cuDeviceGetName, (char* name, int length, CUdevice device))                                                        \
  X(cuDeviceGetAttribute, (int* value, int attribute, CUdevice device))                                                \
  X(cuDeviceTotalMem_v2, (size_t* bytes, CUdevice device))                                                             \
  X(cuDevicePrimaryCtxRetain, (CUcontext* context, CUdevice device))                                                   \
  X(cuDevicePrimaryCtxRelease_v2, (CUdevice device))                                                                   \
  X(cuCtxSetCurrent, (CUcontext context))                                                                              \
  X(cuMemGetInfo_v2, (size_t* free, size_t* total))                                                                    \
  X(cuMemAlloc_v2, (CUdeviceptr* data, size_t bytes))                                                                  \
  X(cuMemFree_v2, (CUdeviceptr data))                                                                                  \
  X(cuMemAllocHost_v2, (void** data, size_t bytes))                                                                    \
  X(cuMemFreeHost, (void* data))                                                                                       \
  X(cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void* from, size_t bytes, CUstream stream))                           \
  X(cuMemcpyDtoHAsync_v2, (void* to, CUdeviceptr from, size_t bytes, CUstream stream))                                 \
  X(cuMemsetD8Async, (CUdeviceptr data, unsigned char value, size_t bytes, CUstream stream))                           \
  X(cuStreamCreate, (CUstream* stream, unsigned flags))                                                                \
  X(cuStreamDestroy_v2, (CUstream stream))                                                                             \
  X(cuStreamSynchronize, (CUstream stream))                                                                            \
  X(cuEventCreate, (CUevent* event, unsigned flags))                                                                   \
  X(cuEventDestroy_v2, (CUevent event))                                                                                \
  X(cuEventRecord, (CUevent event, CUstream stream))                                                                   \
  X(cuEventSynchronize, (CUevent event))                                                                               \
  X(cuEventElapsedTime, (float* milliseconds, CUevent from, CUevent to))                                               \
  X(cuModuleLoadData, (CUmodule* module, const void* image))                                                           \
  X(cuModuleUnload, (CUmodule module))                                                                                 \
  X(cuModuleGetFunction, (CUfunction* function, CUmodule module, const char* name))                                    \
  X(cuFuncSetAttribute, (CUfunction function, int attribute, int value))                                               \
  X(cuLaunchKernel, (CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,             \
                     unsigned blockY, unsigned blockZ, unsigned sharedBytes, CUstream stream, void** parameters,       \
                     void** extra))                                                                                    \
  X(cuTensorMapEncodeTiled, (CUtensorMap* map, int type, uint32_t rank, void* data, const uint64_t* dims,              \
                             const uint64_t* strides, const uint32_t* box, const uint32_t* elementStrides,             \
                             int interleave, int swizzle, int promotion, int fill))                                    \
  X(cuGraphCreate, (CUgraph* graph, unsigned flags))                                                                   \
  X(cuGraphDestroy, (CUgraph graph))                                                                                   \
  X(cuGraphAddKernelNode_v2, (CUgraphNode* node, CUgraph graph, const CUgraphNode* before, size_t count,               \
                              const CUDA_KERNEL_NODE_PARAMS_v2* parameters))                                           \
  X(cuGraphInstantiateWithFlags, (CUgraphExec* exec, CUgraph graph, unsigned long long flags))                         \
  X(cuGraphExecKernelNodeSetParams_v2,                                                                                 \
    (CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v2* parameters))                                \
  X(cuGraphLaunch, (CUgraphExec exec, CUstream stream))                                                                \
  X(cuGraphExecDestroy, (CUgraphExec exec))

}  // namespace dsk::cuda

// The words of CUDA C++ that g++ does not know.
#pragma once
#include "sim_threads.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __grid_constant__
#define __constant__ static
#define __align__(bytes) __attribute__((aligned(bytes)))
// One for each block: a module instance runs one block at a time (sim_module.h). Those of a file lie together, so that they can be
// filled with NaN before a block.
#define __shared__ static __attribute__((section(DSK_SHARED_SECTION)))

#define threadIdx (dsk::sim::indices->thread)
#define blockIdx (dsk::sim::indices->block)
#define blockDim (dsk::sim::block_dim)
#define gridDim (dsk::sim::grid_dim)
#define warpSize 32

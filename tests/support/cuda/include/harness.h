// What a generated kernel includes in the place of CUDA's headers when g++ compiles it (docs/cuda-harness.md): the language, the
// intrinsics, and under dsk::sim the instructions of templates/cuda/dsk_sm90.cuh and dsk_mma.cuh.
#pragma once

#ifndef DSK_SHARED_SECTION
#define DSK_SHARED_SECTION "dsk_shared"
#endif

#include "harness_keywords.h"
#include "harness_math.h"
#include "harness_memory.h"
#include "harness_numbers.h"
#include "harness_vectors.h"
#include "harness_warp.h"
#include "sim_copies.h"
#include "sim_tensor_cores.h"
#include "sim_threads.h"

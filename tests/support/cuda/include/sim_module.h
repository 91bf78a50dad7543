// What a module of kernels, compiled by g++, shows to the stand-in of libcuda: its kernels, and a function that runs blocks.
// A module is a shared library with one symbol, `dsk_sim_module`. Everything in it belongs to one OS thread at a time: who wants to
// run blocks in parallel loads the library several times (as copies of the file), and `__shared__` arrays can then be plain statics.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dsk::sim {

constexpr int kModuleVersion = 1;

// One launch, shared by all module instances that work on it.
struct Launch {
  uint32_t grid[3];
  uint32_t block[3];
  // Blocks that run together; the grid's x is a multiple of it.
  uint32_t cluster = 1;
  uint32_t dynamic_shared_bytes = 0;
  // One pointer for each parameter, to its value.
  void* const* params = nullptr;
  // Decides in which order threads run and when asynchronous copies arrive.
  uint64_t seed = 0;
  // The next cluster that nobody has taken (atomic); the number of all of them when one has failed.
  uint64_t* next = nullptr;
};

struct Kernel {
  const char* name;
  // What __launch_bounds__ says; 1024 without it.
  uint32_t max_threads;
  // What __cluster_dims__ says; 1 without it.
  uint32_t cluster;
  int32_t param_count;
  const uint32_t* param_bytes;
  // Its file's __shared__ arrays.
  char* shared;
  size_t shared_bytes;
  void (*invoke)(void* const* params);
};

struct Module {
  int version;
  int32_t kernel_count;
  const Kernel* kernels;
  // Takes clusters of the launch and runs them until there is none left. Null, or what went wrong: one sentence that names kernel,
  // block and thread, valid until the next call.
  const char* (*run)(const Kernel& kernel, const Launch& launch);
  // Called by a signal handler on the thread that is in `run`: the launch fails, and `run` returns.
  void (*fault)(const char* what, const void* address);
};

}  // namespace dsk::sim

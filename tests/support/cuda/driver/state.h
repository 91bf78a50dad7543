// What the stand-in keeps. One lock is held during each call: kernels run inside of it, when somebody waits for their stream.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api.h"
#include "sim_module.h"

namespace dsk::driver {

// A call of the library: holds the lock, and knows whether it is to fail at once.
class Call {
 public:
  enum Needs { kNothing, kInit, kContext };

  explicit Call(const char* function, Needs needs = kContext);
  CUresult error() const { return error_; }

 private:
  std::lock_guard<std::recursive_mutex> lock_;
  CUresult error_ = CUDA_SUCCESS;
};

// The first line of each function.
#define DSK_CALL(...)                              \
  const dsk::driver::Call dsk_call(__VA_ARGS__);   \
  if (dsk_call.error() != CUDA_SUCCESS) return dsk_call.error()

std::recursive_mutex& lock();
std::string setting(const char* name, const char* otherwise);

// After a kernel has failed every call says so, as on a GPU, until the process ends. The sentence is printed at once.
void break_context(CUresult error, const std::string& sentence);
CUresult broken();

// Marks the primary context of a device as in use by the calling thread.
struct Context;

// Memory of the device's, or pinned memory of the host's.
enum class Memory { kDevice, kHost };
// Whether all bytes lie in one allocation.
bool in_allocation(Memory memory, const void* pointer, size_t bytes);
// Whether nobody wrote around the allocations; else breaks the context, with `culprit` in the sentence.
bool check_canaries(const std::string& culprit);
// What was not freed; printed at the end of the process when DSK_LEAKS is 1.
std::string leaks();

// Work of streams runs when somebody waits for it, in the thread that waits.
void enqueue(CUstream stream, std::function<void()> work);
void drain(CUstream stream);
// All streams, or only those that the default stream waits for.
void drain_all(bool blocking_only);

// A launch with copies of its parameters.
struct KernelCall {
  CUfunction function = nullptr;
  uint32_t grid[3] = {};
  uint32_t block[3] = {};
  uint32_t shared_bytes = 0;
  std::vector<std::vector<char>> params;
};
CUresult make_call(CUfunction function, const uint32_t (&grid)[3], const uint32_t (&block)[3], uint32_t shared_bytes,
                   void** params, KernelCall& call);
void run_call(const KernelCall& call);

// A module that is loaded once for each thread that runs its blocks.
class LoadedModule {
 public:
  static std::shared_ptr<LoadedModule> load(const void* image);
  ~LoadedModule();

  const sim::Module& instance(uint32_t i);
  int find(const std::string& kernel);

 private:
  std::string path_;
  bool own_path_ = false;
  std::vector<void*> handles_;
  std::vector<const sim::Module*> instances_;
};

// Whether a sanitizer is part of the process: it sees memory faults first, and names files by their paths.
bool sanitized();

}  // namespace dsk::driver

struct CUmod_st {
  std::shared_ptr<dsk::driver::LoadedModule> loaded;
  std::vector<std::unique_ptr<CUfunc_st>> functions;
};

struct CUfunc_st {
  std::shared_ptr<dsk::driver::LoadedModule> loaded;
  int index;
  uint32_t dynamic_limit = 48 << 10;
};

// Launches: what the driver refuses, and how blocks are shared out.
#include <algorithm>
#include <csignal>
#include <cstring>

#include "pool.h"
#include "state.h"

namespace dsk::driver {
namespace {

// Static and dynamic together (compute capability 9.0).
constexpr size_t kMaxSharedBytes = 232448;

// Launches so far: each has another order of threads.
uint64_t launches = 0;

// The module instance whose block this thread runs; null outside of kernels.
thread_local const sim::Module* in_kernel = nullptr;
struct sigaction before[3];
constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE};

// A kernel's memory fault becomes its failure; others are whoever's they were before.
void on_signal(int signal, siginfo_t* info, void* context) {
  if (in_kernel != nullptr) in_kernel->fault(signal == SIGFPE ? "a division by zero" : "memory that is not there", info->si_addr);
  const auto found = std::find(std::begin(kSignals), std::end(kSignals), signal);
  const struct sigaction& old = before[found - std::begin(kSignals)];
  if ((old.sa_flags & SA_SIGINFO) != 0) {
    old.sa_sigaction(signal, info, context);
  } else if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN) {
    old.sa_handler(signal);
  } else {
    sigaction(signal, &old, nullptr);
  }
}

void catch_faults() {
  static const bool once = [] {
    if (sanitized()) return true;
    for (size_t i = 0; i < std::size(kSignals); ++i) {
      struct sigaction action = {};
      action.sa_sigaction = on_signal;
      // The handler is left by a jump to another stack.
      action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
      sigaction(kSignals[i], &action, &before[i]);
    }
    return true;
  }();
  static_cast<void>(once);
  // A stack for the handler, in case the kernel's is full.
  thread_local std::vector<char> stack;
  if (stack.empty()) {
    stack_t old;
    stack.resize(64 << 10);
    if (sigaltstack(nullptr, &old) == 0 && (old.ss_flags & SS_DISABLE) != 0) {
      const stack_t mine{stack.data(), 0, stack.size()};
      sigaltstack(&mine, nullptr);
    }
  }
}

}  // namespace

CUresult make_call(CUfunction function, const uint32_t (&grid)[3], const uint32_t (&block)[3], uint32_t shared_bytes,
                   void** params, KernelCall& call) {
  const sim::Kernel& kernel = function->loaded->instance(0).kernels[function->index];
  for (int i = 0; i < 3; ++i) {
    if (grid[i] == 0 || block[i] == 0 || grid[i] > (i == 0 ? 0x7fffffffu : 65535u)) return CUDA_ERROR_INVALID_VALUE;
  }
  const uint64_t threads = uint64_t{block[0]} * block[1] * block[2];
  if (threads > 1024 || block[2] > 64) return CUDA_ERROR_INVALID_VALUE;
  if (threads > kernel.max_threads) return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  if (shared_bytes > function->dynamic_limit || shared_bytes + kernel.shared_bytes > kMaxSharedBytes) return CUDA_ERROR_INVALID_VALUE;
  if (grid[0] % kernel.cluster != 0) return CUDA_ERROR_INVALID_VALUE;
  call.function = function;
  std::copy(grid, grid + 3, call.grid);
  std::copy(block, block + 3, call.block);
  call.shared_bytes = shared_bytes;
  call.params.clear();
  for (int i = 0; i < kernel.param_count; ++i) {
    const char* const value = static_cast<const char*>(params[i]);
    call.params.emplace_back(value, value + kernel.param_bytes[i]);
  }
  return CUDA_SUCCESS;
}

void run_call(const KernelCall& call) {
  catch_faults();
  LoadedModule& module = *call.function->loaded;
  const sim::Kernel& kernel = module.instance(0).kernels[call.function->index];
  // By value, at addresses that fit any parameter (a CUtensorMap wants 64 bytes).
  constexpr size_t kAlignment = 64;
  size_t bytes = 0;
  for (const auto& param : call.params) bytes += (param.size() + kAlignment - 1) / kAlignment * kAlignment;
  std::vector<char> held(bytes + kAlignment);
  char* to = held.data() + (kAlignment - reinterpret_cast<uintptr_t>(held.data()) % kAlignment);
  std::vector<void*> params;
  for (const auto& param : call.params) {
    std::memcpy(to, param.data(), param.size());
    params.push_back(to);
    to += (param.size() + kAlignment - 1) / kAlignment * kAlignment;
  }

  uint64_t next = 0;
  sim::Launch launch;
  std::copy(call.grid, call.grid + 3, launch.grid);
  std::copy(call.block, call.block + 3, launch.block);
  launch.cluster = kernel.cluster;
  launch.dynamic_shared_bytes = call.shared_bytes;
  launch.params = params.data();
  launch.seed = std::stoull(setting("DSK_SEED", "1")) * 1000003 + launches++;
  launch.next = &next;

  const uint64_t clusters = uint64_t{call.grid[0]} * call.grid[1] * call.grid[2] / kernel.cluster;
  const auto workers = static_cast<uint32_t>(std::min<uint64_t>(clusters, Pool::shared().size()));
  for (uint32_t i = 0; i < workers; ++i) module.instance(i);
  std::vector<std::string> failures(workers);
  Pool::shared().run(workers, [&](uint32_t i) {
    catch_faults();
    const sim::Module& instance = module.instance(i);
    in_kernel = &instance;
    const char* const failure = instance.run(instance.kernels[call.function->index], launch);
    in_kernel = nullptr;
    if (failure != nullptr) failures[i] = failure;
  });
  for (const std::string& failure : failures) {
    if (!failure.empty()) return break_context(CUDA_ERROR_LAUNCH_FAILED, failure);
  }
  check_canaries(std::string("kernel ") + kernel.name);
}

}  // namespace dsk::driver

using namespace dsk::driver;

DSK_API cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, unsigned int block_x,
                       unsigned int block_y, unsigned int block_z, unsigned int shared_bytes, CUstream stream, void** params,
                       void** extra) {
  DSK_CALL("cuLaunchKernel");
  if (extra != nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  auto call = std::make_shared<KernelCall>();
  const CUresult made = make_call(function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, params, *call);
  if (made != CUDA_SUCCESS) return made;
  enqueue(stream, [call] { run_call(*call); });
  return CUDA_SUCCESS;
}

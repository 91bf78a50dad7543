// Initialization, errors, and failures on demand: `DSK_FAIL=cuMemAlloc:3` makes the third call of cuMemAlloc fail for want of memory,
// `DSK_FAIL=cuLaunchKernel:1:719` the first launch with error 719; several are separated by commas. Versions (`_v2`) are left out.
#include "state.h"

#include <cstdio>
#include <cstdlib>
#include <map>

namespace dsk::driver {
namespace {

struct State {
  std::recursive_mutex lock;
  bool initialized = false;
  CUresult broken = CUDA_SUCCESS;
  std::string sentence;
  std::map<std::string, int> calls;
};

// Never destroyed: threads may call until the process ends.
State& state() {
  static auto* const made = new State;
  return *made;
}

// Which thread works with which context.
thread_local CUcontext current_context = nullptr;

CUresult demanded(const std::string& function) {
  const int call = ++state().calls[function];
  const std::string all = setting("DSK_FAIL", "");
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = std::min(all.find(',', begin), all.size());
    char name[64];
    int number, code = CUDA_ERROR_OUT_OF_MEMORY;
    if (std::sscanf(all.substr(begin, end - begin).c_str(), "%63[^:]:%d:%d", name, &number, &code) >= 2 && function == name &&
        call == number) {
      return static_cast<CUresult>(code);
    }
    begin = end + 1;
  }
  return CUDA_SUCCESS;
}

struct Error {
  CUresult code;
  const char* name;
  const char* text;
};

constexpr Error kErrors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
};

const Error* find_error(CUresult code) {
  for (const Error& error : kErrors) {
    if (error.code == code) return &error;
  }
  return nullptr;
}

}  // namespace

std::recursive_mutex& lock() { return state().lock; }

std::string setting(const char* name, const char* otherwise) {
  const char* const found = std::getenv(name);
  return found == nullptr ? otherwise : found;
}

Call::Call(const char* function, Needs needs) : lock_(state().lock) {
  error_ = demanded(function);
  if (error_ != CUDA_SUCCESS || needs == kNothing) return;
  if (!state().initialized) {
    error_ = CUDA_ERROR_NOT_INITIALIZED;
  } else if (needs == kContext && current_context == nullptr) {
    error_ = CUDA_ERROR_INVALID_CONTEXT;
  } else {
    error_ = state().broken;
  }
}

void break_context(CUresult error, const std::string& sentence) {
  if (state().broken != CUDA_SUCCESS) return;
  state().broken = error;
  state().sentence = std::string(find_error(error)->text) + " (" + sentence + ")";
  std::fprintf(stderr, "CUDA on the CPU: %s\n", sentence.c_str());
}

CUresult broken() { return state().broken; }

}  // namespace dsk::driver

using namespace dsk::driver;

DSK_API cuInit(unsigned int) {
  DSK_CALL("cuInit", Call::kNothing);
  if (setting("DSK_DEVICES", "1") == "0") return CUDA_ERROR_NO_DEVICE;
  if (!state().initialized && setting("DSK_LEAKS", "0") == "1") {
    std::atexit([] { std::fputs(leaks().c_str(), stderr); });
  }
  state().initialized = true;
  return CUDA_SUCCESS;
}

DSK_API cuGetErrorName(CUresult error, const char** name) {
  const Error* const found = find_error(error);
  *name = found == nullptr ? nullptr : found->name;
  return found == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

DSK_API cuGetErrorString(CUresult error, const char** text) {
  const std::lock_guard held(lock());
  const Error* const found = find_error(error);
  *text = found == nullptr ? nullptr : found->text;
  if (error != CUDA_SUCCESS && error == state().broken) *text = state().sentence.c_str();
  return found == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

// The only context is the device's primary one; its handle says how the address of nothing real looks.
DSK_API cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  DSK_CALL("cuDevicePrimaryCtxRetain", Call::kInit);
  if (device < 0) return CUDA_ERROR_INVALID_DEVICE;
  *context = reinterpret_cast<CUcontext>(static_cast<uintptr_t>(device) + 1);
  return CUDA_SUCCESS;
}

DSK_API cuDevicePrimaryCtxRelease_v2(CUdevice) {
  DSK_CALL("cuDevicePrimaryCtxRelease", Call::kInit);
  return CUDA_SUCCESS;
}

DSK_API cuCtxSetCurrent(CUcontext context) {
  DSK_CALL("cuCtxSetCurrent", Call::kInit);
  current_context = context;
  return CUDA_SUCCESS;
}

DSK_API cuCtxGetCurrent(CUcontext* context) {
  DSK_CALL("cuCtxGetCurrent", Call::kInit);
  *context = current_context;
  return CUDA_SUCCESS;
}

DSK_API cuCtxSynchronize() {
  DSK_CALL("cuCtxSynchronize");
  drain_all(false);
  return broken();
}

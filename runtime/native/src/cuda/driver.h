// The driver of NVIDIA's GPUs, loaded at first use.
#pragma once
#include <stdexcept>
#include <string>

#include "api.h"

namespace dsk::cuda {

// A call that the driver refused, or that told of something that went wrong before.
class DriverError : public std::runtime_error {
 public:
  DriverError(const std::string& message, CUresult result) : std::runtime_error(message), result(result) {}
  const CUresult result;
};

// There is no driver, or one that is too old.
class NoDriverError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Driver {
#define DSK_CUDA_MEMBER(name, parameters) CUresult(*name) parameters;
  DSK_CUDA_FUNCTIONS(DSK_CUDA_MEMBER)
#undef DSK_CUDA_MEMBER

  // Throws NoDriverError that says what was looked for, DriverError when it does not start.
  static const Driver& get();

  // Throws unless it succeeded; the message has the call, the name of the code and what the driver says.
  void check(CUresult result, const char* call) const {
    if (result != CUDA_SUCCESS) refuse(result, call);
  }
  [[noreturn]] void refuse(CUresult result, const char* call) const;
};

// A call of a driver function whose result is checked.
#define DSK_CUDA(driver, function, ...) (driver).check((driver).function(__VA_ARGS__), #function)

// Whether nothing works any more in this context.
bool is_lost(CUresult result);

// What JavaScript calls a failure (runtime/device/cuda/errors.ts).
const char* code_of(CUresult result);

}  // namespace dsk::cuda

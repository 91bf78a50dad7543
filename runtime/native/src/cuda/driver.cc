#include "driver.h"

#include <mutex>

#include "library.h"

namespace dsk::cuda {
namespace {

Driver load() {
  static const Library library("DSKC_LIBCUDA", {"libcuda.so.1"});
  if (!library.found()) throw NoDriverError(library.problem());
  Driver driver;
  const char* missing = nullptr;
#define DSK_CUDA_LOAD(name, parameters)                                                     \
  driver.name = reinterpret_cast<CUresult(*) parameters>(library.symbol(#name));            \
  if (driver.name == nullptr && missing == nullptr) missing = #name;
  DSK_CUDA_FUNCTIONS(DSK_CUDA_LOAD)
#undef DSK_CUDA_LOAD
  if (missing != nullptr) {
    throw NoDriverError(library.name() + " has no " + missing + ": the driver is older than CUDA 12");
  }
  DSK_CUDA(driver, cuInit, 0);
  return driver;
}

}  // namespace

const Driver& Driver::get() {
  // What failed is tried again by the next call.
  static const Driver driver = load();
  return driver;
}

void Driver::refuse(CUresult result, const char* call) const {
  const char* name = nullptr;
  const char* text = nullptr;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &text);
  std::string message = std::string(call) + ": " + (name == nullptr ? "error " + std::to_string(result) : name);
  if (text != nullptr) message += std::string(" (") + text + ")";
  throw DriverError(message, result);
}

bool is_lost(CUresult result) {
  switch (result) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case 226:  // CUDA_ERROR_CONTAINED, of CUDA 12.8 and newer
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_MPS_CLIENT_TERMINATED:
    case CUDA_ERROR_UNKNOWN: return true;
    default: return false;
  }
}

const char* code_of(CUresult result) {
  if (is_lost(result)) return "lost";
  return result == CUDA_ERROR_OUT_OF_MEMORY ? "memory" : "device";
}

}  // namespace dsk::cuda

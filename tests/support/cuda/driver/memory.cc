// Memory: the host's, with bytes around every allocation that nobody may change, and NaN in it until somebody writes. Copies that
// wait for their stream do so here, too: a caller that reads too early gets what was there before.
#include <cstdlib>
#include <cstring>
#include <map>

#include "state.h"

// Part of the process when it was built with the address sanitizer.
extern "C" void __asan_poison_memory_region(const volatile void*, size_t) __attribute__((weak));
extern "C" void __asan_unpoison_memory_region(const volatile void*, size_t) __attribute__((weak));

namespace dsk::driver {
namespace {

constexpr size_t kCanaryBytes = 1024;
// Also NaN, for kernels that read outside.
constexpr unsigned char kCanary = 0xfe;
constexpr size_t kAlignment = 1024;

struct Allocation {
  char* block;
  size_t bytes;
};

struct Allocations {
  std::map<uintptr_t, Allocation> device, host;
};

Allocations& allocations() {
  static auto* const made = new Allocations;
  return *made;
}

std::map<uintptr_t, Allocation>& of(Memory memory) {
  return memory == Memory::kDevice ? allocations().device : allocations().host;
}

void* allocate(Memory memory, size_t bytes) {
  void* block;
  if (posix_memalign(&block, kAlignment, bytes + 2 * kCanaryBytes) != 0) return nullptr;
  char* const first = static_cast<char*>(block);
  std::memset(first, kCanary, kCanaryBytes);
  std::memset(first + kCanaryBytes, 0xff, bytes);
  std::memset(first + kCanaryBytes + bytes, kCanary, kCanaryBytes);
  if (__asan_poison_memory_region != nullptr) {
    __asan_poison_memory_region(first, kCanaryBytes);
    __asan_poison_memory_region(first + kCanaryBytes + bytes, kCanaryBytes);
  }
  of(memory)[reinterpret_cast<uintptr_t>(first + kCanaryBytes)] = {first, bytes};
  return first + kCanaryBytes;
}

bool release(Memory memory, const void* pointer) {
  const auto found = of(memory).find(reinterpret_cast<uintptr_t>(pointer));
  if (found == of(memory).end()) return false;
  if (__asan_unpoison_memory_region != nullptr) {
    __asan_unpoison_memory_region(found->second.block, found->second.bytes + 2 * kCanaryBytes);
  }
  std::free(found->second.block);
  of(memory).erase(found);
  return true;
}

// The first byte of a canary that changed; -1 when none did.
long changed(const char* canary) {
  static const auto* const expected = [] {
    auto* const made = new char[kCanaryBytes];
    std::memset(made, kCanary, kCanaryBytes);
    return made;
  }();
  if (std::memcmp(canary, expected, kCanaryBytes) == 0) return -1;
  long i = 0;
  while (canary[i] == expected[i]) ++i;
  return i;
}

const void* host(CUdeviceptr pointer) { return reinterpret_cast<const void*>(pointer); }
void* writable(CUdeviceptr pointer) { return reinterpret_cast<void*>(pointer); }

}  // namespace

bool in_allocation(Memory memory, const void* pointer, size_t bytes) {
  const auto& all = of(memory);
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto found = all.upper_bound(address);
  if (found == all.begin()) return false;
  --found;
  return address + bytes <= found->first + found->second.bytes;
}

bool check_canaries(const std::string& culprit) {
  // The sanitizer looks at every access.
  if (__asan_poison_memory_region != nullptr) return true;
  for (const auto& [address, allocation] : allocations().device) {
    const long before = changed(allocation.block);
    const long behind = changed(allocation.block + kCanaryBytes + allocation.bytes);
    if (before < 0 && behind < 0) continue;
    const std::string place = before >= 0 ? std::to_string(static_cast<long>(kCanaryBytes) - before) + " bytes in front of"
                                          : std::to_string(behind) + " bytes behind the end of";
    break_context(CUDA_ERROR_ILLEGAL_ADDRESS, culprit + " wrote " + place + " an allocation of " +
                                                  std::to_string(allocation.bytes) + " bytes");
    return false;
  }
  return true;
}

std::string leaks() {
  std::string text;
  for (const Memory memory : {Memory::kDevice, Memory::kHost}) {
    size_t bytes = 0;
    for (const auto& [address, allocation] : of(memory)) bytes += allocation.bytes;
    if (bytes == 0) continue;
    text += "CUDA on the CPU: " + std::to_string(of(memory).size()) + " allocations of " + std::to_string(bytes) + " bytes of " +
            (memory == Memory::kDevice ? "device memory" : "pinned memory") + " were not freed\n";
  }
  return text;
}

}  // namespace dsk::driver

using namespace dsk::driver;

DSK_API cuMemGetInfo_v2(size_t* free, size_t* total) {
  DSK_CALL("cuMemGetInfo");
  *total = size_t{8} << 30;
  *free = *total;
  for (const auto& [address, allocation] : of(Memory::kDevice)) *free -= std::min(*free, allocation.bytes);
  return CUDA_SUCCESS;
}

DSK_API cuMemAlloc_v2(CUdeviceptr* pointer, size_t bytes) {
  DSK_CALL("cuMemAlloc");
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  void* const made = allocate(Memory::kDevice, bytes);
  *pointer = reinterpret_cast<CUdeviceptr>(made);
  return made == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

DSK_API cuMemFree_v2(CUdeviceptr pointer) {
  DSK_CALL("cuMemFree");
  if (pointer == 0) return CUDA_SUCCESS;
  drain_all(false);
  if (!check_canaries("somebody")) return broken();
  return release(Memory::kDevice, host(pointer)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

DSK_API cuMemAllocHost_v2(void** pointer, size_t bytes) {
  DSK_CALL("cuMemAllocHost");
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  *pointer = allocate(Memory::kHost, bytes);
  return *pointer == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

DSK_API cuMemFreeHost(void* pointer) {
  DSK_CALL("cuMemFreeHost");
  drain_all(false);
  return release(Memory::kHost, pointer) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

DSK_API cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
  DSK_CALL("cuMemcpyHtoD");
  if (!in_allocation(Memory::kDevice, host(to), bytes)) return CUDA_ERROR_INVALID_VALUE;
  drain_all(true);
  std::memcpy(writable(to), from, bytes);
  return broken();
}

DSK_API cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
  DSK_CALL("cuMemcpyDtoH");
  if (!in_allocation(Memory::kDevice, host(from), bytes)) return CUDA_ERROR_INVALID_VALUE;
  drain_all(true);
  std::memcpy(to, host(from), bytes);
  return broken();
}

DSK_API cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  DSK_CALL("cuMemcpyHtoDAsync");
  if (!in_allocation(Memory::kDevice, host(to), bytes)) return CUDA_ERROR_INVALID_VALUE;
  if (in_allocation(Memory::kHost, from, bytes)) {
    enqueue(stream, [=] { std::memcpy(writable(to), from, bytes); });
  } else {
    // Of memory that is not pinned the driver makes a copy before it returns.
    auto held = std::make_shared<std::vector<char>>(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    enqueue(stream, [=] { std::memcpy(writable(to), held->data(), bytes); });
  }
  return CUDA_SUCCESS;
}

DSK_API cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  DSK_CALL("cuMemcpyDtoHAsync");
  if (!in_allocation(Memory::kDevice, host(from), bytes)) return CUDA_ERROR_INVALID_VALUE;
  enqueue(stream, [=] { std::memcpy(to, host(from), bytes); });
  if (!in_allocation(Memory::kHost, to, bytes)) drain(stream);
  return broken();
}

DSK_API cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  DSK_CALL("cuMemcpyDtoDAsync");
  if (!in_allocation(Memory::kDevice, host(from), bytes) || !in_allocation(Memory::kDevice, host(to), bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  enqueue(stream, [=] { std::memmove(writable(to), host(from), bytes); });
  return CUDA_SUCCESS;
}

DSK_API cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
  DSK_CALL("cuMemsetD8Async");
  if (!in_allocation(Memory::kDevice, host(to), bytes)) return CUDA_ERROR_INVALID_VALUE;
  enqueue(stream, [=] { std::memset(writable(to), value, bytes); });
  return CUDA_SUCCESS;
}

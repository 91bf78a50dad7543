// One device that looks like a small Hopper. `DSK_CAPABILITY=8.0` makes it an older one, `DSK_SMS` says how many multiprocessors it
// has, `DSK_DEVICES=0` that there is none.
#include <cstdio>
#include <cstring>

#include "sim_machine.h"
#include "state.h"

using namespace dsk::driver;

namespace {

int devices() { return std::stoi(setting("DSK_DEVICES", "1")); }

int capability(int part) {
  int major = 9, minor = 0;
  std::sscanf(setting("DSK_CAPABILITY", "9.0").c_str(), "%d.%d", &major, &minor);
  return part == 0 ? major : minor;
}

}  // namespace

DSK_API cuDriverGetVersion(int* version) {
  DSK_CALL("cuDriverGetVersion", Call::kNothing);
  *version = 13000;
  return CUDA_SUCCESS;
}

DSK_API cuDeviceGetCount(int* count) {
  DSK_CALL("cuDeviceGetCount", Call::kInit);
  *count = devices();
  return CUDA_SUCCESS;
}

DSK_API cuDeviceGet(CUdevice* device, int ordinal) {
  DSK_CALL("cuDeviceGet", Call::kInit);
  if (ordinal < 0 || ordinal >= devices()) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

DSK_API cuDeviceGetName(char* name, int length, CUdevice) {
  DSK_CALL("cuDeviceGetName", Call::kInit);
  std::snprintf(name, static_cast<size_t>(length), "CUDA on the CPU (dskc test harness)");
  return CUDA_SUCCESS;
}

DSK_API cuDeviceTotalMem_v2(size_t* bytes, CUdevice) {
  DSK_CALL("cuDeviceTotalMem", Call::kInit);
  *bytes = size_t{8} << 30;
  return CUDA_SUCCESS;
}

DSK_API cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  DSK_CALL("cuDeviceGetAttribute", Call::kInit);
  switch (static_cast<int>(attribute)) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: *value = 48 << 10; break;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: *value = 65536; break;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *value = 1000000; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = std::stoi(setting("DSK_SMS", "4")); break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: *value = 1000000; break;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: *value = 64; break;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *value = 1 << 20; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = capability(0); break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = capability(1); break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = dsk::sim::kMaxSharedBytes + 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = dsk::sim::kMaxSharedBytes; break;
    default: *value = 0;
  }
  return CUDA_SUCCESS;
}

// Things of the driver that are destroyed with their scope. The session's context must be current.
#pragma once
#include <utility>

#include "driver.h"

namespace dsk::cuda {

template <class Handle>
class Owned {
 public:
  using Destroy = CUresult (*)(Handle);
  Owned() = default;
  Owned(Handle handle, Destroy destroy) : handle_(handle), destroy_(destroy) {}
  Owned(Owned&& other) noexcept { swap(other); }
  Owned& operator=(Owned&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Owned() {
    // A context that is lost refuses: everything in it is gone.
    if (handle_ != Handle{}) destroy_(handle_);
  }

  Handle get() const { return handle_; }

 private:
  void swap(Owned& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(destroy_, other.destroy_);
  }

  Handle handle_{};
  Destroy destroy_ = nullptr;
};

// The context that all users of a device in this process share.
class Context {
 public:
  Context(const Driver& driver, int ordinal) : driver_(driver) {
    DSK_CUDA(driver_, cuDeviceGet, &device_, ordinal);
    DSK_CUDA(driver_, cuDevicePrimaryCtxRetain, &context_, device_);
  }
  ~Context() { driver_.cuDevicePrimaryCtxRelease_v2(device_); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Makes it the one of this thread.
  void use() const { DSK_CUDA(driver_, cuCtxSetCurrent, context_); }
  CUdevice device() const { return device_; }

 private:
  const Driver& driver_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
};

inline Owned<CUstream> new_stream(const Driver& driver) {
  CUstream stream = nullptr;
  DSK_CUDA(driver, cuStreamCreate, &stream, CU_STREAM_NON_BLOCKING);
  return {stream, driver.cuStreamDestroy_v2};
}

inline Owned<CUevent> new_event(const Driver& driver, unsigned flags) {
  CUevent event = nullptr;
  DSK_CUDA(driver, cuEventCreate, &event, flags);
  return {event, driver.cuEventDestroy_v2};
}

}  // namespace dsk::cuda

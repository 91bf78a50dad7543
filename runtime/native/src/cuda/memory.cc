#include "memory.h"

#include <algorithm>
#include <bit>

namespace dsk::cuda {

void DeviceBlock::grow(int64_t bytes) {
  if (bytes <= bytes_) return;
  release();
  DSK_CUDA(driver_, cuMemAlloc_v2, &data_, static_cast<size_t>(bytes));
  bytes_ = bytes;
}

void DeviceBlock::release() {
  // A context that is lost refuses, and its memory is gone with it.
  if (data_ != 0) driver_.cuMemFree_v2(data_);
  data_ = 0;
  bytes_ = 0;
}

Staging::Block Staging::take(int64_t bytes) {
  // Powers of two: calls of about the same size share blocks.
  const auto size = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(bytes, 4096))));
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(free_.begin(), free_.end(), [&](const Block& block) { return block.bytes == size; });
    if (found != free_.end()) {
      const Block block = *found;
      free_.erase(found);
      return block;
    }
  }
  void* data = nullptr;
  DSK_CUDA(driver_, cuMemAllocHost_v2, &data, static_cast<size_t>(size));
  return {static_cast<char*>(data), size};
}

void Staging::give(Block block) {
  const std::lock_guard lock(mutex_);
  free_.push_back(block);
}

void Staging::release() {
  const std::lock_guard lock(mutex_);
  for (const Block& block : free_) driver_.cuMemFreeHost(block.data);
  free_.clear();
}

}  // namespace dsk::cuda

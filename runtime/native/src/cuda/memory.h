// Memory of a GPU, and pinned memory that it is filled from. All of this needs the session's context to be current.
#pragma once
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "driver.h"

namespace dsk::cuda {

class DeviceBlock {
 public:
  explicit DeviceBlock(const Driver& driver) : driver_(driver) {}
  ~DeviceBlock() { release(); }
  DeviceBlock(const DeviceBlock&) = delete;
  DeviceBlock& operator=(const DeviceBlock&) = delete;

  CUdeviceptr data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  // Makes room for so many bytes. The content is lost when it grows: the old memory goes first, so that both need not exist at
  // once. Nothing may use it meanwhile. Throws DriverError.
  void grow(int64_t bytes);
  void release();

 private:
  const Driver& driver_;
  CUdeviceptr data_ = 0;
  int64_t bytes_ = 0;
};

// Pinned memory of calls: blocks go back when a call is over and are used again.
class Staging {
 public:
  struct Block {
    char* data = nullptr;
    int64_t bytes = 0;
  };

  explicit Staging(const Driver& driver) : driver_(driver) {}
  ~Staging() { release(); }

  // From any thread.
  Block take(int64_t bytes);
  void give(Block block);
  // Frees what was given back.
  void release();

 private:
  const Driver& driver_;
  std::mutex mutex_;
  std::vector<Block> free_;
};

// A block of staging for as long as the object lives.
class Staged {
 public:
  Staged(Staging& from, int64_t bytes) : from_(from), block_(from.take(bytes)) {}
  ~Staged() { from_.give(block_); }
  Staged(const Staged&) = delete;
  Staged& operator=(const Staged&) = delete;

  char* data() const { return block_.data; }

 private:
  Staging& from_;
  const Staging::Block block_;
};

}  // namespace dsk::cuda

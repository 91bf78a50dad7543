// Threads that run blocks.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace dsk::driver {

// Threads that live as long as the process; the caller is the first of them.
class Pool {
 public:
  static Pool& shared();

  // As many as there are processors, at most 8, or DSK_WORKERS.
  uint32_t size() const { return size_; }
  // Calls `work(0)`, and at the same time `work(i)` for other i below `count`, as far as threads come to it before that is done;
  // waits for all of them. They share work out among themselves.
  void run(uint32_t count, const std::function<void(uint32_t)>& work);

 private:
  Pool();
  void serve(uint32_t i);

  uint32_t size_;
  std::mutex lock_;
  std::condition_variable begun_, ended_;
  const std::function<void(uint32_t)>* work_ = nullptr;
  uint32_t count_ = 0;
  uint32_t running_ = 0;
  uint64_t jobs_ = 0;
};

}  // namespace dsk::driver
